import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FolderDisk } from "@statemesh/ports";
import { afterAll, beforeAll, describe } from "vitest";
import { walContract } from "./wal-contract.ts";

let root = "";
let made = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "statemesh-wal-"));
});

afterAll(async () => {
  await rm(root, { recursive: true });
});

describe("the log in a folder", () => {
  walContract(async () => ({ disk: await FolderDisk.open(join(root, String(made++))), run: (work) => work }), 10);
});
