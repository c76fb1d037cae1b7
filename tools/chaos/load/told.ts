/** What callers were told, and when: everything that the checks at the end go by. Times are of one clock, the run's, monotonic. */
import type { Decision, Operation } from "@statemesh/contract";

/** How a call ended for its caller. */
export type End =
  /** It was decided. */
  | "decided"
  /** The mesh said that nothing of it was done. */
  | "refused"
  /** Nobody knows. */
  | "open";

/** One operation, or several that were decided together. */
export interface Told {
  /** Empty where it is one operation. */
  readonly transactionId: string;
  readonly operations: readonly Operation[];
  readonly group: number;
  readonly invokedMs: number;
  returnedMs: number;
  end: End;
  /** One an operation, where it was decided. */
  decisions: readonly Decision[];
  /** Reasons of the attempts that did not decide it, in order. */
  reasons: readonly string[];
  /** Nodes that answered TENTATIVE: they keep it, and it is open until a heal report lists it. */
  readonly keptBy: number[];
}

/** A linearizable read of registers. */
export interface RegisterRead {
  readonly group: number;
  readonly invokedMs: number;
  readonly returnedMs: number;
  /** Values by register; an empty text where it was never written. */
  readonly values: ReadonlyMap<string, string>;
  /** Versions by register; 0 where it was never written. */
  readonly versions: ReadonlyMap<string, number>;
  /** Log index that it stands at. */
  readonly index: number;
}

/** A region lease that was granted. */
export interface Grant {
  readonly region: string;
  readonly serverId: number;
  readonly epoch: number;
  readonly invokedMs: number;
  readonly returnedMs: number;
}

/** The last word on a kept operation, as a watch of its server heard it. */
export interface Final {
  readonly serverId: number;
  /** The node that was watched. */
  readonly nodeId: number;
  readonly decision: Decision;
}

/** The whole record of a load. */
export class LoadRecord {
  readonly told: Told[] = [];
  readonly reads: RegisterRead[] = [];
  readonly grants: Grant[] = [];
  readonly finals: Final[] = [];
  /** Acknowledged operations and reads by second since the start of the run. */
  readonly perSecond: number[] = [];
  /** Times in which nothing of a group was acknowledged, ms since the start. */
  readonly gaps: { readonly group: number; readonly fromMs: number; readonly toMs: number }[] = [];
  readonly startedMs: number = performance.now();
  readonly #lastMs = new Map<number, number>();

  /** Milliseconds since the start. */
  nowMs(): number {
    return performance.now() - this.startedMs;
  }

  /** Counts operations and reads of a group that a caller has an answer to. */
  acknowledged(group: number, count: number): void {
    const nowMs = this.nowMs();
    const second = Math.floor(nowMs / 1_000);
    while (this.perSecond.length <= second) this.perSecond.push(0);
    this.perSecond[second] = (this.perSecond[second] ?? 0) + count;
    this.closeGap(group, nowMs);
    this.#lastMs.set(group, nowMs);
  }

  /** Ends the silence of a group, where it was long. */
  closeGap(group: number, nowMs: number): void {
    const lastMs = this.#lastMs.get(group) ?? nowMs;
    if (nowMs - lastMs > GAP_MS) this.gaps.push({ group, fromMs: lastMs, toMs: nowMs });
  }
}

/** Shorter silences are no gaps. */
const GAP_MS = 500;
