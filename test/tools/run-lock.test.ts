import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { lockFolder } from "../../tools/run-lock.ts";
import { nodeProgram } from "../../tools/service-process.ts";
import { isFree, StablePorts } from "../../tools/stable-ports.ts";
import { UpData } from "../../tools/up-data.ts";

const folders: string[] = [];

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "statemesh-lock-"));
  folders.push(made);
  return made;
}

afterEach(() => {
  for (const each of folders.splice(0)) rmSync(each, { recursive: true, force: true });
});

describe("the lock of a data folder", () => {
  it("is held by one run, which the other one is told of", async () => {
    const where = folder();
    const lock = await lockFolder(where);
    await expect(lockFolder(where)).rejects.toThrow(`process ${process.pid}`);
    await lock.release();
    await (await lockFolder(where)).release();
  });

  it("is free at once after its holder was killed", async () => {
    const where = folder();
    const script = `const { lockFolder } = await import(${JSON.stringify(new URL("../../tools/run-lock.ts", import.meta.url).href)});
      await lockFolder(${JSON.stringify(where)}); console.log("held"); setInterval(() => undefined, 1000);`;
    const child = spawn(nodeProgram(), ["--input-type=module-typescript", "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise<void>((held) => child.stdout.once("data", () => held()));
    await expect(lockFolder(where)).rejects.toThrow(`process ${child.pid}`);
    const ended = new Promise<void>((done) => child.once("exit", () => done()));
    child.kill("SIGKILL");
    await ended;
    await (await lockFolder(where)).release();
  });

  it("does not concern other folders", async () => {
    const [first, second] = [await lockFolder(folder()), await lockFolder(folder())];
    await first.release();
    await second.release();
  });
});

describe("a data folder", () => {
  it("counts runs, and keeps a shard one server through all of them", () => {
    const where = folder();
    const first = UpData.open(where, 3, 4);
    const incarnation = first.incarnationOf(101);
    expect(first.run).toBe(1);
    const second = UpData.open(where, 3, 4);
    expect(second.run).toBe(2);
    expect(second.incarnationOf(101)).toBe(incarnation);
    expect(second.incarnationOf(102)).not.toBe(incarnation);
    expect(second.database).toBe(first.database);
    expect(UpData.open(folder(), 3, 4).database).not.toBe(first.database);
  });

  it("is not opened with another number of nodes or groups", () => {
    const where = folder();
    UpData.open(where, 3, 4);
    expect(() => UpData.open(where, 5, 4)).toThrow("cluster of 3 nodes and 4 groups, not 5 and 4");
    expect(() => UpData.open(where, 3, 2)).toThrow("not 3 and 2");
  });

  it("whose file is damaged is named", () => {
    const where = folder();
    writeFileSync(join(where, "cluster.json"), "{");
    expect(() => UpData.open(where, 3, 4)).toThrow("damaged");
    writeFileSync(join(where, "cluster.json"), '{"nodes":3}');
    expect(() => UpData.open(where, 3, 4)).toThrow("damaged");
  });
});

describe("stable ports", () => {
  it("are free, and given out once", async () => {
    const ports = new StablePorts();
    const first = await ports.take();
    expect(await ports.take(first)).not.toBe(first);
    expect(await isFree(first)).toBe(true);
  });
});
