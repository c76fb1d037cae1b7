// A sync that fails: the pages count as clean, they are read back, and no later sync writes them. On this disk half of them are on no platter.
import { RecordFile, WriteAheadLog } from "@statemesh/wal";
import type { OpenedWal } from "@statemesh/wal";
import { expect, test } from "vitest";
import { entries } from "../../wal/test/log-model.ts";
import { SimDisk, Simulation } from "../src/index.ts";

/** The next `count` syncs fail. */
function failSyncs(disk: SimDisk, count: number): void {
  let left = count;
  disk.behaviour.fault = (operation) => (operation === "sync" && left-- > 0 ? "EIO" : undefined);
}

const vote = (term: number) => ({ term, vote: 2, commit: 0 });

/** Bytes of the entry: the last write is then within a sector, over a few, or begins a segment. */
const SIZES = [10, 900, 3_000];

for (const refusals of [0, 1, 2]) {
  test(`what a log read back after a failed sync${refusals === 0 ? "" : `, and ${refusals} starts whose syncs failed too,`} is there after a power cut, and nothing is taken for damage`, async () => {
    for (let seed = 1; seed <= 60; seed++) {
      for (const bytes of SIZES) {
        const simulation = new Simulation(seed);
        const disk = new SimDisk(simulation);
        const open = (): Promise<OpenedWal> => simulation.settle(WriteAheadLog.open(disk.mount(), { segmentBytes: 2_000 }));
        const { wal } = await open();
        await simulation.settle(wal.append([{ groupId: 1, hardState: vote(1), entries: entries(1, 1, 1) }]));
        failSyncs(disk, 1);
        await expect(simulation.settle(wal.append([{ groupId: 1, hardState: vote(2), entries: entries(2, 2, 2, bytes) }]))).rejects.toMatchObject({ code: "POISONED" });
        disk.kill();
        for (let n = 0; n < refusals; n++) {
          failSyncs(disk, 1);
          await expect(open(), `seed ${seed}`).rejects.toMatchObject({ code: "EIO" });
          disk.kill();
        }
        const { groups } = await open();
        disk.crash();
        const again = await open();
        expect(again.damage, `seed ${seed}, ${bytes} bytes`).toEqual([]);
        expect(again.groups, `seed ${seed}, ${bytes} bytes`).toEqual(groups);
      }
    }
  });
}

test("the first write of a log, header and all, is there after a failed sync, a start and a power cut", async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const simulation = new Simulation(seed);
    const disk = new SimDisk(simulation);
    failSyncs(disk, 1);
    await expect(simulation.settle(WriteAheadLog.open(disk.mount()))).rejects.toMatchObject({ code: "EIO" });
    disk.kill();
    const { wal } = await simulation.settle(WriteAheadLog.open(disk.mount()));
    await simulation.settle(wal.append([{ groupId: 1, hardState: vote(3), entries: entries(1, 1, 3) }]));
    disk.crash();
    const { groups, damage } = await simulation.settle(WriteAheadLog.open(disk.mount()));
    expect(damage, `seed ${seed}`).toEqual([]);
    expect(groups.get(1), `seed ${seed}`).toMatchObject({ hardState: vote(3), entries: [{ index: 1 }] });
  }
});

test("an unfinished write whose cutting off was lost with a failed sync does not make damage of the next one", async () => {
  for (let seed = 1; seed <= 300; seed++) {
    const simulation = new Simulation(seed);
    const disk = new SimDisk(simulation);
    const open = (): Promise<OpenedWal> => simulation.settle(WriteAheadLog.open(disk.mount()));
    const cutPowerDuring = async ({ wal }: OpenedWal, index: number, bytes: number): Promise<void> => {
      const before = disk.usedBytes;
      void wal.append([{ groupId: 1, entries: entries(index, index, 1, bytes) }]);
      await simulation.runUntilHolds(() => disk.usedBytes > before, 10);
      disk.crash();
    };
    const first = await open();
    await simulation.settle(first.wal.append([{ groupId: 1, hardState: vote(1), entries: entries(1, 1, 1) }]));
    await cutPowerDuring(first, 2, 3_000);
    failSyncs(disk, 1);
    await expect(open(), `seed ${seed}`).rejects.toMatchObject({ code: "EIO" });
    disk.kill();
    const second = await open();
    await cutPowerDuring(second, second.groups.get(1)!.entries.length + 1, 900);
    expect((await open()).damage, `seed ${seed}`).toEqual([]);
  }
});

