// What comes in from peers: who is let in, and whose word counts.
import { type InstallSnapshotRequest, MeshError, type PeerHello, type StreamRequest } from "@statemesh/contract";
import { SNAPSHOT_HELLO_VERSION, type VersionRange } from "@statemesh/replica";

export interface DoorOptions {
  readonly nodeId: number;
  readonly clusterId: string;
  readonly groups: number;
  readonly decisionWindow: number;
  readonly leaseReads: boolean;
  /** What this node reads and says. */
  readonly versions: VersionRange;
}

export interface DoorEvents {
  /** The version that the cluster works at, as far as this node knows. */
  clusterVersion(): number;
  /** Why a node is not let in; undefined where it is a member. */
  refuses(nodeId: number): MeshError | undefined;
  hello(hello: PeerHello): void;
  frame(peer: number, frame: StreamRequest): void;
}

export class PeerDoor {
  readonly #options: DoorOptions;
  readonly #events: DoorEvents;
  #streams = 0;
  readonly #newest = new Map<number, number>();
  /** The highest version that each peer speaks, as it said itself on its last stream. */
  readonly #speaks = new Map<number, number>();

  constructor(options: DoorOptions, events: DoorEvents) {
    this.#options = options;
    this.#events = events;
  }

  /**
   * A stream that a peer opened. The function takes each frame of it, and answers the peer's node id where the frame was
   * a hello that was accepted. It throws PEER_REFUSED where the peer is not let in, or another stream of it came meanwhile.
   */
  stream(): (frame: StreamRequest) => number | undefined {
    const stream = ++this.#streams;
    let peer = 0;
    return (frame) => {
      if (peer === 0) {
        peer = this.#accept(frame.hello);
        this.#newest.set(peer, stream);
        return peer;
      }
      const refusal = this.#events.refuses(peer);
      if (refusal !== undefined) throw refusal;
      // What an earlier process of the peer had sent must not be taken for the word of the one that came after it. But a connection that
      // was long on its way may come after the one that the peer speaks on: so whoever is not listened to is told, and comes again.
      if (this.#newest.get(peer) !== stream) throw new MeshError("PEER_REFUSED", `a later stream of node ${peer} took the place of this one`);
      this.#events.frame(peer, frame);
      return undefined;
    };
  }

  /**
   * The first part of a snapshot: throws PEER_REFUSED where it comes from nobody who is let in, or is for another node. A build from
   * before version 3 does not say who it is: it must have been let in on a stream, by which it is known to be one.
   */
  checkSender({ header, hello }: InstallSnapshotRequest): void {
    const { nodeId } = this.#options;
    const from = header?.from ?? 0;
    if (header !== undefined && header.to !== nodeId) throw new MeshError("PEER_REFUSED", `this is node ${nodeId}, not node ${header.to}`);
    if (hello !== undefined) {
      if (hello.nodeId !== from) throw new MeshError("PEER_REFUSED", `node ${hello.nodeId} sends a snapshot as node ${from}`);
      return this.#check(hello);
    }
    if ((this.#speaks.get(from) ?? SNAPSHOT_HELLO_VERSION) >= SNAPSHOT_HELLO_VERSION) throw new MeshError("PEER_REFUSED", "the first part of a snapshot says hello");
    const refusal = this.#events.refuses(from);
    if (refusal !== undefined) throw refusal;
  }

  /** The peer's node id, or PEER_REFUSED. */
  #accept(hello: PeerHello | undefined): number {
    if (hello === undefined) throw new MeshError("PEER_REFUSED", "the first frame of a peer stream says hello");
    this.#check(hello);
    this.#speaks.set(hello.nodeId, hello.protocolMax);
    this.#events.hello(hello);
    return hello.nodeId;
  }

  #check(hello: PeerHello): void {
    const own = this.#options;
    checkKinship(hello, own);
    const version = this.#events.clusterVersion();
    if (hello.protocolMax < version) {
      throw new MeshError("PEER_REFUSED", `the cluster works at version ${version}, and the peer speaks up to ${hello.protocolMax}: start it with a build that is as new as those of the other nodes`);
    }
    if (hello.toNodeId !== 0 && hello.toNodeId !== own.nodeId) throw new MeshError("PEER_REFUSED", `this is node ${own.nodeId}, not node ${hello.toNodeId}`);
    const refusal = hello.nodeId === own.nodeId ? new MeshError("PEER_REFUSED", `node ${hello.nodeId} is no peer of itself: another process has its id`) : this.#events.refuses(hello.nodeId);
    if (refusal !== undefined) throw refusal;
  }
}

/** What all nodes of a cluster have in common. Throws PEER_REFUSED where the peer differs. */
export function checkKinship(hello: PeerHello, own: Omit<DoorOptions, "nodeId">): void {
  const { versions } = own;
  if (hello.clusterId !== own.clusterId) throw new MeshError("PEER_REFUSED", `this node is of cluster ${own.clusterId}, not ${hello.clusterId}`);
  if (hello.protocolMax < versions.min || Math.max(hello.protocolMin, hello.clusterVersion) > versions.max) {
    throw new MeshError("PEER_REFUSED", `this node speaks versions ${versions.min} to ${versions.max}, the peer ${Math.max(hello.protocolMin, hello.clusterVersion)} to ${hello.protocolMax}`);
  }
  if (hello.groups !== own.groups) throw new MeshError("PEER_REFUSED", `this node has ${own.groups} groups, the peer ${hello.groups}: --groups is the same on every node`);
  if (hello.decisionWindow !== own.decisionWindow) {
    throw new MeshError("PEER_REFUSED", `this node keeps ${own.decisionWindow} decisions, the peer ${hello.decisionWindow}: --decision-window is the same on every node`);
  }
  if (hello.leaseReads !== own.leaseReads) {
    throw new MeshError("PEER_REFUSED", `this node runs ${own.leaseReads ? "with" : "without"} --lease-reads, the peer ${hello.leaseReads ? "with" : "without"}: it is the same on every node`);
  }
}
