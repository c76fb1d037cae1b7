import type { SnapshotMeta } from "@statemesh/contract";
import { crc32c } from "@node-rs/crc32";
import type { Disk, DiskFile } from "@statemesh/ports";
import { ByteReader } from "./byte-reader.ts";
import { ByteWriter } from "./byte-writer.ts";
import { readSnapshotMeta, writeSnapshotMeta } from "./snapshot-meta.ts";
import { DAMAGED_PREFIX } from "./salvage.ts";
import { CorruptionError } from "./wal-error.ts";

// Trailer: length of the footer u32, CRC-32C of the footer u32, magic u32, format u32. The footer, before it, is the snapshot's meta.
const TRAILER_BYTES = 16;
const MAGIC = 0x4e53_4d53;
const FORMAT = 1;
/** Voters and learners are counted in 16 bits each. */
const MAX_FOOTER_BYTES = 36 + 4 * 2 * 0xffff;
const NAME = /^snapshot-(\d+)-(\d+)$/;
const TEMPORARY = /^snapshot-.*\.tmp$/;
/** What a reader reads at once, bytes. */
const READ_BYTES = 1024 * 1024;

/** What is known of a snapshot before its content. */
export type SnapshotHeading = Pick<SnapshotMeta, "groupId" | "index" | "term" | "voters" | "learners">;

/** Snapshots of groups as files `snapshot-GROUP-INDEX`. A file with that name is whole and durable. */
export class SnapshotStore {
  readonly #disk: Disk;
  #serial = 0;

  private constructor(disk: Disk) {
    this.#disk = disk;
  }

  /** Removes what unfinished writers left, and makes the names of finished ones durable. */
  static async open(disk: Disk): Promise<SnapshotStore> {
    for (const name of await disk.list()) if (TEMPORARY.test(name)) await disk.remove(name);
    await disk.syncDirectory();
    return new SnapshotStore(disk);
  }

  /** The snapshots of a folder that nothing is changed in. */
  static view(disk: Disk): SnapshotStore {
    return new SnapshotStore(disk);
  }

  /** Every snapshot file: its group and index. */
  async all(): Promise<{ groupId: number; index: number }[]> {
    const found: { groupId: number; index: number }[] = [];
    for (const name of await this.#disk.list()) {
      const match = NAME.exec(name);
      if (match !== null) found.push({ groupId: Number(match[1]), index: Number(match[2]) });
    }
    return found.sort((a, b) => a.groupId - b.groupId || a.index - b.index);
  }

  /** Indexes of the group's snapshots, ascending. */
  async list(groupId: number): Promise<number[]> {
    return (await this.all()).filter((each) => each.groupId === groupId).map(({ index }) => index);
  }

