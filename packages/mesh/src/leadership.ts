// Who leads: leadership spreads over the nodes by itself, and goes to others where a node is about to go.
import { MemberState } from "@statemesh/contract";
import type { Membership } from "@statemesh/replica";
import type { GroupReplica } from "./strong/group-replica.ts";

/** What leadership needs of its node. */
export interface LeadershipNode {
  readonly nodeId: number;
  readonly groups: readonly GroupReplica[];
  /** Ticks between two looks at how leadership is spread over the nodes; 0: never. */
  readonly balanceTicks: number;
  /** Peers that can be reached. */
  readonly connected: ReadonlySet<number>;
  membership(): Membership;
  monotonicMs(): number;
  /** Something is to be sent. */
  dirty(): void;
}

export class Leadership {
  readonly #node: LeadershipNode;
  #ticks = 0;
  #drainUntilMs = Number.NEGATIVE_INFINITY;

  constructor(node: LeadershipNode) {
    this.#node = node;
  }

  tick(): void {
    if (this.isDraining) return this.stepDown();
    if (this.#node.balanceTicks > 0 && ++this.#ticks % this.#node.balanceTicks === 0) this.#balance();
  }

  /**
   * Leading costs several times what following does, so a node that leads two groups more than a peer hands it one. One
   * at a time, to a peer that is up to date: callers notice nothing, and where several nodes act at once it settles.
   */
  #balance(): void {
    const { groups, connected } = this.#node;
    const stays = this.#stays();
    const led = new Map<number, number>([...connected].filter(stays).map((peer) => [peer, 0]));
    let own = 0;
    for (const group of groups) {
      if (group.serves) own++;
      else if (led.has(group.leader)) led.set(group.leader, (led.get(group.leader) ?? 0) + 1);
    }
    let target = 0;
    let fewest = own - 1;
    for (const [peer, count] of led) {
      if (count >= fewest) continue;
      target = peer;
      fewest = count;
    }
    if (target === 0) return;
    for (const group of groups) {
      if (!group.serves) continue;
      const progress = group.core.status().progress.get(target);
      if (progress?.recentActive !== true || progress.state !== "replicate" || !group.core.configuration.voters.includes(target)) continue;
      group.core.transferLeadership(target);
      return;
    }
  }

  /** Hands leadership to the other nodes, as far as they can take it. */
  stepDown(): void {
    const stays = this.#stays();
    for (const group of this.#node.groups) {
      if (group.core.role !== "leader") continue;
      const successor = bestSuccessor(group, stays);
      if (successor !== 0) group.core.transferLeadership(successor);
    }
    this.#node.dirty();
  }

  /** For some time this node hands on every group that it leads or comes to lead. */
  drain(durationMs: number): void {
    this.#drainUntilMs = this.#node.monotonicMs() + durationMs;
    this.stepDown();
  }

  get isDraining(): boolean {
    return this.#node.monotonicMs() < this.#drainUntilMs;
  }

  /** Members that shall stay, of those on record. */
  #stays(): (nodeId: number) => boolean {
    const membership = this.#node.membership();
    return (nodeId) => !membership.isOnRecord || (membership.member(nodeId)?.state ?? MemberState.LEAVING) !== MemberState.LEAVING;
  }
}

/** Of the voters that may lead the one that holds most; 0: none is up to date. */
export function bestSuccessor({ core }: GroupReplica, mayLead: (nodeId: number) => boolean): number {
  let best = 0;
  let match = -1;
  for (const [nodeId, progress] of core.status().progress) {
    if (nodeId === core.nodeId || !progress.recentActive || progress.match <= match) continue;
    if (!core.configuration.voters.includes(nodeId) || !mayLead(nodeId)) continue;
    best = nodeId;
    match = progress.match;
  }
  return best;
}
