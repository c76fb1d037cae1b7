import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FolderDisk } from "@statemesh/ports";
import { afterEach, beforeEach, expect, test } from "vitest";
import { WriteAheadLog } from "../src/index.ts";
import { entries, snapshotAt } from "./log-model.ts";
import { MortalDisk } from "./mortal-disk.ts";

// Two segments as the code of format 1 wrote them: group 2 with a vote, group 1 with entries 7 to 10 behind what was released.
const THIRD =
  "U01FU0hXQUwBAAAAAwAAACOx/BBTU1dMMsk5Kk0AAAADAAAAFAAAAAEBAAABAAAAQQAAAAEAAAAAAAAAAQAAAAYAAAAAAAAAAQAAAAcAAAAAAAAAAQAAAAAA" +
  "AAAAFAAAAODg4ODg4ODg4ODg4ODg4ODg4ODgU1NXTK/rk05NAAAAAwAAAHUAAAABAQAAAQAAAEEAAAABAAAAAAAAAAEAAAAHAAAAAAAAAAEAAAAIAAAAAAAA" +
  "AAEAAAAAAAAAABQAAAD//////////////////////////1NTV0wV+ezsTQAAAAMAAADWAAAAAQEAAAEAAABBAAAAAQAAAAAAAAABAAAACAAAAAAAAAABAAAA" +
  "CQAAAAAAAAABAAAAAAAAAAAUAAAAHh4eHh4eHh4eHh4eHh4eHh4eHh4=";
const FOURTH =
  "U01FU0hXQUwBAAAABAAAAOkJ/AlTU1dMx9de7kgAAAAEAAAAFAAAAAECAAABAAAAPAAAAAEAAAAHAAAAAAAAAAEAAAAAAAAARgAAAAAAAADvvq3eAwAAAAEA" +
  "AAACAAAAAwAAAAAAAAAAAAAAAAAAAFNTV0zsbfQyLAAAAAQAAABwAAAAAQUAAAIAAAAgAAAABAAAAAAAAAACAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABTU1dM" +
  "T6d7uVoAAAAEAAAAsAAAAAEAAAABAAAATgAAAAIAAAAJAAAAAAAAAAIAAAAAAAAAABQAAAAlJSUlJSUlJSUlJSUlJSUlJSUlJQIAAAAAAAAAABQAAABERERE" +
  "RERERERERERERERERERERA==";

let folder = "";
let disk: MortalDisk;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "statemesh-wal-"));
  disk = new MortalDisk(await FolderDisk.open(folder));
  for (const [name, content] of [["wal-0000000003.log", THIRD], ["wal-0000000004.log", FOURTH]] as const) {
    const file = await disk.openAppend(name);
    await file.append([Buffer.from(content, "base64")]);
    await file.close();
  }
});

afterEach(async () => {
  await disk.end();
  await rm(folder, { recursive: true });
});

const EXPECTED = new Map([
  [1, { hardState: { term: 1, vote: 1, commit: 8 }, snapshot: snapshotAt(1, 7, 1), entries: [...entries(7, 8, 1), ...entries(9, 10, 2)] }],
  [2, { hardState: { term: 4, vote: 2, commit: 0 }, entries: [] }],
]);

test("a log of format 1 is read, and goes on in a segment of the current format", async () => {
  const { wal, groups } = await WriteAheadLog.open(disk);
  expect(groups).toEqual(EXPECTED);
  expect(await disk.list()).toEqual(["wal-0000000003.log", "wal-0000000004.log", "wal-0000000005.log"]);
  await wal.append([{ groupId: 1, entries: entries(11, 11, 2) }]);
  // Left as a killed process leaves it.
  const again = await WriteAheadLog.open(disk);
  expect(again.groups.get(1)?.entries.map(({ index }) => index)).toEqual([7, 8, 9, 10, 11]);
  expect(again.groups.get(2)).toEqual(EXPECTED.get(2));
  await again.wal.append([{ groupId: 1, snapshot: snapshotAt(1, 11, 2) }]);
  await again.wal.compact(1, 11);
  await again.wal.close();
  expect(await disk.list(), "the old segments can go").toEqual(["wal-0000000005.log"]);
  expect((await WriteAheadLog.open(disk)).groups.get(2)).toEqual(EXPECTED.get(2));
});

test("damage in a log of format 1, whose records have no numbers, is taken to concern every group that is not heard of behind it", async () => {
  const content = (await disk.read("wal-0000000004.log")).slice();
  content[60] = content[60]! ^ 1;
  const file = await disk.openAppend("wal-0000000004.log");
  await file.truncate(0);
  await file.append([content]);
  await file.close();
  await expect(WriteAheadLog.open(disk)).rejects.toMatchObject({ file: "wal-0000000004.log", offset: 20 });
  const { groups } = await WriteAheadLog.open(disk, { salvage: [1, 2, 3] });
  expect(groups.get(1)).toMatchObject({ hardState: { term: 1, vote: 1 }, loss: { end: { index: 10, term: 2 }, isEndKnown: true, isVoteKnown: false } });
  expect(groups.get(2)?.hardState).toEqual({ term: 4, vote: 2, commit: 0 });
  expect(groups.get(3)?.loss).toEqual({ end: { index: 0, term: 0 }, isEndKnown: false, isVoteKnown: false });
});
