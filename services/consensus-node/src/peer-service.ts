// What other nodes call: the stream of frames and the transfer of snapshots.
import { type IdentifyResponse, type InstallSnapshotRequest, RaftPeerServiceService, type StreamRequest } from "@statemesh/contract";
import { type Logger, type ServiceBinding, bidiStream, bindService, clientStream, unary } from "@statemesh/service";

/** Who answers to peers: a node, or one that waits to become one. */
export interface PeerSide {
  stream(): (frame: StreamRequest) => number | undefined;
  receiveSnapshot(parts: AsyncIterable<InstallSnapshotRequest>): Promise<void>;
  identify(): IdentifyResponse;
}

export function peerService(node: PeerSide, log: Logger): ServiceBinding {
  return bindService(RaftPeerServiceService, {
    stream: bidiStream((requests, responses, context) => {
      const take = node.stream();
      requests.onMessage(
        (frame) => {
          const peer = take(frame);
          if (peer === undefined) return;
          log.info({ peer }, "peer connected");
          responses.write({});
        },
        () => responses.end(),
      );
      context.onShutdown(() => responses.end());
    }),
    installSnapshot: clientStream(async (requests) => {
      await node.receiveSnapshot(requests);
      return { installed: true };
    }),
    identify: unary(() => node.identify()),
  });
}
