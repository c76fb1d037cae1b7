import type { Disk, DiskFile } from "@statemesh/ports";

/** A disk whose open files can be closed as the end of a process would close them: without a word to their owner. */
export class MortalDisk implements Disk {
  readonly #disk: Disk;
  readonly #open = new Set<DiskFile>();

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  list(): Promise<string[]> {
    return this.#disk.list();
  }

  read(name: string): Promise<Uint8Array> {
    return this.#disk.read(name);
  }

  readRange(name: string, offset: number, length: number): Promise<Uint8Array> {
    return this.#disk.readRange(name, offset, length);
  }

  sizeOf(name: string): Promise<number> {
    return this.#disk.sizeOf(name);
  }

  async openAppend(name: string): Promise<DiskFile> {
    const file = await this.#disk.openAppend(name);
    this.#open.add(file);
    return {
      get size() {
        return file.size;
      },
      append: (pieces) => file.append(pieces),
      rewrite: (at, bytes) => file.rewrite(at, bytes),
      sync: () => file.sync(),
      truncate: (size) => file.truncate(size),
      close: () => {
        this.#open.delete(file);
        return file.close();
      },
    };
  }

  rename(from: string, to: string): Promise<void> {
    return this.#disk.rename(from, to);
  }

  remove(name: string): Promise<void> {
    return this.#disk.remove(name);
  }

  syncDirectory(): Promise<void> {
    return this.#disk.syncDirectory();
  }

  /** The process is over. */
  async end(): Promise<void> {
    for (const file of this.#open) await file.close();
    this.#open.clear();
  }
}
