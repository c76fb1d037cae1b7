import { DiskError } from "@statemesh/ports";
import { RecordFile } from "@statemesh/wal";
import { describe, expect, it } from "vitest";
import { SimDisk, Simulation } from "../src/index.ts";

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (word: string): Uint8Array => new TextEncoder().encode(word);

describe("a file of records", () => {
  it("holds after a power cut or a kill at any moment everything that was acknowledged, in order, and what is written anew at once or not", async () => {
    for (let seed = 1; seed <= 300; seed++) {
      const simulation = new Simulation(seed);
      const { random } = simulation;
      const disk = new SimDisk(simulation);
      // What is there for certain, and what may be.
      let certain: string[] = [];
      const failures: unknown[] = [];
      for (let life = 0; life < 4; life++) {
        const { file, records, damage } = await simulation.settle(RecordFile.open(disk.mount(), "kept"));
        expect(damage, `seed ${seed}`).toEqual([]);
        const found = records.map(text);
        expect(found.filter((word) => certain.includes(word)), `seed ${seed}, life ${life}`).toEqual(certain);
        certain = found;
        let next = 0;
        const step = (): void => {
          const word = `${life}-${next++} ${"x".repeat(Math.floor(random.next() * 300))}`;
          file.append([bytes(word)], () => certain.push(word)).catch((error: unknown) => failures.push(error));
          if (random.chance(0.1)) file.replace(() => certain.map(bytes));
          if (next < 60) simulation.after(random.next(), step);
        };
        step();
        const crashMs = simulation.nowMs + random.next() * 40;
        await simulation.runUntilHolds(() => simulation.nowMs >= crashMs, 60);
        if (random.chance(0.3)) disk.kill();
        else disk.crash();
      }
      expect(failures, `seed ${seed}`).toEqual([]);
    }
  });

  it("syncs once for all that gathers while a sync runs", async () => {
    const simulation = new Simulation(1);
    let syncs = 0;
    const disk = new SimDisk(simulation, { fault: (operation) => void (operation === "sync" && syncs++) });
    const { file } = await simulation.settle(RecordFile.open(disk.mount(), "kept"));
    await simulation.settle(Promise.all(Array.from({ length: 1_000 }, async (_, i) => file.append([bytes(String(i))]))));
    expect(syncs).toBeLessThanOrEqual(3);
  });

  it("takes nothing where the disk is full, says so, and takes the next once there is room", async () => {
    const simulation = new Simulation(2);
    const disk = new SimDisk(simulation, { capacityBytes: 400 });
    const { file } = await simulation.settle(RecordFile.open(disk.mount(), "kept"));
    await simulation.settle(file.append([bytes("first")]));
    const refused = await simulation.settle(file.append([new Uint8Array(1_000)]).then(() => undefined, (error: unknown) => error));
    expect(refused instanceof DiskError && refused.isNoSpace).toBe(true);
    await simulation.settle(file.append([bytes("second")]));
    disk.crash();
    const { records } = await simulation.settle(RecordFile.open(disk.mount(), "kept"));
    expect(records.map(text)).toEqual(["first", "second"]);
  });

  it("takes all that is appended together, or nothing of it", async () => {
    const simulation = new Simulation(4);
    const disk = new SimDisk(simulation, { capacityBytes: 400 });
    const { file } = await simulation.settle(RecordFile.open(disk.mount(), "kept"));
    let written = 0;
    const refused = await simulation.settle(file.append([bytes("small"), new Uint8Array(1_000)], () => written++).then(() => undefined, (error: unknown) => error));
    expect(refused instanceof DiskError && refused.isNoSpace).toBe(true);
    expect(written).toBe(0);
    await simulation.settle(file.append([bytes("one"), bytes("two")]));
    disk.crash();
    const { records } = await simulation.settle(RecordFile.open(disk.mount(), "kept"));
    expect(records.map(text)).toEqual(["one", "two"]);
  });

  it("takes nothing more after a sync that failed", async () => {
    const simulation = new Simulation(3);
    let fails = false;
    const disk = new SimDisk(simulation, { fault: (operation) => (fails && operation === "sync" ? "EIO" : undefined) });
    const { file } = await simulation.settle(RecordFile.open(disk.mount(), "kept"));
    fails = true;
    const outcome = async (): Promise<string> => simulation.settle(file.append([bytes("word")]).then(() => "taken", () => "refused"));
    expect(await outcome()).toBe("refused");
    fails = false;
    expect(await outcome()).toBe("refused");
  });

  it("loses to damage in its middle what was damaged and nothing else, says where, and keeps the damaged file beside", async () => {
    const simulation = new Simulation(4);
    const disk = new SimDisk(simulation);
    const { file } = await simulation.settle(RecordFile.open(disk.mount(), "kept"));
    for (const word of ["one", "two", "three"]) await simulation.settle(file.append([bytes(word)]));
    await simulation.settle(file.close());
    disk.flipBit("kept", 20 + 4 + 3 + 20 + 4, 0);
    const before = disk.peek("kept").slice();
    const opened = await simulation.settle(RecordFile.open(disk.mount(), "kept"));
    expect(opened.records.map(text)).toEqual(["one", "three"]);
    expect(opened.damage).toMatchObject([{ offset: 27 }]);
    expect(disk.peek("kept.damaged")).toEqual(before);
    await simulation.settle(opened.file.append([bytes("four")]));
    disk.crash();
    const again = await simulation.settle(RecordFile.open(disk.mount(), "kept"));
    expect(again.records.map(text)).toEqual(["one", "three", "four"]);
    expect(again.damage).toEqual([]);
  });
});
