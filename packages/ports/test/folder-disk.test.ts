import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DiskError, FolderDisk } from "../src/index.ts";
import { diskContract } from "./disk-contract.ts";

let root = "";
let made = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "statemesh-disk-"));
});

afterAll(async () => {
  await rm(root, { recursive: true });
});

describe("a folder", () => {
  diskContract(async () => ({ disk: await FolderDisk.open(join(root, String(made++))), run: (work) => work }));

  test("an error of the operating system keeps its code and cause", async () => {
    const disk = await FolderDisk.open(join(root, "gone"));
    await rm(join(root, "gone"), { recursive: true });
    const error = await disk.openAppend("a").catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(DiskError);
    expect(error).toMatchObject({ code: "ENOENT" });
    expect(error instanceof Error && error.cause).toBeInstanceOf(Error);
  });
});
