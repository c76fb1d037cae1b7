// Who leads: leadership spreads over the nodes by itself, and goes to others where a node is about to go.
import { MemberState } from "@statemesh/contract";
import type { Membership } from "@statemesh/replica";
import { handovers, Refusals } from "./balance.ts";
import type { Log } from "./host.ts";
import type { GroupReplica } from "./strong/group-replica.ts";

/** What leadership needs of its node. */
export interface LeadershipNode {
  readonly nodeId: number;
  readonly groups: readonly GroupReplica[];
  /** Ticks within which leaders make themselves heard, if there are any. */
  readonly claimTicks: number;
  /** Ticks between two looks at how leadership is spread over the nodes; 0: never. */
  readonly balanceTicks: number;
  /** Peers that can be reached. */
  readonly connected: ReadonlySet<number>;
  membership(): Membership;
  /** Whether a node is in the view in force, or there is none. */
  isInView(nodeId: number): boolean;
  monotonicMs(): number;
  /** Something is to be sent. */
  dirty(): void;
}

/** Ticks between two tries to hand on what a node leads that is out of the view: whoever hears it may not be heard by all. */
const OUT_OF_VIEW_TICKS = 20;

export class Leadership {
  readonly #node: LeadershipNode;
  readonly #refusals = new Refusals();
  #ticks = 0;
  /** Ticks since this node could reach enough others to win an election; undefined: it looked already. */
  #claimTicks: number | undefined = 0;
  #drainUntilMs = Number.NEGATIVE_INFINITY;

  constructor(node: LeadershipNode) {
    this.#node = node;
  }

  /** `votes`: this node may stand for election. */
  tick(votes: boolean): void {
    if (votes && this.#claimTicks !== undefined) this.#claim(this.#claimTicks);
    this.#ticks++;
    if (this.isDraining || (this.#ticks % OUT_OF_VIEW_TICKS === 0 && !this.#node.isInView(this.#node.nodeId))) return this.stepDown();
    if (this.#node.balanceTicks > 0 && this.#ticks % this.#node.balanceTicks === 0) this.#balance();
  }

  /**
   * A cluster that starts has no leaders. Each group falls to one of its voters in turn, which stands at once: so leadership
   * is spread from the beginning, and hundreds of groups don't split their votes. Without, or where it fails, patience decides.
   */
  #claim(ticks: number): void {
    const { nodeId, groups, connected, claimTicks } = this.#node;
    const reach = connected.size + 1;
    if (groups.every(({ core }) => 2 * reach <= core.voters.length)) return;
    this.#claimTicks = ticks + 1;
    if (ticks < claimTicks) return;
    this.#claimTicks = undefined;
    for (const group of groups) {
      const { voters } = group.core;
      if (group.leader === 0 && voters[group.groupId % voters.length] === nodeId) group.campaign();
    }
  }

  /** Hands groups to peers that lead fewer, and are up to date: callers notice nothing. */
  #balance(): void {
    const { groups, connected } = this.#node;
    const stays = this.#stays();
    const led = new Map<number, number>();
    for (const peer of connected) if (stays(peer) && this.#refusals.takes(peer)) led.set(peer, 0);
    const own: GroupReplica[] = [];
    for (const group of groups) {
      if (group.serves) own.push(group);
      else if (led.has(group.leader)) led.set(group.leader, (led.get(group.leader) ?? 0) + 1);
    }
    for (const [peer, count] of handovers(own.length, led)) this.#hand(own, peer, count);
  }

  /** Hands over the last groups that may go, and takes them out of `own`. */
  #hand(own: GroupReplica[], peer: number, count: number): void {
    const handed: GroupReplica[] = [];
    for (let at = own.length - 1; at >= 0 && handed.length < count; at--) {
      const group = own[at];
      const progress = group?.core.peerStatus(peer);
      if (group === undefined || progress?.recentActive !== true || progress.state !== "replicate") continue;
      if (group.transferLeadership(peer) !== "ok") continue;
      own.splice(at, 1);
      handed.push(group);
    }
    if (handed.length > 0) this.#refusals.handed(peer, handed);
  }

  /** Hands leadership to the other nodes, as far as they can take it. */
  stepDown(): void {
    const stays = this.#stays();
    for (const group of this.#node.groups) {
      if (group.core.role !== "leader") continue;
      const successor = bestSuccessor(group, stays);
      if (successor !== 0) group.transferLeadership(successor);
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

  /** Members that shall stay, of those on record, and that all others hear. */
  #stays(): (nodeId: number) => boolean {
    const membership = this.#node.membership();
    return (nodeId) => this.#node.isInView(nodeId) && (!membership.isOnRecord || (membership.member(nodeId)?.state ?? MemberState.LEAVING) !== MemberState.LEAVING);
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

/** Groups whose new leaders are told one by one, at most. */
const LEADERS_TOLD = 8;

/** A line a group, unless there are many: a node that starts or goes changes all of them. */
export function tellLeaders(nodeId: number, groups: readonly GroupReplica[], log: Log): void {
  if (groups.length > LEADERS_TOLD) {
    const led = groups.filter(({ leader }) => leader === nodeId).length;
    log.info("leaders changed", { groups: groups.length, led_here: led, without_leader: groups.filter(({ leader }) => leader === 0).length });
  } else for (const { groupId, leader, core } of groups) log.info("leader changed", { group: groupId, leader, term: core.term });
}
