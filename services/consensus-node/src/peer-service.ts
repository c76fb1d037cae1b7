// What other nodes call: the stream of frames and the transfer of snapshots.
import { type InstallSnapshotRequest, MeshError, type PeerHello, RaftPeerServiceService, type StreamRequest } from "@statemesh/contract";
import { type Logger, type ServiceBinding, bidiStream, bindService, clientStream } from "@statemesh/service";

/** The peer protocol that this build speaks. */
export const PROTOCOL_MIN = 1;
export const PROTOCOL_MAX = 1;

export interface PeerServiceNode {
  readonly nodeId: number;
  readonly clusterId: string;
  readonly groups: number;
  readonly decisionWindow: number;
  readonly leaseReads: boolean;
  readonly members: ReadonlySet<number>;
  onHello(hello: PeerHello): void;
  onFrame(peer: number, frame: StreamRequest): void;
  receiveSnapshot(chunks: AsyncIterable<InstallSnapshotRequest>): Promise<boolean>;
}

export function peerService(node: PeerServiceNode, log: Logger): ServiceBinding {
  let streams = 0;
  const newest = new Map<number, number>();
  return bindService(RaftPeerServiceService, {
    stream: bidiStream((requests, responses, context) => {
      let peer = 0;
      const stream = ++streams;
      requests.onMessage(
        (frame) => {
          if (peer === 0) {
            peer = accept(node, frame.hello);
            newest.set(peer, stream);
            log.info({ peer }, "peer connected");
            responses.write({});
            return;
          }
          // What an earlier process of the peer had sent must not be taken for the word of the one that came after it.
          if (newest.get(peer) === stream) node.onFrame(peer, frame);
        },
        () => responses.end(),
      );
      context.onShutdown(() => responses.end());
    }),
    installSnapshot: clientStream(async (requests) => ({ installed: await node.receiveSnapshot(requests) })),
  });
}

/** The peer's node id, or PEER_REFUSED. */
function accept(node: PeerServiceNode, hello: PeerHello | undefined): number {
  if (hello === undefined) throw new MeshError("PEER_REFUSED", "the first frame of a peer stream says hello");
  if (hello.clusterId !== node.clusterId) throw new MeshError("PEER_REFUSED", `this node is of cluster ${node.clusterId}, not ${hello.clusterId}`);
  if (hello.protocolMax < PROTOCOL_MIN || hello.protocolMin > PROTOCOL_MAX) {
    throw new MeshError("PEER_REFUSED", `this node speaks peer protocol ${PROTOCOL_MIN}..${PROTOCOL_MAX}, the peer ${hello.protocolMin}..${hello.protocolMax}`);
  }
  if (!node.members.has(hello.nodeId) || hello.nodeId === node.nodeId) throw new MeshError("PEER_REFUSED", `node ${hello.nodeId} is no peer of node ${node.nodeId}`);
  if (hello.groups !== node.groups) throw new MeshError("PEER_REFUSED", `this node has ${node.groups} groups, the peer ${hello.groups}: --groups is the same on every node`);
  if (hello.decisionWindow !== node.decisionWindow) {
    throw new MeshError("PEER_REFUSED", `this node keeps ${node.decisionWindow} decisions, the peer ${hello.decisionWindow}: --decision-window is the same on every node`);
  }
  if (hello.leaseReads !== node.leaseReads) {
    throw new MeshError("PEER_REFUSED", `this node runs ${node.leaseReads ? "with" : "without"} --lease-reads, the peer ${hello.leaseReads ? "with" : "without"}: it is the same on every node`);
  }
  node.onHello(hello);
  return hello.nodeId;
}
