import fc from "fast-check";
import type { Disk } from "@statemesh/ports";
import { describe, expect, test } from "vitest";
import { isLater } from "@statemesh/raft";
import { CorruptionError, WalError, WriteAheadLog } from "../src/index.ts";
import type { RecoveredGroup } from "../src/index.ts";
import { applyUpdates, differs, entries, expectState, snapshotAt, Workload } from "./log-model.ts";
import type { ModelState } from "./log-model.ts";
import { MortalDisk } from "./mortal-disk.ts";

/** A disk to try the log on; `run` drives whatever makes its promises resolve. */
export interface WalGround {
  disk: Disk;
  run<T>(work: Promise<T>): Promise<T>;
}

const SMALL = { segmentBytes: 700 };

/** Replaces a file's content, behind the log's back. */
async function overwrite(disk: Disk, name: string, content: Uint8Array): Promise<void> {
  const file = await disk.openAppend(name);
  await file.truncate(0);
  await file.append([content]);
  await file.sync();
  await file.close();
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  return error instanceof WalError ? error.code : String(error);
}

/** What the body leaves open is closed as if its process ended. */
async function asProcess(disk: Disk, body: (disk: Disk) => Promise<void>): Promise<void> {
  const mortal = new MortalDisk(disk);
  try {
    await body(mortal);
  } finally {
    await mortal.end();
  }
}

interface Written {
  /** The state after each append, `states[0]` before the first. */
  states: ModelState[];
  last: ModelState;
}

/** Writes `count` random batches one after another, releasing now and then. Leaves the log unsealed, as a crash would. */
async function write(disk: Disk, next: () => number, count: number, options = SMALL): Promise<Written> {
  const { wal } = await WriteAheadLog.open(disk, options);
  const workload = new Workload(next);
  const states: ModelState[] = [new Map()];
  for (let n = 0; n < count; n++) {
    const batch = workload.batch();
    await wal.append(batch);
    states.push(applyUpdates(states.at(-1)!, batch));
    if (next() < 0.1) for (const groupId of [1, 2, 3]) if (workload.snapshotOf(groupId) > 0) await wal.compact(groupId, workload.snapshotOf(groupId));
  }
  return { states, last: states.at(-1)! };
}

async function flip(disk: Disk, name: string, byte: number): Promise<void> {
  const content = (await disk.read(name)).slice();
  content[byte] = content[byte]! ^ 1;
  await overwrite(disk, name, content);
}

/** Harms the log as a disk may: says how. */
async function damage(disk: Disk, next: () => number): Promise<string> {
  const names = await disk.list();
  const name = names[Math.floor(next() * names.length)]!;
  const content = (await disk.read(name)).slice();
  const at = Math.floor(next() * content.length);
  const dice = next();
  if (dice < 0.1 && names.length > 1) {
    const lost = names[Math.floor(next() * (names.length - 1))]!;
    await disk.remove(lost);
    return `${lost} is gone`;
  }
  if (dice < 0.4) content[at] = content[at]! ^ (1 << Math.floor(next() * 8));
  else if (dice < 0.6) content.fill(0, at, at + 512);
  else if (dice < 0.8) {
    // A write that went to another place of the log.
    const from = Math.floor(next() * content.length);
    content.copyWithin(at, from, from + Math.floor(next() * 300));
  } else for (let byte = at; byte < Math.min(at + 200, content.length); byte++) content[byte] = Math.floor(next() * 256);
  await overwrite(disk, name, content);
  return `${name} from byte ${at}, dice ${dice}`;
}

const endOf = (group: { snapshot?: { index: number; term: number } | undefined; entries: readonly ({ index: number; term: number } | undefined)[] } | undefined): { index: number; term: number } => {
  const last = group?.entries.at(-1);
  const snapshot = group?.snapshot;
  if (last !== undefined && last.index >= (snapshot?.index ?? 0)) return { index: last.index, term: last.term };
  return snapshot === undefined ? { index: 0, term: 0 } : { index: snapshot.index, term: snapshot.term };
};

