// What nodes promised of escrows, held against the committed log: nothing that was promised is lost, each spending counts once, and
// never is more spent, or promised, than was set apart.
import type { EscrowRecord, EscrowStep, Posting } from "@statemesh/contract/log";
import type { GroupState } from "@statemesh/replica";

interface Opened {
  readonly record: EscrowRecord;
  promised: number;
  spent: number;
  last: number;
}

interface Promised {
  readonly key: string;
  readonly nodeId: number;
}

/** A row of the state as it was before an entry. */
export type RowBefore = { readonly key: string; readonly last: number; readonly isOpen: boolean } | undefined;

export class EscrowBook {
  readonly #fail: (kind: string, message: string) => void;
  readonly #sometimes: (what: string) => void;
  /** By group, id and index of opening. */
  readonly #opened = new Map<string, Opened>();
  /** By operation: of which escrow it was spent. */
  readonly #counted = new Map<string, string>();
  readonly #promised = new Map<string, Promised>();

  constructor(fail: (kind: string, message: string) => void, sometimes: (what: string) => void) {
    this.#fail = fail;
    this.#sometimes = sometimes;
  }

  opened(groupId: number, index: number, record: EscrowRecord): void {
    this.#sometimes("escrow opened");
    this.#opened.set(keyOf(groupId, record.escrowId, index), { record, promised: 0, spent: 0, last: 0 });
  }

  before({ escrows, groupId }: GroupState, { escrowId, openedIndex }: EscrowStep): RowBefore {
    const row = escrows.open(escrowId);
    return row === undefined ? undefined : { key: keyOf(groupId, escrowId, row.openedIndex), last: row.lastNumber, isOpen: row.openedIndex === openedIndex };
  }

  /** Whether a step found things so that it does something is the state's word; what it then may do is not. Answers what it posted. */
  stepped({ escrows, groupId }: GroupState, step: EscrowStep, before: RowBefore): Posting[] {
    const opened = before?.isOpen === true ? this.#opened.get(before.key) : undefined;
    if (before === undefined || opened === undefined) return [];
    const { escrowId, itemKind, quantity, playerId } = opened.record;
    const row = escrows.find(escrowId);
    const from = `escrow:${escrowId}`;
    const posted: Posting[] = [];
    for (const spending of step.spendings) {
      if (spending.number <= before.last || spending.number > (row?.lastNumber ?? 0)) continue;
      if (spending.number !== opened.last + 1) this.#fail("escrow", `${spending.operationId} of ${before.key} took effect as number ${spending.number} after ${opened.last}`);
      opened.last = spending.number;
      opened.spent += spending.quantity;
      if (opened.spent > quantity) this.#fail("escrow", `${opened.spent} of ${before.key} are spent, ${quantity} were set apart`);
      const earlier = this.#counted.get(spending.operationId);
      if (earlier !== undefined) this.#fail("escrow", `${spending.operationId} of ${before.key} took effect twice`);
      this.#counted.set(spending.operationId, before.key);
      this.#sometimes(spending.side === undefined ? "escrow spent from" : "escrow spent from while its node was cut off");
      posted.push({ from, to: spending.toPlayerId === "" ? "" : `player:${spending.toPlayerId}`, itemKind, quantity: spending.quantity });
    }
    if (row === undefined || row.closedIndex === 0) return posted;
    this.#sometimes(row.nodeRemoved ? "escrow of a removed node closed" : "escrow closed");
    const left = quantity - opened.spent;
    if (row.returned !== left) this.#fail("escrow", `${row.returned} of ${before.key} came back, ${left} were left in group ${groupId}`);
    if (left > 0) posted.push({ from, to: `player:${playerId}`, itemKind, quantity: left });
    return posted;
  }

  /** A caller heard that it counts. `openedIndex`: 0 where it was promised before, and nobody said of which escrow of that id. */
  promised(groupId: number, escrowId: string, openedIndex: number, operationId: string, quantity: number, nodeId: number): void {
    if (this.#promised.has(operationId)) return;
    this.#sometimes("spending promised");
    const key = keyOf(groupId, escrowId, openedIndex);
    this.#promised.set(operationId, { key, nodeId });
    if (openedIndex === 0) return;
    const opened = this.#opened.get(key);
    if (opened === undefined) return this.#fail("escrow", `${operationId} was promised of ${key}, which nobody opened`);
    opened.promised += quantity;
    if (opened.promised > opened.record.quantity) this.#fail("escrow", `${opened.promised} of ${key} are promised, ${opened.record.quantity} were set apart`);
  }

  /** At the end everything that was promised counts. `isGone`: what the node had on disk was lost with it. */
  checkFinal(isGone: (nodeId: number) => boolean): void {
    for (const [operationId, { key, nodeId }] of this.#promised) {
      if (!this.#counted.has(operationId) && !isGone(nodeId)) this.#fail("escrow", `${operationId} was promised of ${key} by node ${nodeId}, and does not count`);
    }
  }
}

function keyOf(groupId: number, escrowId: string, openedIndex: number): string {
  return `${groupId} ${escrowId} ${openedIndex}`;
}
