// What became of operations that were kept on losing sides of partitions, as a group replicates it: so that whoever was
// told "tentative" can find out, on any node, long after the node that said so is gone.
import { type HealedOperation, type HealReport, type LogPosition, Outcome } from "@statemesh/contract";
import type { HealBatch, HealedRecord } from "@statemesh/contract/log";
import type { StateHash } from "./state-hash.ts";

/** Reports that a group keeps at most; the oldest go first. */
export const HEAL_REPORTS_MAX = 16;
/** Operations in all reports of a group at most, but for those of the newest. */
export const HEALED_OPERATIONS_MAX = 32_768;

/** A report with its operations. Replaced where something is added, never changed. */
export interface HealReportRow {
  readonly head: HealReport;
  readonly operations: readonly HealedRecord[];
}

/** A report that is being read from a snapshot. */
interface RestoredRow extends HealReportRow {
  readonly operations: HealedRecord[];
}

export class HealReports {
  readonly #hash: StateHash;
  /** The oldest first. */
  #rows: HealReportRow[] = [];
  readonly #byOperation = new Map<string, HealedRecord>();
  #restored: RestoredRow | undefined;

  constructor(hash: StateHash) {
    this.#hash = hash;
  }

  /** The oldest first. */
  get rows(): readonly HealReportRow[] {
    return this.#rows;
  }

  row(reportId: string): HealReportRow | undefined {
    return this.#rows.find(({ head }) => head.reportId === reportId);
  }

  /** What became of an operation that was kept; undefined where none was kept under that id, or its report is gone. */
  find(operationId: string): HealedRecord | undefined {
    return this.#byOperation.get(operationId);
  }

  /** Adds what a batch of a report decided. An operation that some report lists already is not listed twice. */
  add({ reportId, healedMs, sides }: HealBatch, groupId: number, position: LogPosition, operations: readonly HealedRecord[]): void {
    const fresh = operations.filter(({ operation }) => operation !== undefined && !this.#byOperation.has(operation.operationId));
    if (fresh.length === 0) return;
    const began = sides.filter(({ decided }) => !decided).map(({ beganMs }) => beganMs);
    const row = this.row(reportId) ?? {
      head: {
        reportId, groupId, healedMs, sides: [...sides], position, accepted: 0, merged: 0, rejected: 0, decidedBefore: 0,
        beganMs: began.length === 0 ? healedMs : Math.min(...began),
        endedMs: Math.max(0, ...sides.map(({ endedMs }) => endedMs)),
      },
      operations: [],
    };
    let head = row.head;
    for (const record of fresh) {
      if (record.operation !== undefined) head = counted(head, record.operation);
      this.#note(record);
    }
    this.#rows = [...this.#rows.filter((each) => each.head.reportId !== reportId), { head, operations: [...row.operations, ...fresh] }];
    this.#trim();
  }

  #trim(): void {
    let kept = this.#rows.reduce((sum, { operations }) => sum + operations.length, 0);
    while (this.#rows.length > HEAL_REPORTS_MAX || (this.#rows.length > 1 && kept > HEALED_OPERATIONS_MAX)) {
      const [oldest] = this.#rows;
      if (oldest === undefined) return;
      this.#rows = this.#rows.slice(1);
      kept -= oldest.operations.length;
      for (const record of oldest.operations) {
        this.#byOperation.delete(record.operation?.operationId ?? "");
        this.#hash.remove(...hashed(record));
      }
    }
  }

  #note(record: HealedRecord): void {
    this.#byOperation.set(record.operation?.operationId ?? "", record);
    this.#hash.add(...hashed(record));
  }

  /** A report of a snapshot; its operations follow through `restoreOperation`. */
  restore(head: HealReport): void {
    this.#restored = { head, operations: [] };
    this.#rows.push(this.#restored);
  }

  restoreOperation(record: HealedRecord): void {
    if (this.#restored === undefined) throw new Error("snapshot: a healed operation without a report");
    this.#restored.operations.push(record);
    this.#note(record);
  }
}

function counted(head: HealReport, { outcome, decidedBefore }: HealedOperation): HealReport {
  return {
    ...head,
    accepted: head.accepted + (outcome === Outcome.ACCEPTED ? 1 : 0),
    merged: head.merged + (outcome === Outcome.MERGED ? 1 : 0),
    rejected: head.rejected + (outcome === Outcome.REJECTED ? 1 : 0),
    decidedBefore: head.decidedBefore + (decidedBefore ? 1 : 0),
  };
}

function hashed({ operation, fingerprint }: HealedRecord): [string, string, number, number] {
  return [`healed ${operation?.outcome ?? 0} ${operation?.rule ?? ""}`, operation?.operationId ?? "", operation?.position?.index ?? 0, fingerprint];
}
