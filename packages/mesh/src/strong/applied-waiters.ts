// Who waits for a group's log to be applied here up to some place.
import { MeshError } from "@statemesh/contract";
import { overloaded } from "./operation-errors.ts";

/** Callers that may wait in a group. Beyond it callers get OVERLOADED. */
const APPLIED_WAITERS = 65_536;

export type AppliedDone = (error: MeshError | undefined) => void;

interface AppliedWaiter {
  readonly index: number;
  readonly deadlineMs: number;
  readonly done: AppliedDone;
}

export class AppliedWaiters {
  readonly #groupId: number;
  #waiters: AppliedWaiter[] = [];

  constructor(groupId: number) {
    this.#groupId = groupId;
  }

  get size(): number {
    return this.#waiters.length;
  }

  /** Takes one in for an index that is not applied yet, or tells it at once why not. */
  add(index: number, deadlineMs: number, nowMs: number, done: AppliedDone): void {
    // Who looks again after each entry of a busy group would go on for ever.
    if (deadlineMs <= nowMs) return done(this.#late());
    if (this.#waiters.length >= APPLIED_WAITERS) return done(overloaded("calls that wait for the log", APPLIED_WAITERS));
    this.#waiters.push({ index, deadlineMs, done });
  }

  wake(appliedIndex: number): void {
    this.#end(({ index }) => index <= appliedIndex, () => undefined);
  }

  expire(nowMs: number): void {
    this.#end(({ deadlineMs }) => deadlineMs <= nowMs, () => this.#late());
  }

  #end(isDue: (waiter: AppliedWaiter) => boolean, errorOf: () => MeshError | undefined): void {
    if (!this.#waiters.some(isDue)) return;
    const waiters = this.#waiters;
    this.#waiters = waiters.filter((waiter) => !isDue(waiter));
    for (const waiter of waiters) if (isDue(waiter)) waiter.done(errorOf());
  }

  #late(): MeshError {
    return new MeshError("NO_QUORUM", `this node did not reach the wanted position of group ${this.#groupId} in time`, { metadata: { group_id: String(this.#groupId) }, retryDelayMs: 50 });
  }
}
