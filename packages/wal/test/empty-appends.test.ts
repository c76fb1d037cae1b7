// What a group has to say without anything to store must cost no sync: that is most of what it has to say.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FolderDisk } from "@statemesh/ports";
import { afterEach, beforeEach, expect, test } from "vitest";
import { WriteAheadLog } from "../src/index.ts";
import { entries } from "./log-model.ts";

let root = "";

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "statemesh-wal-"));
});

afterEach(async () => rm(root, { recursive: true }));

test("nothing to store costs no sync, and is durable with what is before it", async () => {
  const { wal } = await WriteAheadLog.open(await FolderDisk.open(root));
  await wal.append([]);
  const order: string[] = [];
  const note = (name: string) => (): void => void order.push(name);
  const all = [wal.append([{ groupId: 1, entries: entries(1, 1, 1) }]).then(note("first")), wal.append([]).then(note("behind the first"))];
  // The first is on its way to the disk by now, and alone there.
  await Promise.resolve();
  await Promise.resolve();
  all.push(wal.append([]).then(note("while the first is written")), wal.append([{ groupId: 1, entries: entries(2, 2, 1) }]).then(note("second")));
  await Promise.all(all);
  expect(order).toEqual(["first", "behind the first", "while the first is written", "second"]);
  expect(wal.syncs).toBe(2);
  for (let turn = 0; turn < 10; turn++) await wal.append([]);
  expect(wal.syncs).toBe(2);
  await wal.close();
});