/** Compares what was recovered of a damaged log with what was in it. */
function expectKept(recovered: ReadonlyMap<number, RecoveredGroup>, last: ModelState, wasFound: boolean, isSealed: boolean, harm: string): void {
  for (const [groupId, model] of last) {
    const group = recovered.get(groupId);
    const where = `${harm}; group ${groupId}`;
    if (group?.loss === undefined) {
      // An unsealed last write may pass for one that a crash tore: that is all.
      if (wasFound || isSealed) expect(differs(new Map(group === undefined ? [] : [[groupId, group]]), new Map([[groupId, model]])), where).toBeUndefined();
      continue;
    }
    const { end, isEndKnown, isVoteKnown } = group.loss;
    const was = endOf(model);
    if (isEndKnown) expect({ index: end.index, term: end.term }, where).toEqual(was);
    else expect(isLater(end, was), where).toBe(false);
    if (isVoteKnown) expect({ term: group.hardState.term, vote: group.hardState.vote }, where).toEqual({ term: model.hardState?.term ?? 0, vote: model.hardState?.vote ?? 0 });
    expect(isLater(endOf(group), end), `${where}: what is left is no more than what there was`).toBe(false);
    expect(group.hardState.commit, where).toBeLessThanOrEqual(endOf(group).index);
    expect(group.entries[0]?.index ?? 0, where).toBeLessThanOrEqual((group.snapshot?.index ?? 0) + 1);
    for (const entry of group.entries) {
      if (entry.index > group.hardState.commit) continue;
      const wanted = model.entries[entry.index - 1];
      // Installed snapshots stand for entries that the model does not keep.
      if (wanted === undefined) expect(entry.index, where).toBeLessThanOrEqual(model.snapshot?.index ?? 0);
      else expect({ ...entry, data: [...entry.data] }, `${where}: what is committed is as it was`).toEqual({ ...wanted, data: [...wanted.data] });
    }
  }
}

