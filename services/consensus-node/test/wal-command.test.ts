import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FolderDisk } from "@statemesh/ports";
import { SnapshotStore, WriteAheadLog } from "@statemesh/wal";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { lockFolder } from "../src/folder-lock.ts";
import { walCommand } from "../src/wal-command.ts";

let folder = "";

/** A folder as a node leaves it: groups 0 and 1, a snapshot of group 1. */
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "statemesh-wal-command-"));
  const { wal } = await WriteAheadLog.open(await FolderDisk.open(join(folder, "wal")), { segmentBytes: 700 });
  const snapshots = await SnapshotStore.open(await FolderDisk.open(join(folder, "snapshots")));
  await wal.append([{ groupId: 0, hardState: { term: 3, vote: 2, commit: 1 }, entries: [{ term: 3, index: 1, kind: 1, data: new Uint8Array(0) }] }]);
  for (let index = 1; index <= 10; index++) await wal.append([{ groupId: 1, hardState: { term: 2, vote: 1, commit: index - 1 }, entries: [{ term: 2, index, kind: 0, data: new Uint8Array(40).fill(index) }] }]);
  const writer = await snapshots.create({ groupId: 1, index: 4, term: 2, voters: [1, 2, 3], learners: [] });
  await writer.write(new Uint8Array(300).fill(7));
  await wal.append([{ groupId: 1, snapshot: await writer.finish() }]);
  await wal.close();
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

async function run(...args: string[]): Promise<{ status: number; output: string; errors: string }> {
  let output = "";
  let errors = "";
  const status = await walCommand(args, (text) => (output += text), (text) => (errors += text));
  return { status, output, errors };
}

const verify = (): ReturnType<typeof run> => run("verify", "--data-dir", folder);
const segments = (): string[] => readdirSync(join(folder, "wal")).sort();

function flip(path: string, byte: number): void {
  const content = readFileSync(path);
  content[byte] = (content[byte] ?? 0) ^ 8;
  writeFileSync(path, content);
}

describe("verify", () => {
  test("a log as a node leaves it is clean, and stays as it is", async () => {
    const before = segments().map((name) => readFileSync(join(folder, "wal", name)));
    expect(await verify()).toEqual({ status: 0, output: "clean\n", errors: "" });
    expect(segments().map((name) => readFileSync(join(folder, "wal", name)))).toEqual(before);
  });

  test("a flipped bit anywhere is reported with its file, or at the very end of the log as an unfinished write", async () => {
    for (const name of segments()) {
      const path = join(folder, "wal", name);
      const whole = readFileSync(path);
      for (let byte = 0; byte < whole.length; byte += 7) {
        flip(path, byte);
        const { status, output } = await verify();
        const isEnd = output.startsWith("an unfinished write of ");
        if (isEnd) expect(name, `byte ${byte}`).toBe(segments().at(-1));
        else {
          expect(status, `${name}, byte ${byte}`).toBe(1);
          const offset = new RegExp(`^${name}: (header|frame) damaged at byte ([0-9]+), [0-9]+ bytes: `).exec(output)?.[2];
          expect(Number(offset), output).toBeLessThanOrEqual(byte);
        }
        writeFileSync(path, whole);
      }
    }
    expect((await verify()).status).toBe(0);
  });

  test("a segment cut short is damage where others follow, and an unfinished write at the end", async () => {
    const [first = ""] = segments();
    const last = segments().at(-1) ?? "";
    truncateSync(join(folder, "wal", last), readFileSync(join(folder, "wal", last)).length - 5);
    expect(await verify()).toMatchObject({ status: 0, output: expect.stringMatching(/^an unfinished write of [0-9]+ bytes at the end/) });
    truncateSync(join(folder, "wal", first), 100);
    expect(await verify()).toMatchObject({ status: 1, output: expect.stringMatching(new RegExp(`^${first}: frame damaged at byte [0-9]+, [0-9]+ bytes: the frame is cut off, and later segments exist`)) });
  });

  test("a missing segment and a missing or damaged snapshot are named", async () => {
    flip(join(folder, "snapshots", "snapshot-1-4"), 17);
    expect(await verify()).toMatchObject({ status: 1, output: expect.stringContaining("snapshot-1-4: snapshot damaged at byte 0: the snapshot's checksum does not match") });
    rmSync(join(folder, "snapshots", "snapshot-1-4"));
    rmSync(join(folder, "wal", segments()[1] ?? ""));
    const { status, output } = await verify();
    expect(status).toBe(1);
    expect(output).toContain("wal-0000000002.log: missing_segment damaged at byte 0: the segment is missing");
    expect(output).toContain("snapshot-1-4: snapshot damaged at byte 0: the file is missing");
  });

  test("as JSON it says what, where and which groups lack something", async () => {
    const held = segments().find((name) => readFileSync(join(folder, "wal", name)).includes(Buffer.alloc(40, 6))) ?? "";
    flip(join(folder, "wal", held), readFileSync(join(folder, "wal", held)).indexOf(Buffer.alloc(40, 6)));
    const { status, output } = await run("verify", "--data-dir", folder, "--json");
    expect(status).toBe(1);
    expect(JSON.parse(output)).toMatchObject({ clean: false, damage: [{ kind: "frame", file: held }], lacking: [{ groupId: 1, end: { index: 10, term: 2 }, isEndKnown: true, isVoteKnown: true }] });
  });
});

