import { CorruptionError, WalError, WriteAheadLog } from "@statemesh/wal";
import type { OpenedWal } from "@statemesh/wal";
import { describe, expect, test } from "vitest";
import { applyUpdates, differs, entries, expectState, Workload } from "../../wal/test/log-model.ts";
import type { ModelState } from "../../wal/test/log-model.ts";
import { walContract } from "../../wal/test/wal-contract.ts";
import { SimDisk, Simulation } from "../src/index.ts";

describe("the log on a simulated disk", () => {
  let seed = 1;
  walContract(() => {
    const simulation = new Simulation(seed++);
    return Promise.resolve({ disk: new SimDisk(simulation).mount(), run: (work) => simulation.settle(work) });
  }, 300);
});

test("after a power cut at any moment the log holds everything acknowledged, and nothing that was not written", async () => {
  for (let seed = 1; seed <= 300; seed++) {
    const simulation = new Simulation(seed);
    const { random } = simulation;
    const disk = new SimDisk(simulation);
    const workload = new Workload(() => random.next());
    let states: ModelState[] = [new Map()];
    for (let life = 0; life < 4; life++) {
      const opened = await simulation.settle(WriteAheadLog.open(disk.mount(), { segmentBytes: 600 }));
      const { wal, groups } = opened;
      const found = states.findIndex((state) => differs(groups, state) === undefined);
      expect(found, `seed ${seed}, life ${life}: the recovered state is one between acknowledged and written`).toBeGreaterThanOrEqual(0);
      // The groups go on from what the log holds, so later work is drawn again from there: a fresh set of groups each life.
      let acknowledged = 0;
      states = [states[found]!];
      const offset = life * 10;
      let stopped = false;
      const work = async (): Promise<void> => {
        const pending: Promise<void>[] = [];
        for (let n = 0; n < 30; n++) {
          const batch = fresh.batch().map((update) => ({ ...update, groupId: update.groupId + offset, ...(update.snapshot === undefined ? {} : { snapshot: { ...update.snapshot, groupId: update.groupId + offset } }) }));
          states.push(applyUpdates(states.at(-1)!, batch));
          const position = states.length - 1;
          pending.push(wal.append(batch).then(() => {
            acknowledged = Math.max(acknowledged, position);
          }));
          if (random.chance(0.4)) await Promise.all(pending.splice(0));
          if (random.chance(0.2)) {
            for (const groupId of [1, 2, 3]) if (fresh.snapshotOf(groupId) > 0) await wal.compact(groupId + offset, fresh.snapshotOf(groupId));
          }
        }
        await Promise.all(pending);
      };
      const fresh = life === 0 ? workload : new Workload(() => random.next());
      void work().then(() => {
        stopped = true;
      });
      const crashAtMs = simulation.nowMs + random.next() * 40;
      await simulation.runUntilHolds(() => stopped || simulation.nowMs >= crashAtMs, 60);
      // A killed process leaves what it wrote to be read, synced or not; what the next one read must stay.
      if (random.chance(0.3)) disk.kill();
      else disk.crash();
      states = states.slice(acknowledged);
    }
  }
});

test("what a log read after its process was killed is durable before anything is built on it", async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const simulation = new Simulation(seed);
    const disk = new SimDisk(simulation);
    const { wal } = await simulation.settle(WriteAheadLog.open(disk.mount()));
    void wal.append([{ groupId: 1, hardState: { term: 7, vote: 2, commit: 0 } }]);
    // Written, not synced.
    await simulation.runUntilHolds(() => disk.usedBytes > 20, 10);
    disk.kill();
    const { groups } = await simulation.settle(WriteAheadLog.open(disk.mount()));
    disk.crash();
    const again = await simulation.settle(WriteAheadLog.open(disk.mount()));
    expect(again.groups, `seed ${seed}`).toEqual(groups);
  }
});

async function withLog(behaviour: { capacityBytes?: number }, body: (wal: OpenedWal["wal"], disk: SimDisk) => Promise<void>): Promise<{ simulation: Simulation; disk: SimDisk }> {
  const simulation = new Simulation(1);
  const disk = new SimDisk(simulation, behaviour);
  await simulation.settle(
    (async () => {
      const { wal } = await WriteAheadLog.open(disk.mount());
      await body(wal, disk);
    })(),
  );
  return { simulation, disk };
}

async function failureOf(work: Promise<unknown>): Promise<WalError> {
  const error = await work.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (!(error instanceof WalError)) throw new Error(`expected a WalError, got ${String(error)}`);
  return error;
}

