import { constants } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { DiskError } from "./disk.ts";
import type { Disk, DiskFile } from "./disk.ts";

/** Longest file name, in characters: what common file systems take. */
const MAX_NAME_LENGTH = 255;

/** One folder of the real file system. */
export class FolderDisk implements Disk {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Makes the folder where it is not there. */
  static async open(path: string): Promise<FolderDisk> {
    await asDiskError(`make ${path}`, () => mkdir(path, { recursive: true }));
    return new FolderDisk(path);
  }

  list(): Promise<string[]> {
    return asDiskError(`list ${this.path}`, async () => {
      const names: string[] = [];
      for (const entry of await readdir(this.path, { withFileTypes: true })) if (entry.isFile()) names.push(entry.name);
      return names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    });
  }

  read(name: string): Promise<Uint8Array> {
    return asDiskError(`read ${name}`, () => readFile(this.#pathOf(name)));
  }

  readRange(name: string, offset: number, length: number): Promise<Uint8Array> {
    return asDiskError(`read ${name}`, async () => {
      const handle = await open(this.#pathOf(name), "r");
      try {
        const buffer = Buffer.allocUnsafe(length);
        let filled = 0;
        while (filled < length) {
          const { bytesRead } = await handle.read(buffer, filled, length - filled, offset + filled);
          if (bytesRead === 0) break;
          filled += bytesRead;
        }
        return buffer.subarray(0, filled);
      } finally {
        await handle.close();
      }
    });
  }

  sizeOf(name: string): Promise<number> {
    return asDiskError(`look at ${name}`, async () => (await stat(this.#pathOf(name))).size);
  }

  openAppend(name: string): Promise<DiskFile> {
    return asDiskError(`open ${name}`, async () => {
      // Not O_APPEND: after a failed write the next one must start at the known size, not behind the debris.
      const handle = await open(this.#pathOf(name), constants.O_RDWR | constants.O_CREAT, 0o644);
      try {
        return new FolderFile(name, handle, (await handle.stat()).size);
      } catch (error) {
        await handle.close();
        throw error;
      }
    });
  }

  rename(from: string, to: string): Promise<void> {
    return asDiskError(`rename ${from}`, () => rename(this.#pathOf(from), this.#pathOf(to)));
  }

  remove(name: string): Promise<void> {
    return asDiskError(`remove ${name}`, () => rm(this.#pathOf(name), { force: true }));
  }

  syncDirectory(): Promise<void> {
    return asDiskError(`sync ${this.path}`, async () => {
      const handle = await open(this.path, "r");
      try {
        await handle.sync();
      } finally {
        await handle.close();
      }
    });
  }

  #pathOf(name: string): string {
    checkName(name);
    return join(this.path, name);
  }
}

class FolderFile implements DiskFile {
  readonly #name: string;
  readonly #handle: FileHandle;
  #size: number;

  constructor(name: string, handle: FileHandle, size: number) {
    this.#name = name;
    this.#handle = handle;
    this.#size = size;
  }

  get size(): number {
    return this.#size;
  }

  append(pieces: readonly Uint8Array[]): Promise<void> {
    return asDiskError(`append to ${this.#name}`, async () => {
      this.#size = await this.#write(pieces, this.#size);
    });
  }

  rewrite(at: number, bytes: Uint8Array): Promise<void> {
    return asDiskError(`rewrite ${this.#name}`, async () => {
      checkWithin(this.#name, this.#size, at, bytes.length);
      // The system does not compare: a page that is written to is dirty, with the same bytes too.
      await this.#write([bytes], at);
    });
  }

  sync(): Promise<void> {
    return asDiskError(`sync ${this.#name}`, () => this.#handle.datasync());
  }

  truncate(size: number): Promise<void> {
    return asDiskError(`truncate ${this.#name}`, async () => {
      await this.#handle.truncate(size);
      this.#size = size;
    });
  }

  close(): Promise<void> {
    return asDiskError(`close ${this.#name}`, () => this.#handle.close());
  }

  /** Where the written pieces end. */
  async #write(pieces: readonly Uint8Array[], at: number): Promise<number> {
    let left = pieces.filter((piece) => piece.length > 0);
    let position = at;
    while (left.length > 0) {
      const { bytesWritten } = await this.#handle.writev(left, position);
      if (bytesWritten === 0) throw new DiskError("EIO", `${this.#name}: nothing was written`);
      position += bytesWritten;
      left = rest(left, bytesWritten);
    }
    return position;
  }
}

/** Fails with code `EINVAL` where `name` could leave the folder or no file system takes it. */
export function checkName(name: string): void {
  const bad = name === "" || name === "." || name === ".." || name.length > MAX_NAME_LENGTH || name.includes("/") || name.includes("\\") || name.includes("\0");
  if (bad) throw new DiskError("EINVAL", `not a flat file name: ${JSON.stringify(name)}`);
}

/** Fails with code `EINVAL` where `length` bytes at `at` are not all in a file of `size` bytes. */
export function checkWithin(name: string, size: number, at: number, length: number): void {
  if (!(at >= 0 && at + length <= size)) throw new DiskError("EINVAL", `${name} has ${size} bytes: there are no ${length} at ${at}`);
}

/** What is left of `pieces` behind their first `written` bytes. */
function rest(pieces: Uint8Array[], written: number): Uint8Array[] {
  let skip = written;
  for (let at = 0; at < pieces.length; at++) {
    const piece = pieces[at]!;
    if (skip < piece.length) return [piece.subarray(skip), ...pieces.slice(at + 1)];
    skip -= piece.length;
  }
  return [];
}

async function asDiskError<T>(what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof DiskError) throw error;
    if (!(error instanceof Error)) throw error;
    const code = "code" in error && typeof error.code === "string" ? error.code : "EIO";
    throw new DiskError(code, `${what}: ${error.message}`, error);
  }
}