/** What every disk under the log must bring about. `runs` scales the random tests. */
export function walContract(make: () => Promise<WalGround>, runs: number): void {
  const check = (name: string, body: (disk: Disk) => Promise<void>): void => {
    test(name, async () => {
      const ground = await make();
      await ground.run(asProcess(ground.disk, body));
    });
  };
  const property = (name: string, body: (disk: Disk, next: () => number) => Promise<void>): void => {
    test(name, async () => {
      await fc.assert(
        fc.asyncProperty(fc.noShrink(fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }))), async (stream) => {
          const ground = await make();
          const next = (): number => stream.next().value;
          await ground.run(asProcess(ground.disk, (disk) => body(disk, next)));
        }),
        { numRuns: runs },
      );
    });
  };

  describe("recovery", () => {
    check("an empty folder is an empty log", async (disk) => {
      const { wal, groups, tornBytes } = await WriteAheadLog.open(disk);
      expect(groups.size).toBe(0);
      expect(tornBytes).toBe(0);
      await wal.close();
    });

    check("term, vote, commit, entries and snapshot of every group come back", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk);
      const batches = [
        [{ groupId: 0, hardState: { term: 2 ** 40, vote: 3, commit: 0 } }],
        [{ groupId: 7, hardState: { term: 1, vote: 1, commit: 2 }, entries: [...entries(1, 3, 1), { term: 1, index: 4, kind: 2, data: new Uint8Array(0) }] }, { groupId: 0, entries: entries(1, 2, 5) }],
        [{ groupId: 7, snapshot: snapshotAt(7, 2, 1) }],
        [{ groupId: 7, entries: entries(3, 3, 2) }],
      ];
      let state: ModelState = new Map();
      for (const batch of batches) {
        await wal.append(batch);
        state = applyUpdates(state, batch);
      }
      await wal.close();
      const reopened = await WriteAheadLog.open(disk);
      expectState(reopened.groups, state);
      expect(reopened.groups.get(7)!.entries.map(({ index, term }) => `${index}/${term}`)).toEqual(["1/1", "2/1", "3/2"]);
      expect(reopened.groups.get(7)!.snapshot).toEqual(snapshotAt(7, 2, 1));
      await reopened.wal.close();
    });

    check("a snapshot from the leader voids the log that it does not continue", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk);
      await wal.append([{ groupId: 1, entries: entries(1, 9, 1) }]);
      await wal.append([{ groupId: 1, snapshot: snapshotAt(1, 6, 2), entries: entries(7, 7, 2) }]);
      await wal.close();
      const { groups } = await WriteAheadLog.open(disk);
      expect(groups.get(1)!.entries.map(({ index }) => index)).toEqual([7]);
    });

    property("every state survives closing and opening, and work goes on behind it", async (disk, next) => {
      let state: ModelState = new Map();
      const workload = new Workload(next);
      for (let life = 0; life < 4; life++) {
        const { wal, groups } = await WriteAheadLog.open(disk, SMALL);
        expectState(groups, state);
        for (let n = 0; n < 8; n++) {
          const batch = workload.batch();
          await wal.append(batch);
          state = applyUpdates(state, batch);
          const groupId = 1 + Math.floor(next() * 3);
          if (workload.snapshotOf(groupId) > 0) await wal.compact(groupId, workload.snapshotOf(groupId));
        }
        await wal.close();
      }
      const { wal, groups } = await WriteAheadLog.open(disk, SMALL);
      expectState(groups, state);
      await wal.close();
    });
  });

  describe("damage", () => {
    property("a log whose end is cut anywhere recovers exactly the writes that are whole", async (disk, next) => {
      const { states, last } = await write(disk, next, 12);
      const name = (await disk.list()).at(-1)!;
      const content = await disk.read(name);
      const at = Math.floor(next() * (content.length + 1));
      await overwrite(disk, name, content.subarray(0, at));
      const { wal, groups, tornBytes } = await WriteAheadLog.open(disk, SMALL);
      const found = states.findLastIndex((state) => differs(groups, state) === undefined);
      expect(found, "the recovered state is one that was written").toBeGreaterThanOrEqual(0);
      if (at === content.length) expectState(groups, last);
      expect(tornBytes).toBeLessThanOrEqual(at);
      // What was cut is gone for good: the log works, and opens again with the same state and more.
      const more = [{ groupId: 9, entries: entries(1, 2, 1) }];
      await wal.append(more);
      const again = await WriteAheadLog.open(disk, SMALL);
      expectState(again.groups, applyUpdates(states[found]!, more));
      expect(again.tornBytes).toBe(0);
    });

    property("one flipped bit is refused by name, or costs only the unsealed last write", async (disk, next) => {
      const { states, last } = await write(disk, next, 12);
      const names = await disk.list();
      const name = names[Math.floor(next() * names.length)]!;
      const content = (await disk.read(name)).slice();
      const byte = Math.floor(next() * content.length);
      content[byte] = content[byte]! ^ (1 << Math.floor(next() * 8));
      await overwrite(disk, name, content);
      const opened = await WriteAheadLog.open(disk, SMALL).catch((error: unknown) => error);
      if (opened instanceof CorruptionError) {
        expect(opened.file).toBe(name);
        expect(opened.offset).toBeLessThanOrEqual(byte);
        expect(opened.reason).not.toBe("");
        expect((await disk.read(name)).length, "a refused file is never cut").toBe(content.length);
        return;
      }
      if (opened instanceof Error) throw opened;
      const { groups } = opened as Awaited<ReturnType<typeof WriteAheadLog.open>>;
      expect(name, "damage before the last segment is refused").toBe(names.at(-1));
      const allowed = [last, states.at(-2)!];
      expect(allowed.some((state) => differs(groups, state) === undefined)).toBe(true);
    });

    check("a bit flipped in the last write of a closed log is refused, not taken for a torn write", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk);
      await wal.append([{ groupId: 1, entries: entries(1, 3, 1) }]);
      await wal.close();
      const name = (await disk.list())[0]!;
      const content = (await disk.read(name)).slice();
      content[60] = content[60]! ^ 1;
      await overwrite(disk, name, content);
      await expect(WriteAheadLog.open(disk)).rejects.toMatchObject({ name: "CorruptionError", file: name, offset: 44 });
    });

    check("a missing segment is refused", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk, { segmentBytes: 100 });
      for (let index = 1; index <= 6; index++) await wal.append([{ groupId: 1, entries: entries(index, index, 1, 50) }]);
      await wal.close();
      const names = await disk.list();
      expect(names.length).toBeGreaterThan(3);
      await disk.remove(names[1]!);
      await expect(WriteAheadLog.open(disk)).rejects.toMatchObject({ name: "CorruptionError", file: names[1] });
    });

    check("a log that begins behind its snapshot is refused", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk, { segmentBytes: 100 });
      for (let index = 1; index <= 6; index++) await wal.append([{ groupId: 1, entries: entries(index, index, 1, 50) }]);
      await wal.close();
      await disk.remove((await disk.list())[0]!);
      await expect(WriteAheadLog.open(disk)).rejects.toThrow("group 1: entries 1 to 1 are missing");
    });

    check("log bytes inside a command never pass for a write of the log", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk);
      await wal.append([{ groupId: 1, entries: entries(1, 1, 1) }]);
      await wal.close();
      const name = (await disk.list())[0]!;
      const inside = await disk.read(name);
      const reopened = await WriteAheadLog.open(disk);
      await reopened.wal.append([{ groupId: 1, entries: [{ term: 1, index: 2, kind: 0, data: inside }] }]);
      const content = await disk.read(name);
      await overwrite(disk, name, content.subarray(0, content.length - 1));
      const { groups } = await WriteAheadLog.open(disk);
      expect(groups.get(1)!.entries).toHaveLength(1);
    });
  });

  describe("salvage", () => {
    property("whatever is damaged, a group is whole or knows what it lost, and the log goes on", async (disk, next) => {
      const { last } = await write(disk, next, 15);
      const isSealed = next() < 0.5;
      if (isSealed) {
        const { wal } = await WriteAheadLog.open(disk, SMALL);
        await wal.close();
      }
      const harm = await damage(disk, next);
      const groupIds = [1, 2, 3];
      const opened = await WriteAheadLog.open(disk, { ...SMALL, salvage: groupIds });
      expectKept(opened.groups, last, opened.damage.length > 0, isSealed, harm);
      // What was lost stays known, whatever happens before it is repaired.
      const { groupId, hardState } = [...[...opened.groups].map(([id, group]) => ({ groupId: id, hardState: group.hardState }))][0] ?? { groupId: 7, hardState: { term: 0, vote: 0, commit: 0 } };
      await opened.wal.append([{ groupId, hardState: { ...hardState, term: hardState.term + 1 } }]);
      if (next() < 0.5) await opened.wal.close();
      const again = await WriteAheadLog.open(disk, SMALL);
      expect(again.damage).toEqual([]);
      for (const [id, group] of opened.groups) {
        const found = again.groups.get(id);
        expect(found?.loss, harm).toEqual(group.loss);
        expect(found?.entries, harm).toEqual(group.entries);
        expect(found?.hardState.commit, harm).toBe(group.hardState.commit);
      }
      await again.wal.append([{ groupId, loss: "repaired" }]);
      const repaired = await WriteAheadLog.open(disk, SMALL);
      expect(repaired.groups.get(groupId)?.loss).toBeUndefined();
    });

    check("damage that one group's records were in costs that group only", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk);
      await wal.append([{ groupId: 1, hardState: { term: 1, vote: 1, commit: 0 }, entries: entries(1, 2, 1) }]);
      await wal.append([{ groupId: 2, hardState: { term: 3, vote: 2, commit: 0 }, entries: entries(1, 5, 3) }]);
      await wal.append([{ groupId: 1, hardState: { term: 1, vote: 1, commit: 2 }, entries: entries(3, 4, 1) }]);
      const name = (await disk.list())[0]!;
      const at = Buffer.from(await disk.read(name)).lastIndexOf(entries(5, 5, 3)[0]!.data);
      await wal.append([{ groupId: 1, entries: entries(5, 5, 1) }]);
      await wal.close();
      await flip(disk, name, at);
      const { groups, damage: found } = await WriteAheadLog.open(disk, { salvage: [1, 2] });
      expect(found).toMatchObject([{ file: name }]);
      expect(groups.get(1)).toEqual({ hardState: { term: 1, vote: 1, commit: 2 }, entries: entries(1, 5, 1) });
      expect(groups.get(2)).toEqual({ hardState: { term: 3, vote: 2, commit: 0 }, entries: [], loss: { end: { index: 5, term: 3 }, isEndKnown: true, isVoteKnown: true } });
      expect(await disk.list()).toEqual([`damaged-${name}`, "wal-0000000002.log"]);
    });

    check("a seal makes the end of every group known, though the log was never closed", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk);
      await wal.append([{ groupId: 1, hardState: { term: 2, vote: 1, commit: 0 }, entries: entries(1, 2, 2) }]);
      wal.seal();
      await wal.append([{ groupId: 2, entries: entries(1, 1, 1) }]);
      const name = (await disk.list())[0]!;
      await flip(disk, name, 60);
      const { groups } = await WriteAheadLog.open(disk, { salvage: [1, 2] });
      expect(groups.get(1)).toEqual({ hardState: { term: 2, vote: 1, commit: 0 }, entries: [], loss: { end: { index: 2, term: 2 }, isEndKnown: true, isVoteKnown: true } });
      expect(groups.get(2)?.loss).toBeUndefined();
    });

    check("a log that is gone where one has been is damage, and stays known as such", async (disk) => {
      await expect(WriteAheadLog.open(disk, { mustExist: true })).rejects.toMatchObject({ name: "CorruptionError", reason: "there is no log" });
      const loss = { end: { index: 0, term: 0 }, isEndKnown: false, isVoteKnown: false };
      const { groups } = await WriteAheadLog.open(disk, { mustExist: true, salvage: [0, 1] });
      expect([...groups.values()].map((group) => group.loss)).toEqual([loss, loss]);
      // The process ends before it has written anything.
      const again = await WriteAheadLog.open(disk, { mustExist: true, salvage: [0, 1] });
      expect(again.damage).toEqual([]);
      expect([...again.groups.values()].map((group) => group.loss)).toEqual([loss, loss]);
      await again.wal.append([{ groupId: 1, hardState: { term: 2, vote: 0, commit: 0 } }, { groupId: 1, loss: "repaired" }]);
      const last = await WriteAheadLog.open(disk);
      expect([last.groups.get(0)?.loss, last.groups.get(1)?.loss]).toEqual([loss, undefined]);
    });

    check("a group that nothing behind the damage tells of keeps what it has, and knows neither its end nor its vote", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk);
      await wal.append([{ groupId: 1, hardState: { term: 1, vote: 1, commit: 0 }, entries: entries(1, 2, 1) }]);
      await wal.append([{ groupId: 1, hardState: { term: 2, vote: 3, commit: 0 }, entries: entries(3, 3, 2) }]);
      const name = (await disk.list())[0]!;
      const at = Buffer.from(await disk.read(name)).lastIndexOf(entries(3, 3, 2)[0]!.data);
      await wal.append([{ groupId: 2, entries: entries(1, 1, 1) }]);
      await flip(disk, name, at);
      const { groups } = await WriteAheadLog.open(disk, { salvage: [1, 2] });
      expect(groups.get(1)).toEqual({ hardState: { term: 1, vote: 1, commit: 0 }, entries: entries(1, 2, 1), loss: { end: { index: 2, term: 1 }, isEndKnown: false, isVoteKnown: false } });
    });

    check("what was committed behind the damage says nothing of the entries before it", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk);
      await wal.append([{ groupId: 1, hardState: { term: 1, vote: 1, commit: 2 }, entries: entries(1, 4, 1) }]);
      // Cuts off two entries; it is this that is lost.
      await wal.append([{ groupId: 1, hardState: { term: 2, vote: 3, commit: 2 }, entries: entries(3, 3, 2) }]);
      const name = (await disk.list())[0]!;
      const at = Buffer.from(await disk.read(name)).lastIndexOf(entries(3, 3, 2)[0]!.data);
      await wal.append([{ groupId: 1, hardState: { term: 2, vote: 3, commit: 4 }, entries: entries(4, 4, 2) }]);
      await wal.close();
      await flip(disk, name, at);
      const { groups } = await WriteAheadLog.open(disk, { salvage: [1] });
      expect(groups.get(1)).toEqual({ hardState: { term: 2, vote: 3, commit: 2 }, entries: entries(1, 4, 1), loss: { end: { index: 4, term: 2 }, isEndKnown: true, isVoteKnown: true } });
    });

    check("groups that nothing tells of are taken for damaged", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk);
      await wal.append([{ groupId: 1, hardState: { term: 2, vote: 1, commit: 0 }, entries: entries(1, 2, 2) }]);
      await wal.append([{ groupId: 2, entries: entries(1, 1, 1) }]);
      await flip(disk, (await disk.list())[0]!, 60);
      const { groups } = await WriteAheadLog.open(disk, { salvage: [1, 2] });
      expect(groups.get(1)?.loss).toEqual({ end: { index: 0, term: 0 }, isEndKnown: false, isVoteKnown: false });
      expect(groups.get(2)?.loss).toBeUndefined();
    });

    check("damage behind a snapshot's mark that covers it costs nothing", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk);
      await wal.append([{ groupId: 1, hardState: { term: 1, vote: 1, commit: 3 }, entries: entries(1, 3, 1) }]);
      await wal.append([{ groupId: 1, entries: entries(4, 4, 1), snapshot: snapshotAt(1, 3, 1) }]);
      await wal.close();
      await flip(disk, (await disk.list())[0]!, 100);
      const { groups } = await WriteAheadLog.open(disk, { salvage: [1] });
      expect(groups.get(1)?.entries.map(({ index }) => index)).toEqual([4]);
      expect(groups.get(1)?.loss).toBeUndefined();
    });

    check("a group can be begun anew, with its term and what it lost", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk, { segmentBytes: 150 });
      await wal.append([{ groupId: 1, hardState: { term: 3, vote: 1, commit: 2 }, entries: entries(1, 4, 3), snapshot: snapshotAt(1, 2, 3) }]);
      const loss = { end: { index: 4, term: 3 }, isEndKnown: true, isVoteKnown: true };
      await wal.append([{ groupId: 1, reset: true, hardState: { term: 3, vote: 1, commit: 0 }, loss }]);
      expect(wal.oldestSegmentGroups).toEqual([]);
      await wal.append([{ groupId: 1, entries: entries(1, 1, 3) }]);
      await wal.close();
      const { groups } = await WriteAheadLog.open(disk);
      expect(groups.get(1)).toEqual({ hardState: { term: 3, vote: 1, commit: 0 }, entries: entries(1, 1, 3), loss });
    });

    check("the last write before a crash is there twice after the next start", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk);
      await wal.append([{ groupId: 1, hardState: { term: 1, vote: 1, commit: 0 }, entries: entries(1, 3, 1) }]);
      const name = (await disk.list())[0]!;
      await WriteAheadLog.open(disk);
      await flip(disk, name, 70);
      const { groups } = await WriteAheadLog.open(disk, { salvage: [1] });
      expect(groups.get(1)).toEqual({ hardState: { term: 1, vote: 1, commit: 0 }, entries: entries(1, 3, 1) });
    });
  });

  describe("release", () => {
    check("segments go once no group needs them, and what is in force stays", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk, { segmentBytes: 400 });
      let state: ModelState = new Map();
      const append = async (batch: Parameters<typeof wal.append>[0]): Promise<void> => {
        await wal.append(batch);
        state = applyUpdates(state, batch);
      };
      await append([{ groupId: 2, hardState: { term: 4, vote: 2, commit: 0 } }]);
      await append([{ groupId: 3, snapshot: snapshotAt(3, 50, 2), hardState: { term: 2, vote: 0, commit: 50 } }]);
      for (let index = 1; index <= 40; index++) await append([{ groupId: 1, hardState: { term: 1, vote: 1, commit: index - 1 }, entries: entries(index, index, 1, 50) }]);
      const before = wal.segmentCount;
      expect(before).toBeGreaterThan(8);
      expect(wal.oldestSegmentGroups).toEqual([1]);
      expect(await codeOf(wal.compact(1, 38))).toBe("NO_SNAPSHOT");
      await append([{ groupId: 1, snapshot: snapshotAt(1, 38, 1) }]);
      expect(await codeOf(wal.compact(1, 39))).toBe("NO_SNAPSHOT");
      await wal.compact(1, 38);
      expect(wal.segmentCount).toBeLessThan(4);
      expect(wal.sizeBytes).toBeLessThan(1600);
      await append([{ groupId: 1, entries: entries(41, 41, 1) }]);
      await wal.close();
      const { groups } = await WriteAheadLog.open(disk);
      expectState(groups, state);
      expect(groups.get(2)!.hardState).toEqual({ term: 4, vote: 2, commit: 0 });
    });
  });

  describe("limits", () => {
    check("entries that leave a gap are refused, and the log goes on", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk);
      expect(await codeOf(wal.append([{ groupId: 1, entries: entries(2, 2, 1) }]))).toBe("OUT_OF_ORDER");
      await wal.append([{ groupId: 1, entries: entries(1, 2, 1) }]);
      expect(await codeOf(wal.append([{ groupId: 1, entries: entries(4, 4, 1) }]))).toBe("OUT_OF_ORDER");
      expect(await codeOf(wal.append([{ groupId: 1, entries: [...entries(3, 3, 1), ...entries(5, 5, 1)] }]))).toBe("OUT_OF_ORDER");
      await wal.append([{ groupId: 1, entries: entries(3, 3, 1) }]);
      await wal.close();
      const { groups } = await WriteAheadLog.open(disk);
      expect(groups.get(1)!.entries).toHaveLength(3);
    });

    check("a full queue refuses, and takes again once it has drained", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk, { maxQueueBytes: 1000 });
      const first = wal.append([{ groupId: 1, entries: entries(1, 1, 1, 2000) }]);
      expect(await codeOf(wal.append([{ groupId: 2, entries: entries(1, 1, 1, 10) }]))).toBe("QUEUE_FULL");
      await first;
      await wal.append([{ groupId: 2, entries: entries(1, 1, 1, 10) }]);
      await wal.close();
      expect(await codeOf(wal.append([]))).toBe("CLOSED");
    });

    check("what arrives while a sync runs shares the next one", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk);
      const all: Promise<void>[] = [];
      for (let groupId = 0; groupId < 100; groupId++) all.push(wal.append([{ groupId, entries: entries(1, 1, 1) }]));
      await Promise.all(all);
      expect(wal.syncs).toBeLessThanOrEqual(2);
      await wal.close();
    });
  });
}
