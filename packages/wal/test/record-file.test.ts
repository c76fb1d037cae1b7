// Who appends in the very moment in which the file has come to rest is not forgotten.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FolderDisk } from "@statemesh/ports";
import { afterEach, beforeEach, expect, test } from "vitest";
import { RecordFile } from "../src/index.ts";

let root = "";

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "statemesh-records-"));
});

afterEach(async () => rm(root, { recursive: true }));

test.each(Array.from({ length: 12 }, (_, turns) => turns))("what is appended %i turns after an append was answered is written", async (turns) => {
  const { file } = await RecordFile.open(await FolderDisk.open(root), "records");
  await file.append([new Uint8Array([1])]);
  for (let turn = 0; turn < turns; turn++) await Promise.resolve();
  await file.append([new Uint8Array([2])]);
  await file.close();
  const { records } = await RecordFile.open(await FolderDisk.open(root), "records");
  expect(records.map(([first]) => first)).toEqual([1, 2]);
});
