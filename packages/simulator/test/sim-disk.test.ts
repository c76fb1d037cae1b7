import { describe, expect, test } from "vitest";
import { diskContract } from "../../ports/test/disk-contract.ts";
import { SimDisk, Simulation } from "../src/index.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe("the simulated disk", () => {
  let seed = 1;
  diskContract(() => {
    const simulation = new Simulation(seed++);
    return Promise.resolve({ disk: new SimDisk(simulation).mount(), run: (work) => simulation.settle(work) });
  });

  test("a power cut never takes what was synced, and of the rest keeps no more than was written", async () => {
    const lengths = new Set<number>();
    for (let seed = 1; seed <= 200; seed++) {
      const simulation = new Simulation(seed);
      const disk = new SimDisk(simulation);
      const mounted = disk.mount();
      await simulation.settle(
        (async () => {
          const file = await mounted.openAppend("a");
          await file.append([new Uint8Array(1000).fill(1)]);
          await file.sync();
          await mounted.syncDirectory();
          await file.append([new Uint8Array(3000).fill(2)]);
        })(),
      );
      disk.crash();
      const content = disk.peek("a");
      expect(content.length, `seed ${seed}`).toBeGreaterThanOrEqual(1000);
      expect(content.length, `seed ${seed}`).toBeLessThanOrEqual(4000);
      expect(content.subarray(0, 1000).every((byte) => byte === 1), `seed ${seed}`).toBe(true);
      lengths.add(content.length);
    }
    expect(lengths.size).toBeGreaterThan(4);
  });

  test("a name that was not synced may be gone after a power cut, and is there after a kill", async () => {
    let gone = 0;
    for (let seed = 1; seed <= 50; seed++) {
      const simulation = new Simulation(seed);
      const disk = new SimDisk(simulation);
      await simulation.settle(disk.mount().openAppend("a"));
      disk.kill();
      expect(disk.names).toEqual(["a"]);
      disk.crash();
      if (disk.names.length === 0) gone++;
    }
    expect(gone).toBeGreaterThan(0);
    expect(gone).toBeLessThan(50);
  });

  test("a full disk takes what fits and fails with ENOSPC, the size as before", async () => {
    const simulation = new Simulation(1);
    const disk = new SimDisk(simulation, { capacityBytes: 10 });
    await simulation.settle(
      (async () => {
        const file = await disk.mount().openAppend("a");
        await file.append([bytes("12345678")]);
        await expect(file.append([bytes("abcdef")])).rejects.toMatchObject({ code: "ENOSPC" });
        expect(file.size).toBe(8);
        expect(disk.peek("a").length).toBe(10);
        await file.truncate(8);
        await file.append([bytes("xy")]);
      })(),
    );
    expect(disk.peek("a")).toEqual(bytes("12345678xy"));
  });

  test("an injected error fails that operation alone", async () => {
    const simulation = new Simulation(1);
    const disk = new SimDisk(simulation);
    let failing = true;
    disk.behaviour.fault = (operation) => (operation === "sync" && failing ? "EIO" : undefined);
    await simulation.settle(
      (async () => {
        const file = await disk.mount().openAppend("a");
        await file.append([bytes("1")]);
        await expect(file.sync()).rejects.toMatchObject({ code: "EIO" });
        failing = false;
        await file.sync();
      })(),
    );
  });
});
