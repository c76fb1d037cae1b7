/** Disk faults for a real process: builds the library `disk-shim.c`, steers it, and cuts the power. */
import { closeSync, existsSync, ftruncateSync, linkSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { createHash } from "node:crypto";
import { debianProgram, run } from "./debian-package.ts";

/** Every time, for a count of faults. */
export const ALWAYS = 0xffff_ffff;

/** Words of the control file, in their order in `struct control`. */
const WORDS = ["syncErrors", "writeErrors", "readErrors", "noSpace", "syncLies", "stuck", "writeDelayUs", "syncDelayUs", "syncs", "writes", "injected"] as const;

/** Faults that can be set: counts of calls to fail, switches (0 or 1), and delays in microseconds. */
export type DiskFault = "syncErrors" | "writeErrors" | "readErrors" | "noSpace" | "syncLies" | "stuck" | "writeDelayUs" | "syncDelayUs";

const SECTOR_BYTES = 512;
const SOURCE = join(import.meta.dirname, "disk-shim.c");
const CACHE = join(import.meta.dirname, "../.cache/disk-shim");

/** Builds the library where it is not built yet; its path. Needs gcc, which root gets from Debian where it is missing. */
export async function buildDiskShim(): Promise<string> {
  const source = readFileSync(SOURCE);
  const library = join(CACHE, `${createHash("sha256").update(source).digest("hex").slice(0, 16)}.so`);
  if (existsSync(library)) return library;
  mkdirSync(CACHE, { recursive: true });
  const compiler = await debianProgram(["gcc"], ["gcc", "libc6-dev"]);
  const made = `${library}.${process.pid}`;
  const { code, output } = await run(compiler, ["-shared", "-fPIC", "-O2", "-Wall", "-o", made, SOURCE, "-ldl", "-lpthread"]);
  if (code !== 0) throw new Error(`gcc could not build the disk shim: ${output}`);
  renameSync(made, library);
  return library;
}

/** What becomes of unsynced changes when the power is cut: all are lost, or each sector (512 bytes) and name for itself is kept or lost. */
export type PowerCut = "drop" | "mixed";

/**
 * The disk of one process: everything below `folder`. `environment` goes into the process's environment. With `holdBack` every
 * change is noted until a sync makes it durable, so that `cutPower` can take back what was not, after the process was killed.
 */
export class DiskShim {
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly #control: string;
  readonly #journal: string;

  private constructor(folder: string, library: string, holdBack: boolean) {
    this.folder = folder;
    this.#control = join(dirname(folder), `${basename(folder)}.shim`);
    this.#journal = join(dirname(folder), `${basename(folder)}.shim-journal`);
    writeFileSync(this.#control, Buffer.alloc(4 * WORDS.length));
    this.environment = {
      LD_PRELOAD: library,
      UV_USE_IO_URING: "0",
      DISK_SHIM_ROOT: folder,
      DISK_SHIM_CONTROL: this.#control,
      ...(holdBack ? { DISK_SHIM_JOURNAL: this.#journal } : {}),
    };
  }

  /** `folder` is an absolute path; it is made where it is not there. The shim's own files lie beside it. */
  static async of(folder: string, options: { readonly holdBack?: boolean } = {}): Promise<DiskShim> {
    mkdirSync(folder, { recursive: true });
    return new DiskShim(folder, await buildDiskShim(), options.holdBack === true);
  }

  /** Sets a fault: a count of calls to fail (ALWAYS), a switch (0, 1) or a delay in microseconds. Takes effect at once. */
  set(fault: DiskFault, value: number): void {
    const word = Buffer.alloc(4);
    word.writeUInt32LE(value);
    const file = openSync(this.#control, "r+");
    writeSync(file, word, 0, 4, 4 * WORDS.indexOf(fault));
    closeSync(file);
  }

  /** No faults any more. */
  heal(): void {
    for (const fault of WORDS.slice(0, 8)) this.set(fault as DiskFault, 0);
  }

  /** Syncs and writes so far, and faults given. */
  get counts(): { readonly syncs: number; readonly writes: number; readonly injected: number } {
    const words = readFileSync(this.#control);
    const at = (word: (typeof WORDS)[number]): number => words.readUInt32LE(4 * WORDS.indexOf(word));
    return { syncs: at("syncs"), writes: at("writes"), injected: at("injected") };
  }

  /** Takes back what no sync made durable. The process must be dead. Returns the number of files and names that changed. */
  cutPower(how: PowerCut, random: () => number = Math.random): number {
    if (!existsSync(this.#journal)) return 0;
    const records = readJournal(readFileSync(this.#journal));
    const changed = restoreNames(records, how, random) + restoreFiles(this.folder, records, how, random);
    this.forget();
    return changed;
  }

  /** The process was killed but the machine went on: everything that was written will reach the disk. */
  forget(): void {
    rmSync(this.#journal, { force: true });
    const prefix = `${basename(this.#journal)}.kept-`;
    for (const name of readdirSync(dirname(this.#journal))) if (name.startsWith(prefix)) rmSync(join(dirname(this.#journal), name));
  }
}

interface JournalRecord {
  readonly at: number;
  readonly type: string;
  readonly key: bigint;
  readonly a: number;
  readonly b: number;
  readonly parts: readonly Buffer[];
}

const HEAD_BYTES = 48;

function readJournal(bytes: Buffer): JournalRecord[] {
  const records: JournalRecord[] = [];
  for (let at = 0; at + HEAD_BYTES <= bytes.length; ) {
    const lengths = [bytes.readUInt32LE(at + 32), bytes.readUInt32LE(at + 36), bytes.readUInt32LE(at + 40)];
    let end = at + HEAD_BYTES;
    const parts = lengths.map((length) => bytes.subarray(end, (end += length)));
    // The process was killed while it noted a change, so it did not make it.
    if (end > bytes.length) break;
    records.push({
      at,
      type: String.fromCharCode(bytes.readUInt32LE(at + 4)),
      key: bytes.readBigUInt64LE(at + 8),
      a: Number(bytes.readBigUInt64LE(at + 16)),
      b: Number(bytes.readBigUInt64LE(at + 24)),
      parts,
    });
    at = end;
  }
  return records;
}

/** Which of the changes of `key` a later sync made durable: not those that a failed sync had covered. */
function isDurable(change: JournalRecord, records: readonly JournalRecord[]): boolean {
  for (const record of records) {
    if (record.at <= change.at || record.key !== change.key) continue;
    if (record.type === "F") return false;
    if (record.type === "S" && record.a > change.at) return true;
  }
  return false;
}

/** Undoes changes of names from the newest back. Names of one folder become durable in order, so a random number of the oldest stays. */
function restoreNames(records: readonly JournalRecord[], how: PowerCut, random: () => number): number {
  const open = records.filter(({ type }) => type === "C" || type === "R" || type === "U").filter((change) => !isDurable(change, records));
  const kept = how === "drop" ? 0 : Math.floor(random() * (open.length + 1));
  for (const { type, parts } of open.slice(kept).reverse()) {
    const [first = "", second = "", third = ""] = parts.map((part) => part.toString());
    if (type === "C") rmSync(first, { force: true });
    else if (type === "U") bringBack(second, first);
    else {
      if (existsSync(second) && !existsSync(first)) renameSync(second, first);
      bringBack(third, second);
    }
  }
  return open.length - kept;
}

function bringBack(kept: string, name: string): void {
  if (kept !== "" && existsSync(kept) && !existsSync(name)) linkSync(kept, name);
}

/** Gives each file its durable content, and of the rest, in a mixed cut, some sectors. */
function restoreFiles(folder: string, records: readonly JournalRecord[], how: PowerCut, random: () => number): number {
  const changes = new Map<bigint, JournalRecord[]>();
  for (const record of records) {
    if (record.type !== "W" && record.type !== "T") continue;
    changes.set(record.key, [...(changes.get(record.key) ?? []), record]);
  }
  let changed = 0;
  for (const path of filesBelow(folder)) {
    const own = changes.get(statSync(path, { bigint: true }).ino);
    if (own === undefined || own.every((change) => isDurable(change, records))) continue;
    const seen = readFileSync(path);
    const durable = durableContent(seen, own, records);
    const left = how === "drop" ? durable : mixSectors(durable, seen, random);
    if (left.equals(seen)) continue;
    rewrite(path, left);
    changed++;
  }
  return changed;
}

/** Undoes all changes back to the first that is open, then makes those anew that are durable. */
function durableContent(seen: Buffer, own: readonly JournalRecord[], records: readonly JournalRecord[]): Buffer {
  let content: Buffer = Buffer.from(seen);
  for (const { type, a: offset, b: sizeBefore, parts } of own.toReversed()) {
    const old = parts[0] ?? Buffer.alloc(0);
    content = resize(content, sizeBefore);
    old.copy(content, type === "T" ? Math.min(offset, sizeBefore) : offset);
  }
  for (const change of own) {
    if (!isDurable(change, records)) continue;
    const fresh = change.parts[1] ?? Buffer.alloc(0);
    content = resize(content, change.type === "T" ? change.a : Math.max(content.length, change.a + fresh.length));
    fresh.copy(content, change.a);
  }
  return content;
}

function mixSectors(durable: Buffer, seen: Buffer, random: () => number): Buffer {
  const longest = Math.max(durable.length, seen.length);
  const shortest = Math.min(durable.length, seen.length);
  const size = shortest + Math.floor(random() * (longest - shortest + 1));
  const mixed = resize(durable, size);
  for (let at = 0; at < Math.min(size, seen.length); at += SECTOR_BYTES) {
    if (random() < 0.5) seen.copy(mixed, at, at, Math.min(at + SECTOR_BYTES, size, seen.length));
  }
  return mixed;
}

function resize(content: Buffer, size: number): Buffer {
  if (size <= content.length) return Buffer.from(content.subarray(0, size));
  return Buffer.concat([content, Buffer.alloc(size - content.length)]);
}

function rewrite(path: string, content: Buffer): void {
  const file = openSync(path, "r+");
  ftruncateSync(file, content.length);
  for (let at = 0; at < content.length; ) at += writeSync(file, content, at, content.length - at, at);
  closeSync(file);
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
