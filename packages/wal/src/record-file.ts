// One small file of records, appended and now and then written anew: for what is neither a group's log nor a snapshot. Whatever
// gathers while a sync runs leaves in the next one, as one frame.
import { type Disk, DiskError, type DiskFile } from "@statemesh/ports";
import { checkFrame, FRAME_HEADER_BYTES, FrameWriter, findFrame } from "./frame.ts";

/** There is one file of a name, so that its frames need not say of which. */
const SEGMENT = 0;
/** Appends of one frame, and their bytes, at most; one append may go beyond. */
const FRAME_APPENDS = 4_096;
const FRAME_BYTES = 4 * 1024 * 1024;

export interface OpenedRecords {
  readonly file: RecordFile;
  /** In the order in which they were appended. */
  readonly records: Uint8Array[];
  /** An unfinished write that was cut off the end. */
  readonly tornBytes: number;
  /** What cannot be read, with whole frames behind it. The file as it was is kept beside, as `NAME.damaged`. */
  readonly damage: readonly { readonly offset: number; readonly reason: string }[];
}

interface Waiting {
  /** Of one frame: all of them are there after a crash, or none. */
  readonly records: readonly Uint8Array[];
  readonly bytes: number;
  readonly written: () => void;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class RecordFile {
  readonly #disk: Disk;
  readonly #name: string;
  #file: DiskFile | undefined;
  #queue: Waiting[] = [];
  #rewrite: (() => Iterable<Uint8Array>) | undefined;
  #running: Promise<void> | undefined;
  #broken: Error | undefined;

  private constructor(disk: Disk, name: string) {
    this.#disk = disk;
    this.#name = name;
  }

  /** Reads the file, if there is one. It is made by the first append. `ifDamaged`: is added where something of it cannot be read, with what can. */
  static async open(disk: Disk, name: string, ifDamaged: readonly Uint8Array[] = []): Promise<OpenedRecords> {
    const file = new RecordFile(disk, name);
    const content = await readIfThere(disk, name);
    const records: Uint8Array[] = [];
    const damage: { offset: number; reason: string }[] = [];
    let offset = 0;
    let last = 0;
    let end = 0;
    while (offset < content.length) {
      const checked = checkFrame(content, SEGMENT, offset);
      if (typeof checked === "number") {
        for (const record of recordsOf(content.subarray(offset + FRAME_HEADER_BYTES, checked))) records.push(record);
        last = offset;
        offset = end = checked;
        continue;
      }
      const next = findFrame(content, SEGMENT, offset + 1);
      if (next < 0) break;
      damage.push({ offset, reason: checked });
      offset = next;
    }
    const tornBytes = content.length - end;
    if (damage.length > 0) {
      await writeFile(disk, `${name}.damaged`, content);
      await file.#write([...records, ...ifDamaged]);
    } else if (content.length > 0) {
      const opened = await file.#open();
      await opened.truncate(end);
      // A process that was killed leaves what it wrote to be read, synced or not; where its sync had failed, only what is written once more is synced.
      await opened.rewrite(last, content.subarray(last, end));
      await opened.sync();
    }
    return { file, records, tornBytes: damage.length > 0 ? 0 : tornBytes, damage };
  }

  /** Bytes of the file. */
  get sizeBytes(): number {
    return this.#file?.size ?? 0;
  }

  /**
   * Resolves once the records are durable; they are all there, or none is. Rejects with a DiskError: where it `isNoSpace` none is there and
   * the next may be tried; after any other nobody knows what is on the disk, and every later append fails too. `written` is called before
   * the file may be written anew: who keeps what `replace` asks for takes the records in there.
   */
  async append(records: readonly Uint8Array[], written: () => void = () => undefined): Promise<void> {
    const bytes = records.reduce((sum, { length }) => sum + length, 0);
    await new Promise<void>((resolve, reject) => {
      this.#queue.push({ records, bytes, written, resolve, reject });
      this.#run();
    });
  }

  /** Writes the file anew, with what `records` then gives, before what is appended later. */
  replace(records: () => Iterable<Uint8Array>): void {
    this.#rewrite = records;
    this.#run();
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    await this.#running;
    await this.#file?.close();
  }

  #run(): void {
    this.#running ??= this.#work().finally(() => {
      this.#running = undefined;
      // It may have come after the last look.
      if (this.#queue.length > 0 || this.#rewrite !== undefined) this.#run();
    });
  }

  async #work(): Promise<void> {
    for (;;) {
      const batch = this.#take();
      if (batch.length > 0) await this.#append(batch);
      else if (this.#rewrite === undefined) return;
      const rewrite = this.#rewrite;
      this.#rewrite = undefined;
      // What it would hold is on the disk as it is; only room is lost where it fails.
      if (rewrite !== undefined && this.#broken === undefined) await this.#write(rewrite()).catch((error: unknown) => this.#fail(error));
    }
  }

  #fail(error: unknown): void {
    if (!(error instanceof DiskError && error.isNoSpace)) this.#break(error);
  }

  #break(error: unknown): void {
    this.#broken = error instanceof Error ? error : new Error("the disk failed", { cause: error });
  }

  #take(): Waiting[] {
    let bytes = 0;
    let taken = 0;
    while (taken < this.#queue.length && taken < FRAME_APPENDS && (taken === 0 || bytes < FRAME_BYTES)) bytes += this.#queue[taken++]?.bytes ?? 0;
    return this.#queue.splice(0, taken);
  }

  async #append(batch: readonly Waiting[]): Promise<void> {
    try {
      if (this.#broken !== undefined) throw this.#broken;
      const file = await this.#open();
      const before = file.size;
      try {
        await file.append([sealed(batch.flatMap(({ records }) => records), before)]);
      } catch (error) {
        if (error instanceof DiskError && error.isNoSpace) await file.truncate(before);
        throw error;
      }
      await file.sync().catch((error: unknown) => {
        // Full or not: nobody knows what a failed sync left behind.
        this.#break(error);
        throw error;
      });
    } catch (error) {
      this.#fail(error);
      for (const { reject } of batch) reject(error);
      return;
    }
    for (const { written, resolve } of batch) {
      written();
      resolve();
    }
  }

  async #open(): Promise<DiskFile> {
    if (this.#file !== undefined) return this.#file;
    this.#file = await this.#disk.openAppend(this.#name);
    await this.#disk.syncDirectory();
    return this.#file;
  }

  async #write(records: Iterable<Uint8Array>): Promise<void> {
    const all = [...records];
    await writeFile(this.#disk, `${this.#name}.tmp`, all.length === 0 ? new Uint8Array(0) : sealed(all, 0));
    await this.#file?.close();
    this.#file = undefined;
    await this.#disk.rename(`${this.#name}.tmp`, this.#name);
    await this.#disk.syncDirectory();
    this.#file = await this.#disk.openAppend(this.#name);
  }
}

function sealed(records: readonly Uint8Array[], offset: number): Uint8Array {
  const writer = new FrameWriter();
  for (const record of records) {
    writer.out.reserve(4 + record.length);
    writer.out.u32(record.length);
    writer.out.raw(record);
  }
  return writer.seal(SEGMENT, offset);
}

function* recordsOf(payload: Uint8Array): Generator<Uint8Array> {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  for (let at = 0; at + 4 <= payload.length; ) {
    const length = view.getUint32(at, true);
    yield payload.slice(at + 4, at + 4 + length);
    at += 4 + length;
  }
}

async function writeFile(disk: Disk, name: string, content: Uint8Array): Promise<void> {
  // After a power cut in the middle of a rename the old name may stand for the very file that has the new one.
  await disk.remove(name);
  const file = await disk.openAppend(name);
  try {
    if (content.length > 0) await file.append([content]);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function readIfThere(disk: Disk, name: string): Promise<Uint8Array> {
  try {
    return await disk.read(name);
  } catch (error) {
    if (error instanceof DiskError && error.code === "ENOENT") return new Uint8Array(0);
    throw error;
  }
}