describe("inspect", () => {
  test("prints segments with their entries, groups with terms and ranges, and snapshots", async () => {
    const { status, output } = await run("inspect", "--data-dir", folder);
    expect(status).toBe(0);
    expect(output).toMatch(/^wal-0000000001\.log {2}format 2, [0-9]+ bytes, [0-9]+ frames, [0-9]+ records {2}entries 0:1\.\.1 1:1\.\./m);
    expect(output).toContain("group 0  term 3, vote 2, commit 1, snapshot none, entries 1..1, 0 bytes, last term 3\n");
    expect(output).toContain("group 1  term 2, vote 1, commit 9, snapshot 4 of term 2, entries 1..10, 400 bytes, last term 2\n");
    expect(output).toContain("snapshot-1-4  term 2, 300 bytes, voters 1,2,3\n");
    expect(output.endsWith("clean\n")).toBe(true);
  });

  test("lists a group's entries from an index on", async () => {
    const { output } = await run("inspect", "--data-dir", folder, "--group", "1", "--from", "9");
    expect(output).toContain("entry 9  term 2, kind 0, 40 bytes\nentry 10  term 2, kind 0, 40 bytes\n");
    expect(output).not.toContain("entry 8 ");
    const { output: text } = await run("inspect", "--data-dir", folder, "--group", "0", "--json");
    expect(JSON.parse(text)).toMatchObject({ entries: [{ index: 1, term: 3 }], groups: [{ groupId: 0 }, { groupId: 1, first: 1, end: { index: 10, term: 2 } }], });
    expect(JSON.parse(text)).toMatchObject({ segments: expect.arrayContaining([expect.objectContaining({ file: "wal-0000000001.log", groups: { 0: { first: 1, last: 1 }, 1: expect.objectContaining({ first: 1 }) } })]) });
  });

  test.each([
    [["inspect", "--group", "x"], "must be a whole number"],
    [["inspect", "--from", "3"], "--from: needs --group"],
    [["inspect", "--group", "7"], "--group: the log has no group 7"],
    [["inspect", "--colour"], "unknown option"],
    [["look"], "unknown command"],
  ])("%j is refused by name with status 2", async (args, complaint) => {
    const { status, errors } = await run(...args, ...(args.length > 1 ? ["--data-dir", folder] : []));
    expect(status).toBe(2);
    expect(errors).toContain(complaint);
  });

  test("a folder that a node is running in, and one that is none of a node, are refused by name", async () => {
    const lock = await lockFolder(folder);
    expect(await verify()).toMatchObject({ status: 2, errors: expect.stringContaining(`the folder ${folder} is in use by another node; stop the node, or look at a copy`) });
    lock.close();
    expect(await run("verify", "--data-dir", join(folder, "wal"))).toMatchObject({ status: 2, errors: expect.stringContaining("is no node's folder") });
  });
});
