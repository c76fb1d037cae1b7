import { SnapshotStore } from "@statemesh/wal";
import { describe, expect, test } from "vitest";
import { snapshotContract } from "../../wal/test/snapshot-contract.ts";
import { SimDisk, Simulation } from "../src/index.ts";

describe("snapshots on a simulated disk", () => {
  let seed = 1;
  snapshotContract(() => {
    const simulation = new Simulation(seed++);
    return Promise.resolve({ disk: new SimDisk(simulation).mount(), run: (work) => simulation.settle(work) });
  });
});

test("after a power cut a snapshot under its name is whole, and a finished one is there", async () => {
  let found = 0;
  for (let seed = 1; seed <= 200; seed++) {
    const simulation = new Simulation(seed);
    const disk = new SimDisk(simulation);
    let finished = false;
    const work = async (): Promise<void> => {
      const snapshots = await SnapshotStore.open(disk.mount());
      const writer = await snapshots.create({ groupId: 1, index: 9, term: 1, voters: [1], learners: [] });
      for (let n = 0; n < 5; n++) await writer.write(new Uint8Array(1500).fill(n));
      await writer.finish();
    };
    void work().then(() => {
      finished = true;
    });
    const crashAtMs = simulation.random.next() * 4;
    await simulation.runUntil(crashAtMs);
    disk.crash();
    const snapshots = await simulation.settle(SnapshotStore.open(disk.mount()));
    const { snapshot, damaged } = await simulation.settle(snapshots.newest(1));
    expect(damaged, `seed ${seed}`).toEqual([]);
    if (finished) expect(snapshot, `seed ${seed}`).toBeDefined();
    if (snapshot !== undefined) found++;
    expect(disk.names.some((name) => name.endsWith(".tmp")), `seed ${seed}`).toBe(false);
  }
  expect(found).toBeGreaterThan(20);
  expect(found).toBeLessThan(200);
});
