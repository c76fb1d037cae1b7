// What a node does while it is cut off from those who decide, and afterwards: it knows that it is, keeps what it may, and sees it healed.
import type { Operation, TentativeFrame, TentativeOperation } from "@statemesh/contract";
import type { Membership, PendingOperation } from "@statemesh/replica";
import type { Host } from "../host.ts";
import type { NodeOptions } from "../node-options.ts";
import type { Waiter } from "../strong/decision-queue.ts";
import type { GroupReplica } from "../strong/group-replica.ts";
import { timesOf } from "../views/view-keeper.ts";
import { type LosingSide, type PartitionView, QuorumContact } from "./losing-side.ts";
import { TentativeKeeper } from "./tentative-keeper.ts";

/** What this needs of its node. */
export interface CutOffNode {
  readonly nodeId: number;
  readonly options: NodeOptions;
  readonly host: Host;
  readonly groups: readonly GroupReplica[];
  readonly membership: Membership;
  dirty(): void;
}

export interface CutOffPeers {
  /** Peers that can be reached. */
  readonly connected: ReadonlySet<number>;
  /** Ticks since anything came from a peer; infinity: it is not known. */
  silentTicks(peer: number): number;
  /** Epoch of the view in force; 0: none. */
  viewEpoch(): number;
  /** `bytes`: about what the frame takes. */
  send(peer: number, frame: TentativeFrame, bytes: number): void;
}

export class CutOff {
  readonly #contact: QuorumContact;
  readonly partition: PartitionView;
  readonly tentative: TentativeKeeper;
  /** For the edge and the relay. */
  readonly answers: {
    losingSide(groupId: number): LosingSide | undefined;
    answerKept(operation: Operation, waiter: Waiter): boolean;
    keep(groupId: number, pending: PendingOperation, side: LosingSide, waiter: Waiter): void;
  };

  /** @param kept What the node's disk holds. */
  constructor(node: CutOffNode, kept: readonly TentativeOperation[], peers: CutOffPeers) {
    const { nodeId, options, host, groups } = node;
    const suspicionTicks = options.suspicionTicks ?? Math.max(Math.ceil(timesOf(options).suspicionMs / options.tickMs), 5 * options.heartbeatTicks);
    this.#contact = new QuorumContact({ nodeId, groups, wallMs: () => host.clock.wallMs(), silentTicks: (peer) => peers.silentTicks(peer), viewEpoch: () => peers.viewEpoch() }, suspicionTicks);
    this.partition = this.#contact;
    const losingSide = (groupId: number): LosingSide | undefined => this.partition.losingSide(groupId);
    const keeping = {
      nodeId, groups, host, losingSide,
      policy: options.policy,
      clusterVersion: () => node.membership.version,
      connected: () => peers.connected,
      sendTentative: (peer: number, frame: TentativeFrame, bytes: number) => {
        peers.send(peer, frame, bytes);
        node.dirty();
      },
      dirty: () => node.dirty(),
    };
    this.tentative = new TentativeKeeper(keeping, options.incarnation, kept);
    this.answers = {
      losingSide,
      answerKept: (operation, waiter) => this.tentative.answerTo(operation, waiter, false),
      keep: (groupId, pending, side, waiter) => this.tentative.keep(groupId, pending, side, waiter),
    };
  }

  tick(): void {
    this.#contact.tick();
    this.tentative.tick();
  }
}
