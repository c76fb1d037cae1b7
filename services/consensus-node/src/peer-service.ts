// What other nodes call: the stream of frames and the transfer of snapshots.
import { RaftPeerServiceService } from "@statemesh/contract";
import type { NodeRuntime } from "@statemesh/node";
import { type Logger, type ServiceBinding, bidiStream, bindService, clientStream } from "@statemesh/service";

export function peerService(node: Pick<NodeRuntime, "door" | "receiveSnapshot">, log: Logger): ServiceBinding {
  return bindService(RaftPeerServiceService, {
    stream: bidiStream((requests, responses, context) => {
      const take = node.door.stream();
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
  });
}