test("a failed sync poisons the log: every later append fails with the first cause", async () => {
  await withLog({}, async (wal, disk) => {
    await wal.append([{ groupId: 1, entries: entries(1, 1, 1) }]);
    let failures = 0;
    disk.behaviour.fault = (operation) => (operation === "sync" && failures++ === 0 ? "EIO" : undefined);
    const first = wal.append([{ groupId: 1, entries: entries(2, 2, 1) }]);
    const error = await failureOf(first);
    expect(error.code).toBe("POISONED");
    expect(error.cause).toMatchObject({ code: "EIO" });
    // The disk would work again; what is durable stays unknown.
    expect(await failureOf(wal.append([{ groupId: 1, entries: entries(2, 2, 1) }]))).toBe(error);
    expect(await failureOf(wal.compact(1, 1))).toBe(error);
    expect(wal.failure).toBe(error);
    await wal.close();
  });
});

test("batches that wait behind a failed sync fail with it", async () => {
  await withLog({}, async (wal, disk) => {
    disk.behaviour.fault = (operation) => (operation === "sync" ? "EIO" : undefined);
    const first = failureOf(wal.append([{ groupId: 1, entries: entries(1, 1, 1) }]));
    await Promise.resolve();
    await Promise.resolve();
    const second = failureOf(wal.append([{ groupId: 2, entries: entries(1, 1, 1) }]));
    expect((await first).code).toBe("POISONED");
    expect((await second).code).toBe("POISONED");
  });
});

test("a full disk refuses the batch and those behind it, cuts back, and takes them again when there is space", async () => {
  const { simulation, disk } = await withLog({ capacityBytes: 400 }, async (wal, disk) => {
    await wal.append([{ groupId: 1, entries: entries(1, 1, 1) }]);
    const size = wal.sizeBytes;
    const big = failureOf(wal.append([{ groupId: 1, entries: entries(2, 2, 1, 1000) }]));
    await Promise.resolve();
    await Promise.resolve();
    const behind = failureOf(wal.append([{ groupId: 1, entries: entries(3, 3, 1) }]));
    expect((await big).code).toBe("NO_SPACE");
    expect((await behind).code).toBe("NO_SPACE");
    expect(wal.sizeBytes).toBe(size);
    expect(disk.usedBytes).toBe(size);
    expect((await failureOf(wal.append([{ groupId: 1, entries: entries(3, 3, 1) }]))).code).toBe("OUT_OF_ORDER");
    await wal.append([{ groupId: 1, entries: entries(2, 2, 1) }]);
    disk.behaviour.capacityBytes = Infinity;
    await wal.append([{ groupId: 1, entries: entries(3, 3, 1, 1000) }]);
  });
  disk.crash();
  const { groups } = await simulation.settle(WriteAheadLog.open(disk.mount()));
  expectState(groups, applyUpdates(new Map(), [{ groupId: 1, entries: [...entries(1, 2, 1), ...entries(3, 3, 1, 1000)] }]));
});

test("a disk that is full when a segment is to begin refuses, and the log goes on in the old one", async () => {
  const simulation = new Simulation(2);
  const disk = new SimDisk(simulation);
  await simulation.settle(
    (async () => {
      const { wal } = await WriteAheadLog.open(disk.mount(), { segmentBytes: 200 });
      await wal.append([{ groupId: 1, entries: entries(1, 1, 1, 100) }]);
      disk.behaviour.capacityBytes = disk.usedBytes + 10;
      expect((await failureOf(wal.append([{ groupId: 1, entries: entries(2, 2, 1, 100) }]))).code).toBe("NO_SPACE");
      expect(wal.segmentCount).toBe(1);
      disk.behaviour.capacityBytes = Infinity;
      await wal.append([{ groupId: 1, entries: entries(2, 2, 1, 100) }]);
      expect(wal.segmentCount).toBe(2);
      await wal.close();
      const { groups } = await WriteAheadLog.open(disk.mount());
      expect(groups.get(1)!.entries).toHaveLength(2);
    })(),
  );
});

