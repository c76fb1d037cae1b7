import fc from "fast-check";
import type { Disk } from "@statemesh/ports";
import { describe, expect, test } from "vitest";
import { CorruptionError, WalError, WriteAheadLog } from "../src/index.ts";
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

    check("a removed group is gone and may begin again", async (disk) => {
      const { wal } = await WriteAheadLog.open(disk);
      await wal.append([{ groupId: 1, entries: entries(1, 3, 1) }, { groupId: 2, entries: entries(1, 1, 1) }]);
      await wal.remove(1);
      await wal.append([{ groupId: 1, entries: entries(1, 1, 9) }]);
      await wal.remove(2);
      await wal.close();
      const { groups } = await WriteAheadLog.open(disk);
      expect([...groups.keys()]).toEqual([1]);
      expect(groups.get(1)!.entries).toHaveLength(1);
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
      await expect(WriteAheadLog.open(disk)).rejects.toMatchObject({ name: "CorruptionError", file: name, offset: 20 });
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
