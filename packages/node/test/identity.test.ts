import { type Disk, DiskError, SystemRandom } from "@statemesh/ports";
import { describe, expect, it } from "vitest";
import { beginStart, claimFolder } from "../src/identity.ts";
import { newFolder } from "./memory-folder.ts";

const IDENTITY = { clusterId: "c", nodeId: 1, groups: 1, decisionWindow: 8 };

async function start(folder: Disk, clockSays: number): Promise<number> {
  const record = await claimFolder(folder, IDENTITY, [1], new SystemRandom());
  return (await beginStart(folder, record, clockSays)).incarnation;
}

describe("the number of a node's start", () => {
  it("grows with every start, also twice in a second and after the clock went back", async () => {
    const folder = newFolder();
    expect(await start(folder, 1_000)).toBe(1_000);
    expect(await start(folder, 1_000)).toBe(1_001);
    expect(await start(folder, 7)).toBe(1_002);
    expect(await start(folder, 5_000)).toBe(5_000);
  });

  it("follows the clock where the count is lost with the folder, or was never kept", async () => {
    expect(await start(newFolder(), 2_000)).toBe(2_000);
    const old = newFolder();
    const file = await old.openAppend("identity.json");
    await file.append([new TextEncoder().encode(JSON.stringify({ ...IDENTITY, folderId: 9, founded: true, known: {} }))]);
    expect(await start(old, 2_000)).toBe(2_000);
  });

  it("does not keep a node from starting on a full disk; any other failure does", async () => {
    const failing = (code: string): Disk => {
      const folder = newFolder();
      let writes = 0;
      return { ...folder, openAppend: async (name) => (writes++ === 0 ? folder.openAppend(name) : Promise.reject(new DiskError(code, name))) };
    };
    expect(await start(failing("ENOSPC"), 3)).toBe(3);
    await expect(start(failing("EIO"), 3)).rejects.toThrow(DiskError);
  });
});
