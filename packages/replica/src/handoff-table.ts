// Handoffs under way, at most one a region, and the last that ended, to answer repeated calls. Rows are replaced, never
// changed.
import { type Handoff, HandoffPhase, type Region } from "@statemesh/contract";
import { formatRegion, sameRegion } from "@statemesh/world";
import type { StateHash } from "./state-hash.ts";

/** Handoffs under way at a time, in the whole cluster. */
export const HANDOFFS_MAX = 4_096;
/** Ended handoffs that are kept. */
const ENDED_MAX = 1_024;

export class HandoffTable {
  readonly #running = new Map<string, Handoff>();
  readonly #ended = new Map<string, Handoff>();
  /** Id of the one under way, by region. */
  readonly #byRegion = new Map<string, string>();
  readonly #byServer = new Map<number, Set<string>>();
  readonly #hash: StateHash;

  constructor(hash: StateHash) {
    this.#hash = hash;
  }

  get isFull(): boolean {
    return this.#running.size >= HANDOFFS_MAX;
  }

  get size(): number {
    return this.#running.size;
  }

  /** Under way or ended. */
  get(handoffId: string): Handoff | undefined {
    return this.#running.get(handoffId) ?? this.#ended.get(handoffId);
  }

  /** The one under way. */
  ofRegion(region: Region): Handoff | undefined {
    const id = this.#byRegion.get(formatRegion(region));
    return id === undefined ? undefined : this.#running.get(id);
  }

  /** Under way from or to a server, the oldest first. */
  ofServer(serverId: number): Handoff[] {
    const found: Handoff[] = [];
    for (const id of this.#byServer.get(serverId) ?? []) {
      const handoff = this.#running.get(id);
      if (handoff !== undefined) found.push(handoff);
    }
    return found;
  }

  running(): IterableIterator<Handoff> {
    return this.#running.values();
  }

  /** Ended ones, the oldest first, then those under way. */
  *rows(): Generator<Handoff> {
    yield* this.#ended.values();
    yield* this.#running.values();
  }

  /** A new one, or the next phase of one; a phase that ends it takes it out of those under way. */
  put(handoff: Handoff): void {
    const { handoffId, region, fromServerId, toServerId } = handoff;
    if (region === undefined) throw new Error(`directory: handoff ${handoffId} without a region`);
    const before = this.#running.get(handoffId);
    if (before !== undefined) this.#hashOf(before, "remove");
    this.#hashOf(handoff, "add");
    if (isUnderWay(handoff)) {
      this.#running.set(handoffId, handoff);
      this.#byRegion.set(formatRegion(region), handoffId);
      for (const serverId of [fromServerId, toServerId]) {
        const ids = this.#byServer.get(serverId);
        if (ids === undefined) this.#byServer.set(serverId, new Set([handoffId]));
        else ids.add(handoffId);
      }
      return;
    }
    this.#running.delete(handoffId);
    if (this.#byRegion.get(formatRegion(region)) === handoffId) this.#byRegion.delete(formatRegion(region));
    for (const serverId of [fromServerId, toServerId]) {
      const ids = this.#byServer.get(serverId);
      ids?.delete(handoffId);
      if (ids?.size === 0) this.#byServer.delete(serverId);
    }
    this.#ended.set(handoffId, handoff);
    if (this.#ended.size <= ENDED_MAX) return;
    for (const [oldest, row] of this.#ended) {
      this.#hashOf(row, "remove");
      this.#ended.delete(oldest);
      break;
    }
  }

  #hashOf({ handoffId, fromServerId, toServerId, epoch, phase, region }: Handoff, change: "add" | "remove"): void {
    this.#hash[change]("handoff", handoffId, epoch, phase);
    this.#hash[change]("handoff of", `${handoffId} ${region === undefined ? "" : formatRegion(region)}`, fromServerId, toServerId);
  }
}

export function isUnderWay({ phase }: Handoff): boolean {
  return phase === HandoffPhase.PREPARED || phase === HandoffPhase.ACCEPTED;
}

/** Two calls that want the same. */
export function sameHandoff(one: Handoff, other: Handoff): boolean {
  return (
    one.fromServerId === other.fromServerId &&
    one.toServerId === other.toServerId &&
    one.epoch === other.epoch &&
    one.region !== undefined &&
    other.region !== undefined &&
    sameRegion(one.region, other.region)
  );
}
