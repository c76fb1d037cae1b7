// What this node knows of the escrows that it keeps, on its disk. A spending is promised once it is durable here, and its number is never
// given again.
import { MeshError } from "@statemesh/contract";
import { EscrowLogRecord } from "@statemesh/contract/log";
import { EscrowNotes, type Log } from "@statemesh/mesh";
import { type Disk, DiskError } from "@statemesh/ports";
import { RecordFile } from "@statemesh/wal";

const FILE = "escrow.log";
/** The file is written anew where it is larger than this and than twice what it was when it last was. */
const REWRITE_BYTES = 1_048_576;

const DAMAGED: EscrowLogRecord = { record: { $case: "damaged", value: true } };

export class EscrowLog {
  readonly #file: RecordFile;
  readonly #log: Log;
  readonly #fail: (error: unknown) => void;
  readonly #notes = new EscrowNotes();
  #rewriteAtBytes = REWRITE_BYTES;

  private constructor(file: RecordFile, log: Log, fail: (error: unknown) => void) {
    this.#file = file;
    this.#log = log;
    this.#fail = fail;
  }

  /** Reads what is known. `fail`: the node cannot go on. */
  static async open(disk: Disk, log: Log, fail: (error: unknown) => void): Promise<{ escrows: EscrowLog; held: EscrowLogRecord[] }> {
    const { file, records, tornBytes, damage } = await RecordFile.open(disk, FILE, [EscrowLogRecord.encode(DAMAGED).finish()]);
    if (tornBytes > 0) log.warn("cut an unfinished write off the file of escrows: nobody was told of it", { bytes: tornBytes });
    const escrows = new EscrowLog(file, log, fail);
    for (const bytes of records) escrows.#notes.take(EscrowLogRecord.decode(bytes));
    for (const { offset, reason } of damage) {
      log.error(`the file of escrows is damaged: spendings that were promised may be lost, and this node only closes the escrows that it keeps; the file is kept as ${FILE}.damaged`, { offset, reason });
    }
    if (damage.length > 0) escrows.#notes.take(DAMAGED);
    return { escrows, held: [...escrows.#notes.records()] };
  }

  /** `done` once all of them are durable, or with the reason why none is known to be. */
  keep(records: readonly EscrowLogRecord[], done: (error: MeshError | undefined) => void): void {
    const written = (): void => {
      for (const record of records) this.#notes.take(record);
    };
    // Together: a caller who is told that the disk is full must not find that some of it counts after all.
    this.#file.append(records.map((record) => EscrowLogRecord.encode(record).finish()), written).then(
      () => {
        done(undefined);
        this.#trim();
      },
      (error: unknown) => {
        if (error instanceof DiskError && error.isNoSpace) return done(new MeshError("LOG_FULL", "the disk of this node is full", { retryDelayMs: 1_000, cause: error }));
        this.#log.error("the file of escrows could not be written", { err: error });
        this.#fail(error);
        done(new MeshError("OUTCOME_UNKNOWN", "the disk of this node failed", { cause: error }));
      },
    );
  }

  #trim(): void {
    if (this.#file.sizeBytes <= this.#rewriteAtBytes) return;
    this.#rewriteAtBytes = Number.POSITIVE_INFINITY;
    this.#file.replace(() => {
      const records = [...this.#notes.records()].map((record) => EscrowLogRecord.encode(record).finish());
      this.#rewriteAtBytes = Math.max(REWRITE_BYTES, 2 * records.reduce((sum, { length }) => sum + length, 0));
      return records;
    });
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}
