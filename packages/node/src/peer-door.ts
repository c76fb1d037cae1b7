// What comes in from peers: who is let in, and whose word counts.
import { MeshError, type PeerHello, type StreamRequest } from "@statemesh/contract";

/** The peer protocol that this build speaks. */
export const PROTOCOL_MIN = 1;
export const PROTOCOL_MAX = 1;

export interface DoorOptions {
  readonly nodeId: number;
  readonly clusterId: string;
  readonly groups: number;
  readonly decisionWindow: number;
  readonly leaseReads: boolean;
  readonly members: ReadonlySet<number>;
}

export interface DoorEvents {
  hello(hello: PeerHello): void;
  frame(peer: number, frame: StreamRequest): void;
}

export class PeerDoor {
  readonly #options: DoorOptions;
  readonly #events: DoorEvents;
  #streams = 0;
  readonly #newest = new Map<number, number>();

  constructor(options: DoorOptions, events: DoorEvents) {
    this.#options = options;
    this.#events = events;
  }

  /**
   * A stream that a peer opened. The function takes each frame of it, and answers the peer's node id where the frame was
   * a hello that was accepted. It throws PEER_REFUSED where the peer is not let in.
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
      // What an earlier process of the peer had sent must not be taken for the word of the one that came after it.
      if (this.#newest.get(peer) === stream) this.#events.frame(peer, frame);
      return undefined;
    };
  }

  /** The peer's node id, or PEER_REFUSED. */
  #accept(hello: PeerHello | undefined): number {
    const own = this.#options;
    if (hello === undefined) throw new MeshError("PEER_REFUSED", "the first frame of a peer stream says hello");
    if (hello.clusterId !== own.clusterId) throw new MeshError("PEER_REFUSED", `this node is of cluster ${own.clusterId}, not ${hello.clusterId}`);
    if (hello.protocolMax < PROTOCOL_MIN || hello.protocolMin > PROTOCOL_MAX) {
      throw new MeshError("PEER_REFUSED", `this node speaks peer protocol ${PROTOCOL_MIN}..${PROTOCOL_MAX}, the peer ${hello.protocolMin}..${hello.protocolMax}`);
    }
    if (!own.members.has(hello.nodeId) || hello.nodeId === own.nodeId) throw new MeshError("PEER_REFUSED", `node ${hello.nodeId} is no peer of node ${own.nodeId}`);
    if (hello.groups !== own.groups) throw new MeshError("PEER_REFUSED", `this node has ${own.groups} groups, the peer ${hello.groups}: --groups is the same on every node`);
    if (hello.decisionWindow !== own.decisionWindow) {
      throw new MeshError("PEER_REFUSED", `this node keeps ${own.decisionWindow} decisions, the peer ${hello.decisionWindow}: --decision-window is the same on every node`);
    }
    if (hello.leaseReads !== own.leaseReads) {
      throw new MeshError("PEER_REFUSED", `this node runs ${own.leaseReads ? "with" : "without"} --lease-reads, the peer ${hello.leaseReads ? "with" : "without"}: it is the same on every node`);
    }
    this.#events.hello(hello);
    return hello.nodeId;
  }
}
