// What a node holds of everything that no log decides: eventual values, also in the region store, and causal events.
import type { HybridClock } from "@statemesh/clocks";
import type { CausalBatch, EventualDelta, StreamRequest } from "@statemesh/contract";
import { type Membership, REPAIR_VERSION } from "@statemesh/replica";
import { groupOf } from "@statemesh/world";
import { CausalLog } from "./causal/index.ts";
import { EventualStorage, EventualStore, OwnInterest } from "./eventual/index.ts";
import type { Host } from "./host.ts";
import type { NodeOptions } from "./node-options.ts";

/** What it needs of its node. */
export interface WeakStateNode {
  readonly options: NodeOptions;
  readonly host: Host;
  readonly clock: HybridClock;
  /** Who belongs to the cluster, as far as this node has applied it. */
  membership(): Membership;
  leads(groupId: number): boolean;
  /** Who leads a group, as far as is known; 0: nobody. */
  leaderOf(groupId: number): number;
}

export class WeakState {
  readonly eventual: EventualStore;
  /** Undefined without a region store. */
  readonly storage: EventualStorage | undefined;
  readonly causal: CausalLog;
  /** Regions of which somebody reads eventual values here. */
  readonly interest = new OwnInterest();
  readonly #up = new Set<number>();
  readonly #node: WeakStateNode;
  #others: readonly number[] = [];

  constructor(node: WeakStateNode) {
    this.#node = node;
    const { options, host } = node;
    const { nodeId, incarnation, groups } = options;
    const identity = { nodeId, incarnation, inParts: () => node.membership().version >= REPAIR_VERSION };
    this.eventual = new EventualStore({}, identity, { own: this.interest, keeperOf: (region) => this.#keeperOf(groupOf(region, groups)) });
    if (options.materialize) this.storage = new EventualStorage(host, this.eventual, (region) => groupOf(region, groups), (groupId) => node.leads(groupId));
    this.causal = new CausalLog({ nodeId, incarnation, members: { others: () => this.#others, isEvicted: (peer) => this.isEvicted(peer) } });
  }

  /** Who takes part beside this node. */
  setOthers(nodeIds: readonly number[]): void {
    this.#others = nodeIds;
  }

  /** Group 0 has committed that the node is a member no more. */
  isEvicted(nodeId: number): boolean {
    const membership = this.#node.membership();
    return membership.isOnRecord && nodeId <= membership.lastNodeId && membership.member(nodeId) === undefined;
  }

  /** Who leads the group of a region writes what is published there to the region store; where that is this node, another keeps it too. */
  #keeperOf(groupId: number): number {
    const { nodeId } = this.#node.options;
    const leader = this.#node.leaderOf(groupId);
    if (leader !== nodeId && this.#up.has(leader)) return leader;
    let next = 0;
    for (const peer of this.#up) {
      const isNearer = next === 0 || ((peer > nodeId) === (next > nodeId) ? peer < next : peer > nodeId);
      if (isNearer) next = peer;
    }
    return next;
  }

  peerUp(peer: number): void {
    this.#up.add(peer);
    this.eventual.peerUp(peer);
    this.causal.peerUp(peer);
  }

  peerDown(peer: number): void {
    this.#up.delete(peer);
    this.eventual.peerDown(peer);
    this.causal.peerDown(peer);
  }

  /** A node that is not a member any more. */
  forget(peer: number): void {
    this.eventual.forget(peer);
    this.causal.forget(peer);
  }

  onFrame(peer: number, { deltas, causal }: StreamRequest): void {
    for (const delta of deltas) this.eventual.onDelta(peer, delta, this.#node.host.clock.wallMs(), this.#node.clock);
    for (const batch of causal) this.causal.onBatch(peer, batch);
  }

  /** What was published since the last tick goes to the peers, and what they miss is asked for; and some of it to the region store. */
  tick(writable: (peer: number) => boolean, sendDelta: (peer: number, delta: EventualDelta) => void, sendBatch: (peer: number, batch: CausalBatch) => void): void {
    const nowMs = this.#node.host.clock.wallMs();
    for (const { to, delta } of this.eventual.tick(nowMs, writable)) sendDelta(to, delta);
    for (const { to, batch } of this.causal.tick(nowMs, writable)) sendBatch(to, batch);
    this.storage?.tick();
  }
}
