// The operations that this node keeps during partitions, on its disk. Nobody hears of one before it is durable, and none goes before
// a heal report lists it.
import { MeshError, type TentativeOperation } from "@statemesh/contract";
import { TentativeLogRecord } from "@statemesh/contract/log";
import type { Log } from "@statemesh/mesh";
import { type Disk, DiskError } from "@statemesh/ports";
import { RecordFile } from "@statemesh/wal";

const FILE = "tentative.log";
/** The file is written anew where it is larger than this and holds twice what is kept. */
const REWRITE_BYTES = 1_048_576;

export class TentativeLog {
  readonly #file: RecordFile;
  readonly #log: Log;
  readonly #fail: (error: unknown) => void;
  /** Encoded, by operation id. */
  readonly #kept = new Map<string, Uint8Array>();
  #keptBytes = 0;

  private constructor(file: RecordFile, log: Log, fail: (error: unknown) => void) {
    this.#file = file;
    this.#log = log;
    this.#fail = fail;
  }

  /** Reads what was kept. `fail`: the node cannot go on. */
  static async open(disk: Disk, log: Log, fail: (error: unknown) => void): Promise<{ tentative: TentativeLog; kept: TentativeOperation[] }> {
    const { file, records, tornBytes, damage } = await RecordFile.open(disk, FILE);
    if (tornBytes > 0) log.warn("cut an unfinished write off the file of kept operations: nobody was told of it", { bytes: tornBytes });
    for (const { offset, reason } of damage) {
      log.error(`operations that were kept during a partition cannot be read: they are lost to their callers, and no heal report will list them; the file is kept as ${FILE}.damaged`, { offset, reason });
    }
    const tentative = new TentativeLog(file, log, fail);
    const operations = new Map<string, TentativeOperation>();
    for (const bytes of records) {
      const { record } = TentativeLogRecord.decode(bytes);
      if (record?.$case === "kept") {
        const operationId = record.value.operation?.operationId ?? "";
        operations.set(operationId, record.value);
        tentative.#note(operationId, bytes);
      } else if (record?.$case === "dropped") {
        for (const operationId of record.value.operationIds) {
          operations.delete(operationId);
          tentative.#forget(operationId);
        }
      }
    }
    if (operations.size > 0) log.info("operations that were kept during a partition wait for their decision", { operations: operations.size });
    return { tentative, kept: [...operations.values()] };
  }

  /** `done` once all of them are durable, or with the reason why none is known to be. */
  keep(operations: readonly TentativeOperation[], done: (error: MeshError | undefined) => void): void {
    const records = operations.map((value) => ({
      operationId: value.operation?.operationId ?? "", bytes: TentativeLogRecord.encode({ record: { $case: "kept", value } }).finish(),
    }));
    // Together: a caller who is told that the disk is full must not find some of them decided after all.
    const written = (): void => {
      for (const { operationId, bytes } of records) this.#note(operationId, bytes);
    };
    this.#file.append(records.map(({ bytes }) => bytes), written).then(
      () => done(undefined),
      (error: unknown) => {
        if (error instanceof DiskError && error.isNoSpace) return done(new MeshError("LOG_FULL", "the disk of this node is full", { retryDelayMs: 1_000, cause: error }));
        this.#fail(error);
        done(new MeshError("OUTCOME_UNKNOWN", "the disk of this node failed", { cause: error }));
      },
    );
  }

  drop(operationIds: readonly string[]): void {
    for (const operationId of operationIds) this.#forget(operationId);
    if (this.#kept.size === 0 || (this.#file.sizeBytes > REWRITE_BYTES && this.#file.sizeBytes > 2 * this.#keptBytes)) {
      this.#file.replace(() => this.#kept.values());
      return;
    }
    const bytes = TentativeLogRecord.encode({ record: { $case: "dropped", value: { operationIds: [...operationIds] } } }).finish();
    this.#file.append([bytes]).catch((error: unknown) => {
      // After a restart it is found out again.
      if (error instanceof DiskError && error.isNoSpace) this.#log.warn("the disk is full: what was healed is not noted yet", { operations: operationIds.length });
      else this.#fail(error);
    });
  }

  #note(operationId: string, bytes: Uint8Array): void {
    this.#forget(operationId);
    this.#kept.set(operationId, bytes);
    this.#keptBytes += bytes.length;
  }

  #forget(operationId: string): void {
    this.#keptBytes -= this.#kept.get(operationId)?.length ?? 0;
    this.#kept.delete(operationId);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}
