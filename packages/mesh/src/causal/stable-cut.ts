import type { VectorClockEntry } from "@statemesh/contract";
import { nodeOfOrigin } from "./origin.ts";

/** Who takes part, by the log of group 0. */
export interface CausalMembers {
  /** Every member but this node. */
  others(): readonly number[];
  /** The node was a member, and the log says that it is none any more: nobody waits for its events. */
  isEvicted(nodeId: number): boolean;
}

/**
 * How far every member has delivered each origin, as far as this node has heard: the stable cut. What is below it need not be named
 * any more. Members that cannot be reached hold it back, until they are heard again or the log removes them.
 */
export class StableCut {
  readonly #members: CausalMembers;
  /** Where each member stands, by origin, in its newest start. */
  readonly #frontiers = new Map<number, { start: number; readonly sequences: Map<number, number> }>();
  /** Where the members stood when this node first heard of each, while it has not delivered that. */
  readonly #before = new Map<number, Map<number, number>>();
  #isCaughtUp = false;

  constructor(members: CausalMembers) {
    this.#members = members;
  }

  /** A member says where it stands. */
  heard(member: number, frontier: readonly VectorClockEntry[]): void {
    const start = frontier.find(({ origin }) => nodeOfOrigin(origin) === member)?.origin ?? 0;
    let known = this.#frontiers.get(member);
    if (known === undefined || start > known.start) {
      known = { start, sequences: new Map() };
      this.#frontiers.set(member, known);
    }
    if (!this.#isCaughtUp && !this.#before.has(member)) this.#before.set(member, new Map());
    const before = this.#isCaughtUp ? undefined : this.#before.get(member);
    for (const { origin, sequence } of frontier) {
      known.sequences.set(origin, sequence);
      if (before?.has(origin) === false) before.set(origin, sequence);
    }
  }

  /** Nothing is kept of a node that is no member, and of an origin that is forgotten. */
  forget(member: number): void {
    this.#frontiers.delete(member);
    this.#before.delete(member);
  }

  forgetOrigin(origin: number): void {
    for (const { sequences } of this.#frontiers.values()) sequences.delete(origin);
  }

  /** How far all have delivered an origin; `own`: how far this node has. */
  sequenceOf(origin: number, own: number): number {
    let lowest = own;
    for (const member of this.#members.others()) lowest = Math.min(lowest, this.#frontiers.get(member)?.sequences.get(origin) ?? 0);
    return lowest;
  }

  /**
   * Whether this node has delivered all that members had when it started: what it began without may be below a stable cut that others
   * have relied on. `delivered`: how far this node has delivered an origin. `reachable`: members that it is connected to.
   */
  isCaughtUp(delivered: (origin: number) => number, reachable: Iterable<number>): boolean {
    if (this.#isCaughtUp) return true;
    let heard = 0;
    for (const member of reachable) {
      const before = this.#before.get(member);
      if (before === undefined) return false;
      for (const [origin, sequence] of before) if (delivered(origin) < sequence) return false;
      heard += 1;
    }
    // With nobody to ask nothing is known of what was before.
    if (heard === 0 && this.#members.others().length > 0) return false;
    this.#isCaughtUp = true;
    this.#before.clear();
    return true;
  }

  isEvicted(nodeId: number): boolean {
    return this.#members.isEvicted(nodeId);
  }
}
