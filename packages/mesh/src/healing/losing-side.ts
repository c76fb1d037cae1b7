// Whether this node is cut off from those who decide. The answer is this node's own view: it only decides how callers are
// answered here, never what is true. Where members commit views, theirs can stand behind the same port.
import { MeshError } from "@statemesh/contract";
import { quorumOf } from "@statemesh/raft";
import type { GroupReplica } from "../strong/group-replica.ts";

/** A partition as a node on its losing side sees it. */
export interface LosingSide {
  /** The members that this node hears of, itself included, ascending. */
  readonly nodes: readonly number[];
  /** How many have a vote in the group. */
  readonly voters: number;
  /** Epoch of the last committed view; 0: not known. */
  readonly viewEpoch: number;
  /** Since when this node has heard of no leader, wall milliseconds. */
  readonly beganMs: number;
}

export interface PartitionView {
  /** Undefined while the group has a leader that this node hears of, or could elect one. */
  losingSide(groupId: number): LosingSide | undefined;
}

export interface QuorumContactNode {
  readonly nodeId: number;
  readonly groups: readonly GroupReplica[];
  wallMs(): number;
  /** Epoch of the view that this node knows. */
  viewEpoch(): number;
  /** Ticks since anything came from a peer; infinity: it is not known. */
  silentTicks(peer: number): number;
}

/** Words and milliseconds to wait, for callers that are refused. */
const RETRY_MS = 500;

/**
 * The port from what this node alone hears. Counted in ticks, so that a process which was held up does not take its own
 * silence for that of all others.
 */
export class QuorumContact implements PartitionView {
  readonly #node: QuorumContactNode;
  readonly #suspicionTicks: number;
  /** Groups whose leader is not heard of, and since when. */
  readonly #lostMs = new Map<number, number>();

  /** @param suspicionTicks Ticks without word of a node after which it counts as cut off. */
  constructor(node: QuorumContactNode, suspicionTicks: number) {
    this.#node = node;
    this.#suspicionTicks = suspicionTicks;
  }

  tick(): void {
    for (const group of this.#node.groups) {
      const { groupId } = group;
      if (this.#isHeard(group.core.leader)) this.#lostMs.delete(groupId);
      else if (!this.#lostMs.has(groupId)) this.#lostMs.set(groupId, this.#node.wallMs());
    }
  }

  losingSide(groupId: number): LosingSide | undefined {
    const beganMs = this.#lostMs.get(groupId);
    const core = this.#node.groups[groupId]?.core;
    if (beganMs === undefined || core === undefined || this.#isHeard(core.leader)) return undefined;
    const { configuration } = core;
    const { voters } = configuration;
    // A node that is no member yet knows of no side.
    if (voters.length === 0 || quorumOf("weighted", configuration).decides((voter) => this.#isHeard(voter))) return undefined;
    const heard = [...new Set([...voters, ...configuration.outgoing, ...configuration.learners, this.#node.nodeId])].filter((nodeId) => this.#isHeard(nodeId));
    return { nodes: heard.sort((a, b) => a - b), voters: voters.length, viewEpoch: this.#node.viewEpoch(), beganMs };
  }

  #isHeard(nodeId: number): boolean {
    return nodeId !== 0 && (nodeId === this.#node.nodeId || this.#node.silentTicks(nodeId) < this.#suspicionTicks);
  }
}

/** Why a strong call is refused here at once. `notKept`: why it was not kept either, where the caller allows that. */
export function minorityPartition(groupId: number, side: LosingSide, notKept = ""): MeshError {
  const { nodes, voters, viewEpoch } = side;
  const why = notKept === "" ? "" : `; it is not kept for later: ${notKept}`;
  return new MeshError("MINORITY_PARTITION", `this node hears of ${nodes.length} of ${voters} nodes of group ${groupId}, which is too few to decide${why}`, {
    metadata: {
      group_id: String(groupId),
      side_size: String(nodes.length),
      side_nodes: nodes.join(),
      voters: String(voters),
      ...(viewEpoch === 0 ? {} : { view_epoch: String(viewEpoch) }),
      ...(notKept === "" ? {} : { not_kept: notKept }),
    },
    retryDelayMs: RETRY_MS,
  });
}
