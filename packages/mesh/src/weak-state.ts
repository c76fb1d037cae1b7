// What a node holds of everything that no log decides: eventual values and causal events, and their copies in the region store.
import type { HybridClock } from "@statemesh/clocks";
import type { StreamRequest } from "@statemesh/contract";
import { type Membership, REPAIR_VERSION } from "@statemesh/replica";
import { groupOf } from "@statemesh/world";
import { CausalBehind, CausalLog } from "./causal/index.ts";
import { EventualStorage, EventualStore, OwnInterest, SpreadPace } from "./eventual/index.ts";
import type { Host } from "./host.ts";
import type { NodeOptions } from "./node-options.ts";
import type { PeerFrames } from "./peer-frames.ts";

/** What it needs of its node. */
export interface WeakStateNode {
  readonly options: NodeOptions;
  readonly host: Host;
  readonly clock: HybridClock;
  /** Who belongs to the cluster, as far as this node has applied it. */
  membership(): Membership;
  /** The term of a group, as this node knows it. */
  termOf(groupId: number): number;
  /** Who leads a group, as far as is known; 0: nobody. */
  leaderOf(groupId: number): number;
  isStopped(): boolean;
  /** Whether a peer can be reached, and not much waits for it. */
  isWritable(peer: number): boolean;
  /** What goes to the peer in this turn. */
  framesTo(peer: number): Pick<PeerFrames, "delta" | "causal">;
  /** Something is to be sent. */
  dirty(): void;
}

export class WeakState {
  readonly eventual: EventualStore;
  /** Undefined without a region store. */
  readonly storage: EventualStorage | undefined;
  readonly causal: CausalLog;
  /** Undefined without a region store. */
  readonly causalBehind: CausalBehind | undefined;
  /** Regions of which somebody reads eventual values here. */
  readonly interest = new OwnInterest();
  readonly #up = new Set<number>();
  readonly #node: WeakStateNode;
  readonly #pace: SpreadPace;
  #isDue = false;
  #others: readonly number[] = [];

  constructor(node: WeakStateNode) {
    this.#node = node;
    const { options, host } = node;
    const { nodeId, incarnation, groups } = options;
    const identity = { nodeId, incarnation, inParts: () => node.membership().version >= REPAIR_VERSION };
    this.eventual = new EventualStore({}, identity, { own: this.interest, keeperOf: (region) => this.#keeperOf(groupOf(region, groups)) });
    this.#pace = new SpreadPace(options.tickMs);
    this.eventual.listenUrgent(() => this.#schedule());
    if (options.materialize) this.storage = new EventualStorage(host, this.eventual, (region) => groupOf(region, groups), (groupId) => node.leaderOf(groupId) === nodeId);
    this.causal = new CausalLog({ nodeId, incarnation, members: { others: () => this.#others, isEvicted: (peer) => this.isEvicted(peer) } });
    if (!options.materialize) return;
    const behind = new CausalBehind({
      log: this.causal,
      groupOf: (region) => groupOf(region, groups),
      termOf: (groupId) => (node.leaderOf(groupId) === nodeId ? node.termOf(groupId) : undefined),
      store: (events, done) => host.storeCausal(events, done),
    });
    this.causalBehind = behind;
    this.causal.listenBehind((event) => behind.delivered(event));
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

  /** The leader of a group is another. */
  leaderChanged(groupId: number, isOwn: boolean): void {
    this.storage?.behind.leaderChanged(groupId, isOwn);
    this.causalBehind?.leaderChanged(groupId, isOwn);
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

  /** What was published and has not gone yet goes to the peers, and what they miss is asked for; and some of it to the region store. */
  tick(): void {
    const node = this.#node;
    const { clock } = node.host;
    const nowMs = clock.wallMs();
    const writable = (peer: number): boolean => node.isWritable(peer);
    const deltas = this.eventual.tick(nowMs, writable);
    if (deltas.length > 0) this.#pace.goes(clock.monotonicMs(), false);
    for (const { to, delta } of deltas) node.framesTo(to).delta(delta);
    for (const { to, batch } of this.causal.tick(nowMs, writable)) node.framesTo(to).causal(batch);
    this.storage?.tick();
    this.causalBehind?.tick(nowMs);
  }

  /** Something was published that is read elsewhere. */
  #schedule(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    const { host } = this.#node;
    const waitMs = this.#pace.due(host.clock.monotonicMs());
    if (waitMs > 0) host.after(waitMs, () => this.#spread());
    else host.defer(() => this.#spread());
  }

  #spread(): void {
    const node = this.#node;
    this.#isDue = false;
    if (node.isStopped()) return;
    this.#pace.goes(node.host.clock.monotonicMs(), true);
    for (const { to, delta } of this.eventual.spread(node.host.clock.wallMs(), (peer) => node.isWritable(peer))) node.framesTo(to).delta(delta);
    node.dirty();
  }
}