test("over many lives of failed syncs, kills and power cuts a log keeps all that it acknowledged or gave back, and is never damaged", async () => {
  let lost = 0;
  for (let seed = 1; seed <= 100; seed++) {
    const simulation = new Simulation(seed);
    const { random } = simulation;
    const disk = new SimDisk(simulation);
    let certain = 0;
    let written = 0;
    for (let life = 0; life < 8; life++) {
      if (random.chance(0.3)) failSyncs(disk, random.between(1, 2));
      let opened: OpenedWal | undefined;
      let failure: unknown;
      void WriteAheadLog.open(disk.mount(), { segmentBytes: 1_500 }).then((log) => (opened = log), (error: unknown) => (failure = error));
      const cutMs = simulation.nowMs + (random.chance(0.3) ? random.next() * 4 : 1_000);
      await simulation.runUntilHolds(() => opened !== undefined || failure !== undefined || simulation.nowMs >= cutMs, 2_000);
      disk.behaviour.fault = () => undefined;
      if (failure !== undefined) expect(failure, `seed ${seed}, life ${life}`).toMatchObject({ code: "EIO" });
      if (opened === undefined) {
        if (random.chance(0.5)) disk.kill();
        else disk.crash();
        continue;
      }
      expect(opened.damage, `seed ${seed}, life ${life}`).toEqual([]);
      const found = opened.groups.get(1)?.entries ?? [];
      expect(found.map(({ index }) => index), `seed ${seed}, life ${life}`).toEqual(Array.from({ length: found.length }, (_, at) => at + 1));
      expect(found.length, `seed ${seed}, life ${life}`).toBeGreaterThanOrEqual(certain);
      if (found.length < written) lost++;
      certain = written = found.length;
      const failsAt = random.between(1, 12);
      for (let n = 1; n <= 10; n++) {
        if (n === failsAt) failSyncs(disk, 1);
        const index = written + 1;
        const isKept = await simulation.settle(opened.wal.append([{ groupId: 1, hardState: vote(index), entries: entries(index, index, index, random.pick(SIZES)) }]).then(() => true, () => false));
        written = index;
        if (!isKept) break;
        certain = index;
      }
      disk.behaviour.fault = () => undefined;
      if (random.chance(0.6)) disk.kill();
      else disk.crash();
    }
  }
  expect(lost, "power cuts took what was not acknowledged").toBeGreaterThan(0);
});

test("what a file of records gave back after a failed sync is there after a power cut", async () => {
  const bytes = (word: string): Uint8Array => new TextEncoder().encode(word);
  for (let seed = 1; seed <= 60; seed++) {
    for (const size of SIZES) {
      const simulation = new Simulation(seed);
      const disk = new SimDisk(simulation);
      const { file } = await simulation.settle(RecordFile.open(disk.mount(), "kept"));
      await simulation.settle(file.append([bytes("one")]));
      failSyncs(disk, 1);
      await expect(simulation.settle(file.append([bytes("two"), new Uint8Array(size)]))).rejects.toMatchObject({ code: "EIO" });
      disk.kill();
      failSyncs(disk, 1);
      await expect(simulation.settle(RecordFile.open(disk.mount(), "kept"))).rejects.toMatchObject({ code: "EIO" });
      disk.kill();
      const opened = await simulation.settle(RecordFile.open(disk.mount(), "kept"));
      await simulation.settle(opened.file.append([bytes("three")]));
      disk.crash();
      const again = await simulation.settle(RecordFile.open(disk.mount(), "kept"));
      expect(again.damage, `seed ${seed}, ${size} bytes`).toEqual([]);
      expect(again.records, `seed ${seed}, ${size} bytes`).toEqual([...opened.records, bytes("three")]);
      expect(again.records.length, `seed ${seed}, ${size} bytes`).toBe(4);
    }
  }
});