test("a segment of which a full disk took the header alone, before its process was killed, begins anew", async () => {
  const simulation = new Simulation(2);
  const disk = new SimDisk(simulation);
  const { wal } = await simulation.settle(WriteAheadLog.open(disk.mount(), { segmentBytes: 200 }));
  await simulation.settle(wal.append([{ groupId: 1, hardState: { term: 1, vote: 1, commit: 0 }, entries: entries(1, 1, 1, 100) }]));
  const headerBytes = 24;
  disk.behaviour.capacityBytes = disk.usedBytes + headerBytes;
  let killed = false;
  disk.behaviour.fault = (operation) => {
    if (operation !== "remove") return undefined;
    disk.kill();
    killed = true;
    return "EIO";
  };
  void wal.append([{ groupId: 1, entries: entries(2, 2, 1, 100) }]);
  await simulation.runUntilHolds(() => killed, 100);
  expect(killed).toBe(true);
  disk.behaviour.capacityBytes = Infinity;
  disk.behaviour.fault = () => undefined;
  expect(disk.peek(disk.names.at(-1)!).length).toBe(headerBytes);
  const again = await simulation.settle(WriteAheadLog.open(disk.mount(), { segmentBytes: 200 }));
  await simulation.settle(again.wal.append([{ groupId: 1, entries: entries(2, 2, 1, 100) }]));
  const meta = { groupId: 1, index: 1, term: 1, voters: [1], learners: [], size: 0, crc32c: 0 };
  await simulation.settle(again.wal.append([{ groupId: 1, snapshot: meta }]));
  await simulation.settle(again.wal.compact(1, 1));
  disk.crash();
  const { groups, damage } = await simulation.settle(WriteAheadLog.open(disk.mount(), { segmentBytes: 200 }));
  expect(damage).toEqual([]);
  expect(groups.get(1)).toMatchObject({ hardState: { term: 1, vote: 1 }, snapshot: { index: 1 }, entries: [{ index: 2 }] });
});

test("a log opens on a disk that is full, takes nothing, and goes on when there is space", async () => {
  const simulation = new Simulation(4);
  const disk = new SimDisk(simulation);
  await simulation.settle(
    (async () => {
      const { wal } = await WriteAheadLog.open(disk.mount());
      await wal.append([{ groupId: 1, entries: entries(1, 1, 1) }]);
    })(),
  );
  disk.kill();
  disk.behaviour.capacityBytes = disk.usedBytes + 10;
  await simulation.settle(
    (async () => {
      const { wal, groups } = await WriteAheadLog.open(disk.mount());
      expect(groups.get(1)!.entries).toHaveLength(1);
      expect((await failureOf(wal.append([{ groupId: 1, entries: entries(2, 2, 1) }]))).code).toBe("NO_SPACE");
      disk.behaviour.capacityBytes = Infinity;
      await wal.append([{ groupId: 1, entries: entries(2, 2, 1) }]);
      await wal.close();
      expect((await WriteAheadLog.open(disk.mount())).groups.get(1)!.entries).toHaveLength(2);
    })(),
  );
});

test("a disk that cannot read some sectors costs what was in them, and nothing is taken for torn there", async () => {
  const simulation = new Simulation(5);
  const disk = new SimDisk(simulation);
  await simulation.settle(
    (async () => {
      const { wal } = await WriteAheadLog.open(disk.mount());
      for (let index = 1; index <= 20; index++) await wal.append([{ groupId: 1 + (index % 2), hardState: { term: 1, vote: 1, commit: 0 }, entries: entries(Math.ceil(index / 2), Math.ceil(index / 2), 1, 1_000) }]);
    })(),
  );
  disk.kill();
  const name = disk.names[0]!;
  const { length } = disk.peek(name);
  let asked = 0;
  // Asked are: the header, the whole file, its size, its parts. The whole file cannot be read at once, and of its parts not the last one.
  disk.behaviour.fault = (operation, file) => {
    if (operation !== "read" || file !== name) return undefined;
    asked++;
    return asked === 2 || asked === 3 + Math.ceil(length / 4_096) ? "EIO" : undefined;
  };
  await simulation.settle(
    (async () => {
      const { groups, damage, tornBytes } = await WriteAheadLog.open(disk.mount(), { salvage: [1, 2] });
      expect(damage).toMatchObject([{ kind: "unreadable", reason: "the disk could not read it" }]);
      expect(tornBytes).toBe(0);
      for (const groupId of [1, 2]) expect(groups.get(groupId)?.loss).toMatchObject({ isEndKnown: false });
    })(),
  );
});

test("an error of the disk while reading is not damage", async () => {
  const simulation = new Simulation(3);
  const disk = new SimDisk(simulation);
  await simulation.settle(
    (async () => {
      const { wal } = await WriteAheadLog.open(disk.mount());
      await wal.append([{ groupId: 1, entries: entries(1, 1, 1) }]);
      await wal.close();
      disk.behaviour.fault = (operation) => (operation === "read" ? "EIO" : undefined);
      const error = await WriteAheadLog.open(disk.mount()).catch((cause: unknown) => cause);
      expect(error).not.toBeInstanceOf(CorruptionError);
      expect(error).toMatchObject({ code: "EIO" });
    })(),
  );
});
