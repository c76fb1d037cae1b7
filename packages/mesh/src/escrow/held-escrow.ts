// An escrow as the node knows it that keeps its spendings: how far they are in the log, and which are on this node's disk only. Together
// they say what is left, whatever the others know.
import type { EscrowLogRecord, EscrowSpending, HeldEscrow as HeldRecord } from "@statemesh/contract/log";
import { type EscrowRow, escrowRow } from "@statemesh/replica";

export interface KeptSpending {
  readonly spending: EscrowSpending;
  /** It is on disk. Nobody hears of it before. */
  durable: boolean;
  /** Who wait for that. */
  readonly waiters: (() => void)[];
}

export class HeldEscrow {
  readonly groupId: number;
  /** As it was when the node took it on; how far it is stands below. */
  readonly row: EscrowRow;
  /** In the order of their numbers: each follows the one before. */
  #kept: KeptSpending[] = [];
  #keptSum = 0;
  /** Number of the last spending that this node saw take effect, the sum of all through it, and the latest time that one claimed. */
  doneNumber: number;
  doneSum: number;
  doneClaimedMs: number;
  /** No more spendings are kept. */
  isClosing: boolean;
  /** A part of what was kept may be lost. */
  isDamaged = false;
  /** What is done is not noted on disk yet. */
  isToNote = false;
  /** A step of it is on its way into the log. */
  isOffered = false;
  /** Through which number it went there. */
  offeredThrough: number;
  /** Of this node: what did not take effect is not offered again before. */
  notBeforeTick = 0;
  /** When the node was heard again, wall milliseconds; 0: not yet. */
  endedMs = 0;

  constructor(groupId: number, row: EscrowRow, isClosing: boolean, doneClaimedMs = 0) {
    this.groupId = groupId;
    this.row = row;
    this.isClosing = isClosing;
    this.doneNumber = this.offeredThrough = row.lastNumber;
    this.doneSum = row.spent;
    this.doneClaimedMs = doneClaimedMs;
  }

  get kept(): readonly KeptSpending[] {
    return this.#kept;
  }

  get keptSum(): number {
    return this.#keptSum;
  }

  get left(): number {
    return this.row.quantity - this.doneSum - this.#keptSum;
  }

  get nextNumber(): number {
    return (this.#kept.at(-1)?.spending.number ?? this.doneNumber) + 1;
  }

  add(kept: KeptSpending): void {
    this.#kept.push(kept);
    this.#keptSum += kept.spending.quantity;
  }

  /** Takes the last ones away: they did not get onto the disk. */
  removeLast(kept: KeptSpending): void {
    const at = this.#kept.indexOf(kept);
    if (at >= 0) for (const { spending } of this.#kept.splice(at)) this.#keptSum -= spending.quantity;
  }

  /** The log is this far. Answers what need not be kept any more. */
  done(lastNumber: number, spent: number): readonly KeptSpending[] {
    if (lastNumber <= this.doneNumber) return NONE;
    const count = this.#kept.filter(({ spending }) => spending.number <= lastNumber).length;
    const through = this.#kept.splice(0, count);
    for (const { spending } of through) {
      this.#keptSum -= spending.quantity;
      this.doneClaimedMs = Math.max(this.doneClaimedMs, spending.claimedMs);
    }
    this.doneNumber = lastNumber;
    this.doneSum = spent;
    this.offeredThrough = Math.max(this.offeredThrough, lastNumber);
    this.isToNote = true;
    return through;
  }

  /** What follows a gap was promised, and is lost with what is in the gap. */
  dropAll(): readonly KeptSpending[] {
    this.#keptSum = 0;
    return this.#kept.splice(0);
  }

  get note(): HeldRecord {
    const { groupId, row, doneNumber: lastNumber, doneSum: spent, doneClaimedMs, isClosing: closing } = this;
    return { groupId, escrow: { ...row, lastNumber, spent }, closing, doneClaimedMs };
  }
}

const NONE: readonly KeptSpending[] = [];

/** The name of an escrow on a node. */
export function heldKey(groupId: number, escrowId: string): string {
  return `${groupId} ${escrowId}`;
}

/** What a node's file of escrows says, whatever was noted several times: in its own order it can be written anew. */
export class EscrowNotes {
  readonly #held = new Map<string, { note: HeldRecord; readonly spendings: Map<number, EscrowSpending> }>();
  isDamaged = false;

  take({ record }: EscrowLogRecord): void {
    switch (record?.$case) {
      case "held": {
        const { escrow, groupId } = record.value;
        if (escrow === undefined) return;
        const key = heldKey(groupId, escrow.escrowId);
        const known = this.#held.get(key);
        const spendings = known?.note.escrow?.openedIndex === escrow.openedIndex ? known.spendings : new Map<number, EscrowSpending>();
        for (const number of spendings.keys()) if (number <= escrow.lastNumber) spendings.delete(number);
        this.#held.set(key, { note: record.value, spendings });
        return;
      }
      case "spending": {
        const { groupId, escrowId, openedIndex, number } = record.value;
        const known = this.#held.get(heldKey(groupId, escrowId));
        if (known?.note.escrow?.openedIndex === openedIndex) known.spendings.set(number, record.value);
        return;
      }
      case "released": {
        const { escrow, groupId } = record.value;
        const key = heldKey(groupId, escrow?.escrowId ?? "");
        if (this.#held.get(key)?.note.escrow?.openedIndex === escrow?.openedIndex) this.#held.delete(key);
        return;
      }
      case "damaged":
        this.isDamaged = record.value;
        return;
      default:
        return;
    }
  }

  *records(): Generator<EscrowLogRecord> {
    if (this.isDamaged) yield { record: { $case: "damaged", value: true } };
    for (const { note, spendings } of this.#held.values()) {
      yield { record: { $case: "held", value: note } };
      for (const value of spendings.values()) yield { record: { $case: "spending", value } };
    }
  }

  *escrows(): Generator<HeldEscrow> {
    for (const { note, spendings } of this.#held.values()) {
      if (note.escrow === undefined) continue;
      const held = new HeldEscrow(note.groupId, escrowRow(note.escrow), note.closing || this.isDamaged, note.doneClaimedMs);
      held.isDamaged = this.isDamaged;
      const inOrder = [...spendings.values()].sort((a, b) => a.number - b.number);
      for (const [at, spending] of inOrder.entries()) {
        // Only damage leaves a gap.
        if (at > 0 && spending.number !== held.nextNumber) break;
        held.add({ spending, durable: true, waiters: [] });
      }
      yield held;
    }
  }
}
