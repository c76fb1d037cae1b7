import { DiskError } from "@statemesh/ports";
import type { Disk, DiskFile } from "@statemesh/ports";
import { expect, test } from "vitest";
import { CorruptionError, SnapshotStore } from "../src/index.ts";
import type { SnapshotReader } from "../src/index.ts";
import { MortalDisk } from "./mortal-disk.ts";
import type { WalGround } from "./wal-contract.ts";

const heading = (groupId: number, index: number): { groupId: number; index: number; term: number; voters: number[]; learners: number[] } => ({
  groupId, index, term: 3, voters: [1, 2, 3], learners: [4],
});

async function store(snapshots: SnapshotStore, groupId: number, index: number, bytes: number): Promise<void> {
  const writer = await snapshots.create(heading(groupId, index));
  for (let at = 0; at < bytes; at += 100) await writer.write(new Uint8Array(Math.min(100, bytes - at)).fill(index));
  await writer.finish();
}

async function contentOf(reader: SnapshotReader, chunkBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of reader.chunks(chunkBytes)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function damage(disk: Disk, name: string, byte: number): Promise<void> {
  const content = (await disk.read(name)).slice();
  content[byte] = content[byte]! ^ 4;
  const file = await disk.openAppend(name);
  await file.truncate(0);
  await file.append([content]);
  await file.close();
}

export function snapshotContract(make: () => Promise<WalGround>): void {
  const check = (name: string, body: (disk: Disk, snapshots: SnapshotStore) => Promise<void>): void => {
    test(name, async () => {
      const { disk, run } = await make();
      await run(SnapshotStore.open(disk).then((snapshots) => body(disk, snapshots)));
    });
  };

  check("what was written in chunks is read in chunks, with size and checksum", async (_disk, snapshots) => {
    await store(snapshots, 1, 5, 1050);
    const reader = await snapshots.read(1, 5);
    expect(reader.meta).toMatchObject({ ...heading(1, 5), size: 1050 });
    const content = await contentOf(reader, 64);
    expect(content.length).toBe(1050);
    expect(content.every((byte) => byte === 5)).toBe(true);
  });

  check("an empty snapshot is a snapshot", async (_disk, snapshots) => {
    await store(snapshots, 1, 5, 0);
    expect((await snapshots.newest(1)).snapshot?.meta).toMatchObject({ size: 0, crc32c: 0 });
  });

  check("groups do not see each other's, and older ones go", async (disk, snapshots) => {
    for (const index of [9, 10, 100]) await store(snapshots, 1, index, 10);
    await store(snapshots, 11, 7, 10);
    expect(await snapshots.list(1)).toEqual([9, 10, 100]);
    await snapshots.removeOlder(1, 100);
    expect(await disk.list()).toEqual(["snapshot-1-100", "snapshot-11-7"]);
    expect((await snapshots.newest(2)).snapshot).toBeUndefined();
  });

  check("a damaged newest one is named and the one before it taken", async (disk, snapshots) => {
    await store(snapshots, 1, 5, 300);
    await store(snapshots, 1, 6, 300);
    await damage(disk, "snapshot-1-6", 150);
    const { snapshot, damaged } = await snapshots.newest(1);
    expect(snapshot?.meta.index).toBe(5);
    expect(damaged).toHaveLength(1);
    expect(damaged[0]).toBeInstanceOf(CorruptionError);
    expect(damaged[0]?.file).toBe("snapshot-1-6");
    expect(await snapshots.list(1), "damage is left for a person to look at").toEqual([5, 6]);
  });

  check("damage anywhere is found", async (disk, snapshots) => {
    await store(snapshots, 1, 5, 40);
    const { length } = await disk.read("snapshot-1-5");
    for (let byte = 0; byte < length; byte++) {
      await damage(disk, "snapshot-1-5", byte);
      expect((await snapshots.newest(1)).snapshot, `byte ${byte}`).toBeUndefined();
      await damage(disk, "snapshot-1-5", byte);
    }
    expect((await snapshots.newest(1)).snapshot).toBeDefined();
  });

  check("a damaged one is set aside, the last of each group", async (disk, snapshots) => {
    for (const [groupId, index] of [[1, 5], [1, 6], [11, 5]] as const) await store(snapshots, groupId, index, 10);
    await snapshots.setAside(1, 5);
    await snapshots.setAside(11, 5);
    await snapshots.setAside(1, 6);
    await snapshots.setAside(1, 7);
    expect(await disk.list()).toEqual(["damaged-snapshot-1-6", "damaged-snapshot-11-5"]);
    expect(await snapshots.all()).toEqual([]);
  });

  check("an unfinished one leaves nothing, aborted or found at the start", async (disk, snapshots) => {
    const aborted = await snapshots.create(heading(1, 5));
    await aborted.write(new Uint8Array(10));
    await aborted.abort();
    expect(await disk.list()).toEqual([]);
    const file = await disk.openAppend("snapshot-1-5.1.tmp");
    await file.append([new Uint8Array(10)]);
    await file.close();
    await SnapshotStore.open(disk);
    expect(await disk.list()).toEqual([]);
  });

  check("a disk that fails at the very end leaves nothing", async (disk) => {
    let full = false;
    const mortal = new MortalDisk(disk);
    const failing: Disk = Object.assign(Object.create(mortal) as Disk, {
      openAppend: async (name: string): Promise<DiskFile> => {
        const file = await mortal.openAppend(name);
        const append = async (pieces: readonly Uint8Array[]): Promise<void> => {
          if (full) throw new DiskError("ENOSPC", "no space");
          await file.append(pieces);
        };
        return Object.assign(Object.create(file) as DiskFile, { append });
      },
      list: () => mortal.list(),
      remove: (name: string) => mortal.remove(name),
      syncDirectory: () => mortal.syncDirectory(),
    });
    const snapshots = await SnapshotStore.open(failing);
    const writer = await snapshots.create(heading(1, 5));
    await writer.write(new Uint8Array(10));
    full = true;
    await expect(writer.finish()).rejects.toMatchObject({ code: "ENOSPC" });
    await writer.abort();
    expect(await disk.list()).toEqual([]);
    await mortal.end();
  });

  check("content that is not what the peer announced is dropped", async (disk, snapshots) => {
    await store(snapshots, 1, 5, 40);
    const announced = (await snapshots.read(1, 5)).meta;
    const writer = await snapshots.create(heading(1, 5));
    await writer.write(new Uint8Array(40).fill(6));
    await expect(writer.finish(announced)).rejects.toBeInstanceOf(CorruptionError);
    expect(await disk.list()).toEqual(["snapshot-1-5"]);
  });
}
