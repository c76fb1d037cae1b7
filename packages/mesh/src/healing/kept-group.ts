// What a node keeps of one group while it is cut off from those who decide: its own callers' operations, which it has on disk, and
// copies of what the others of its side keep, so that the rules see all of it.
import type { Decision, TentativeOperation } from "@statemesh/contract";
import { Outcome } from "@statemesh/contract";
import type { KeptDecision } from "@statemesh/contract/log";
import type { GroupState, PendingOperation } from "@statemesh/replica";
import type { Policy } from "@statemesh/world";
import type { Waiter } from "../strong/decision-queue.ts";
import { decideUnderstood } from "./decide-kept.ts";
import { excludes, type KeptOperation } from "./kept-operation.ts";

/** Operations that a node keeps of one group, and their bytes, about. Beyond it callers get OVERLOADED. */
export const KEPT_OPERATIONS = 1_024;
export const KEPT_BYTES = 1_048_576;
/** Copies of other nodes' operations, and their bytes. What is more is not looked at here; whoever keeps it has it. */
const COPIES = 8_192;
const COPIES_BYTES = 8_388_608;

/** An operation that a caller of this node was, or will be, answered TENTATIVE. */
export interface OwnOperation {
  readonly kept: KeptOperation;
  /** It is on disk. Nobody hears of it before. */
  durable: boolean;
  /** It went to the others of this side. */
  shared: boolean;
  /** When this node heard of a leader again, wall milliseconds; 0: not yet. */
  endedMs: number;
  standing: Decision | undefined;
  waiters: Waiter[];
}

export class KeptGroup {
  readonly own = new Map<string, OwnOperation>();
  readonly copies = new Map<string, KeptOperation>();
  #ownBytes = 0;
  #copyBytes = 0;
  /** Copies that there was no room for. */
  refusedCopies = 0;
  /** Operations of this node's callers of a kind that this build does not know: nothing is said of them. */
  notUnderstood: readonly string[] = [];
  /** Something came: how the operations stand is to be looked at again. */
  isStale = false;
  /** Ticks since this node is not on the losing side any more. */
  ticksSinceEnd = 0;

  get isFull(): boolean {
    return this.own.size >= KEPT_OPERATIONS || this.#ownBytes >= KEPT_BYTES;
  }

  get isEmpty(): boolean {
    return this.own.size === 0 && this.copies.size === 0;
  }

  add(kept: KeptOperation, durable: boolean): OwnOperation {
    const own: OwnOperation = { kept, durable, shared: false, endedMs: 0, standing: undefined, waiters: [] };
    this.own.set(kept.operationId, own);
    this.#ownBytes += kept.bytes;
    this.isStale = true;
    return own;
  }

  addCopy(kept: KeptOperation): void {
    if (this.copies.has(kept.operationId)) return;
    if (this.copies.size >= COPIES || this.#copyBytes >= COPIES_BYTES) {
      this.refusedCopies++;
      return;
    }
    this.copies.set(kept.operationId, kept);
    this.#copyBytes += kept.bytes;
    this.isStale = true;
  }

  remove(operationId: string): void {
    const own = this.own.get(operationId);
    if (own === undefined) return;
    this.own.delete(operationId);
    this.#ownBytes -= own.kept.bytes;
    this.isStale = true;
  }

  removeCopy(operationId: string): void {
    const copy = this.copies.get(operationId);
    if (copy === undefined) return;
    this.copies.delete(operationId);
    this.#copyBytes -= copy.bytes;
    this.isStale = true;
  }

  /** An operation that the same server had kept before, and that excludes this one: what builds on an open answer is not taken. */
  earlierOf(pending: PendingOperation): string | undefined {
    for (const { kept } of this.own.values()) {
      if (kept.pending?.operation.serverId === pending.operation.serverId && excludes(kept.pending, pending)) return kept.operationId;
    }
    for (const kept of this.copies.values()) {
      if (kept.pending?.operation.serverId === pending.operation.serverId && excludes(kept.pending, pending)) return kept.operationId;
    }
    return undefined;
  }

  /** Everything that this node knows of, as it goes to whoever decides. */
  records(): TentativeOperation[] {
    const records: TentativeOperation[] = [];
    for (const { kept, durable, endedMs } of this.own.values()) {
      const { side } = kept.record;
      if (durable) records.push({ ...kept.record, side: side === undefined ? undefined : { ...side, endedMs } });
    }
    for (const [operationId, { record }] of this.copies) if (!this.own.has(operationId)) records.push(record);
    return records;
  }

  /** Looks at how this node's operations stand, and answers those whose standing is new or another. */
  restand(state: GroupState, policy: Policy, groups: number): OwnOperation[] {
    this.isStale = false;
    const all: KeptOperation[] = [];
    for (const { kept, durable } of this.own.values()) if (durable) all.push(kept);
    for (const [operationId, kept] of this.copies) if (!this.own.has(operationId)) all.push(kept);
    const changed: OwnOperation[] = [];
    const { decisions, notUnderstood } = decideUnderstood(state, policy, groups, all);
    this.notUnderstood = notUnderstood.filter((operationId) => this.own.has(operationId));
    for (const decision of decisions) {
      const own = this.own.get(decision.decided?.operationId ?? "");
      if (own === undefined) continue;
      const standing = standingOf(decision, own.kept);
      if (own.standing !== undefined && sameStanding(own.standing, standing)) continue;
      own.standing = standing;
      changed.push(own);
    }
    return changed;
  }
}

/** What a caller hears of an operation that is kept. */
function standingOf({ decided }: KeptDecision, { operationId, record }: KeptOperation): Decision {
  const { outcome = Outcome.REJECTED, rule = "", winnerOperationId = "", conflict = 0, reason = "" } = decided ?? {};
  const why = outcome === Outcome.REJECTED ? reason : "";
  return { operationId, outcome: Outcome.TENTATIVE, rule, winnerOperationId, version: 0, position: undefined, conflict, reason: why, stamp: record.stamp, repeated: false };
}

function sameStanding(a: Decision, b: Decision): boolean {
  return a.rule === b.rule && a.winnerOperationId === b.winnerOperationId && a.conflict === b.conflict && a.reason === b.reason;
}
