// The way to a peer over gRPC.
import { Metadata, type ServiceError } from "@grpc/grpc-js";
import { type InstallSnapshotRequest, RaftPeerServiceClient, meshErrorFromServiceError } from "@statemesh/contract";
import type { PeerStream, PeerStreamEvents, PeerTransport } from "@statemesh/node";
import { connect } from "@statemesh/service";

/** Parts of a snapshot that may wait in its stream. */
const WAITING_PARTS = 8;
/** A transfer of which so long nothing moves is given up; another is begun. The last part is answered when the state is loaded and durable. */
const STALL_MS = 60_000;
const LAST_PART_MS = 120_000;
const RECONNECT_MAX_MS = 1_000;

export class GrpcPeer implements PeerTransport {
  readonly address: string;
  readonly #client: RaftPeerServiceClient;

  constructor(address: string) {
    this.address = address;
    this.#client = connect(RaftPeerServiceClient, address, { ownConnection: true, keepaliveMs: 2_000, reconnectMaxMs: RECONNECT_MAX_MS });
  }

  open(events: PeerStreamEvents): PeerStream {
    const stream = this.#client.stream();
    stream.on("data", () => events.message());
    let isOpen = true;
    const closed = (reason: string, refused: boolean, removed = false): void => {
      if (!isOpen) return;
      isOpen = false;
      events.closed(reason, refused, removed);
    };
    stream.on("error", (error: ServiceError) => {
      const { reason } = meshErrorFromServiceError(error, { writes: false });
      const removed = reason === "MEMBER_REMOVED";
      const refused = removed || reason === "PEER_REFUSED";
      closed(refused ? error.details : error.message, refused, removed);
    });
    stream.on("end", () => closed("closed by the peer", false));
    return {
      write: (frame) => stream.write(frame),
      get waiting() {
        return stream.writableLength;
      },
      cancel: () => stream.cancel(),
      end: () => stream.end(),
    };
  }

  async installSnapshot(parts: AsyncIterable<InstallSnapshotRequest>): Promise<boolean> {
    let call: ReturnType<RaftPeerServiceClient["installSnapshot"]> | undefined;
    const answered = new Promise<boolean>((resolve, reject) => {
      call = this.#client.installSnapshot(new Metadata(), {}, (error, response) => {
        if (error === null) resolve(response.installed);
        else reject(error);
      });
    });
    const stream = call;
    if (stream === undefined) return false;
    // A failed call must end the loop below too, which waits for room in the stream.
    let failed = false;
    let patience = setTimeout(() => stream.cancel(), STALL_MS);
    answered.catch(() => {
      failed = true;
      stream.emit("drain");
    });
    try {
      for await (const part of parts) {
        stream.write(part);
        patience.refresh();
        while (!failed && stream.writableLength >= WAITING_PARTS) await new Promise<void>((resolve) => stream.once("drain", () => resolve()));
        if (failed) break;
      }
    } catch (error) {
      // The file went or is damaged: the peer must not wait for the rest.
      clearTimeout(patience);
      stream.cancel();
      throw error;
    }
    clearTimeout(patience);
    stream.end();
    patience = setTimeout(() => stream.cancel(), LAST_PART_MS);
    return answered.finally(() => clearTimeout(patience));
  }

  close(): void {
    this.#client.close();
  }
}