  async create(heading: SnapshotHeading): Promise<SnapshotWriter> {
    const target = snapshotName(heading.groupId, heading.index);
    const temporary = `${target}.${++this.#serial}.tmp`;
    const file = await this.#disk.openAppend(temporary);
    return new SnapshotWriter(this.#disk, file, temporary, target, heading);
  }

  /** Opens a snapshot. Fails with ENOENT where there is none and with a CorruptionError where its end is damaged. */
  async read(groupId: number, index: number): Promise<SnapshotReader> {
    const name = snapshotName(groupId, index);
    return new SnapshotReader(this.#disk, name, await readMeta(this.#disk, name, groupId, index));
  }

  /**
   * The newest snapshot of the group whose whole content is valid, undefined where there is none. Newer damaged ones are left in place
   * and named in `damaged`.
   */
  async newest(groupId: number): Promise<{ snapshot: SnapshotReader | undefined; damaged: CorruptionError[] }> {
    const damaged: CorruptionError[] = [];
    for (const index of (await this.list(groupId)).reverse()) {
      try {
        const snapshot = await this.read(groupId, index);
        await snapshot.verify();
        return { snapshot, damaged };
      } catch (error) {
        if (!(error instanceof CorruptionError)) throw error;
        damaged.push(error);
      }
    }
    return { snapshot: undefined, damaged };
  }

  /** Keeps a damaged snapshot under another name, for a person to look at, one a group. One that is not there is no error. */
  async setAside(groupId: number, index: number): Promise<void> {
    const name = snapshotName(groupId, index);
    const names = await this.#disk.list();
    if (!names.includes(name)) return;
    for (const earlier of names) if (earlier.startsWith(`${DAMAGED_PREFIX}${snapshotName(groupId, 0).slice(0, -1)}`)) await this.#disk.remove(earlier);
    await this.#disk.rename(name, `${DAMAGED_PREFIX}${name}`);
    await this.#disk.syncDirectory();
  }

  /** Removes the group's snapshots older than `index`. */
  async removeOlder(groupId: number, index: number): Promise<void> {
    let removed = false;
    for (const older of await this.list(groupId)) {
      if (older >= index) break;
      await this.#disk.remove(snapshotName(groupId, older));
      removed = true;
    }
    if (removed) await this.#disk.syncDirectory();
  }
}

/** Writes one snapshot, chunk by chunk, one call at a time. */
export class SnapshotWriter {
  readonly #disk: Disk;
  readonly #file: DiskFile;
  readonly #temporary: string;
  readonly #target: string;
  readonly #heading: SnapshotHeading;
  #crc = 0;
  #size = 0;
  #isOver = false;

  constructor(disk: Disk, file: DiskFile, temporary: string, target: string, heading: SnapshotHeading) {
    this.#disk = disk;
    this.#file = file;
    this.#temporary = temporary;
    this.#target = target;
    this.#heading = heading;
  }

  /** Bytes so far. */
  get size(): number {
    return this.#size;
  }

  async write(chunk: Uint8Array): Promise<void> {
    await this.#file.append([chunk]);
    this.#crc = crc32c(chunk, this.#crc);
    this.#size += chunk.length;
  }

  /**
   * Makes the snapshot durable under its name. Where `expected` is given (a snapshot from a peer), size and checksum must be
   * those, else a CorruptionError is thrown. Where it fails, whatever the reason, the file is dropped.
   */
  async finish(expected?: SnapshotMeta): Promise<SnapshotMeta> {
    const { groupId, index, term, voters, learners } = this.#heading;
    const meta: SnapshotMeta = { groupId, index, term, voters, learners, size: this.#size, crc32c: this.#crc };
    try {
      if (expected !== undefined && (expected.size !== meta.size || expected.crc32c !== meta.crc32c)) {
        throw new CorruptionError(this.#target, meta.size, "the received content is not the announced one");
      }
      await this.#complete(meta);
    } catch (error) {
      await this.abort();
      throw error;
    }
    return meta;
  }

  async #complete(meta: SnapshotMeta): Promise<void> {
    const footer = new ByteWriter();
    writeSnapshotMeta(footer, meta);
    const body = footer.bytes.slice();
    const trailer = new ByteWriter();
    trailer.u32(body.length);
    trailer.u32(crc32c(body));
    trailer.u32(MAGIC);
    trailer.u32(FORMAT);
    await this.#file.append([body, trailer.bytes.slice()]);
    await this.#file.sync();
    this.#isOver = true;
    await this.#file.close();
    await this.#disk.rename(this.#temporary, this.#target);
    await this.#disk.syncDirectory();
  }

  /** Drops what was written. A second call does nothing. */
  async abort(): Promise<void> {
    if (!this.#isOver) {
      this.#isOver = true;
      await this.#file.close();
    }
    await this.#disk.remove(this.#temporary);
  }
}

/** One stored snapshot. */
export class SnapshotReader {
  readonly meta: SnapshotMeta;
  readonly #disk: Disk;
  readonly #name: string;

  constructor(disk: Disk, name: string, meta: SnapshotMeta) {
    this.#disk = disk;
    this.#name = name;
    this.meta = meta;
  }

  /** The content in chunks of `chunkBytes`, the last one shorter. Throws a CorruptionError at the end where the checksum does not match. */
  async *chunks(chunkBytes = READ_BYTES): AsyncGenerator<Uint8Array, void, undefined> {
    const { size } = this.meta;
    let crc = 0;
    for (let offset = 0; offset < size; offset += chunkBytes) {
      const chunk = await this.#disk.readRange(this.#name, offset, Math.min(chunkBytes, size - offset));
      if (chunk.length < Math.min(chunkBytes, size - offset)) throw new CorruptionError(this.#name, offset, "the snapshot is cut off");
      crc = crc32c(chunk, crc);
      yield chunk;
    }
    if (crc !== this.meta.crc32c) throw new CorruptionError(this.#name, 0, "the snapshot's checksum does not match");
  }

  /** Reads everything; throws a CorruptionError where the content is damaged. */
  async verify(): Promise<void> {
    const chunks = this.chunks();
    while ((await chunks.next()).done !== true);
  }
}

/** Name of a snapshot's file. */
export function snapshotName(groupId: number, index: number): string {
  return `snapshot-${groupId}-${index}`;
}

async function readMeta(disk: Disk, name: string, groupId: number, index: number): Promise<SnapshotMeta> {
  const bytes = await disk.sizeOf(name);
  if (bytes < TRAILER_BYTES) throw new CorruptionError(name, bytes, "the snapshot is cut off");
  const trailer = new ByteReader(await disk.readRange(name, bytes - TRAILER_BYTES, TRAILER_BYTES));
  const footerBytes = trailer.u32();
  const footerCrc = trailer.u32();
  const known = trailer.u32() === MAGIC && trailer.u32() === FORMAT && footerBytes <= MAX_FOOTER_BYTES && footerBytes + TRAILER_BYTES <= bytes;
  if (!known) throw new CorruptionError(name, bytes - TRAILER_BYTES, "the snapshot does not end as one of this format");
  const at = bytes - TRAILER_BYTES - footerBytes;
  const body = await disk.readRange(name, at, footerBytes);
  if (crc32c(body) !== footerCrc) throw new CorruptionError(name, at, "the checksum of the snapshot's description does not match");
  const meta = readSnapshotMeta(new ByteReader(body));
  if (meta.size !== at || meta.groupId !== groupId || meta.index !== index) throw new CorruptionError(name, at, "the snapshot's description is not that of this file");
  return meta;
}
