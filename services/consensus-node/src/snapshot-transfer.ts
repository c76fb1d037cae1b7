// Snapshots on the wire: chunks with their checksums, written straight to a file on the other side.
import { Metadata } from "@grpc/grpc-js";
import { crc32c } from "@node-rs/crc32";
import { type InstallSnapshotRequest, MeshError, type RaftMessage, type RaftPeerServiceClient, type SnapshotMeta } from "@statemesh/contract";
import type { SnapshotReader, SnapshotStore } from "@statemesh/wal";

/** Bytes of a chunk. */
const CHUNK_BYTES = 512 * 1024;
/** Bytes of chunks that may wait in the stream. */
const WAITING_CHUNKS = 8;
/** A transfer that takes longer is given up; the leader begins another. */
const TRANSFER_TIMEOUT_MS = 120_000;

/** Sends a snapshot. Resolves whether the peer installed it. */
export async function sendSnapshot(client: RaftPeerServiceClient, message: RaftMessage, reader: SnapshotReader): Promise<boolean> {
  const { meta } = reader;
  let call: ReturnType<RaftPeerServiceClient["installSnapshot"]> | undefined;
  const answered = new Promise<boolean>((resolve, reject) => {
    call = client.installSnapshot(new Metadata(), { deadline: Date.now() + TRANSFER_TIMEOUT_MS }, (error, response) => {
      if (error === null) resolve(response.installed);
      else reject(error);
    });
  });
  const stream = call;
  if (stream === undefined) return false;
  // A failed call must end the loop below too, which waits for room in the stream.
  let failed = false;
  answered.catch(() => {
    failed = true;
    stream.emit("drain");
  });
  let offset = 0;
  const header: RaftMessage = { ...message, logIndex: meta.index, logTerm: meta.term };
  for await (const chunk of reader.chunks(CHUNK_BYTES)) {
    const request: InstallSnapshotRequest = {
      header: offset === 0 ? header : undefined,
      meta: offset === 0 ? meta : undefined,
      offset,
      chunk,
      crc32c: crc32c(chunk),
    };
    offset += chunk.length;
    stream.write(request);
    while (!failed && stream.writableLength >= WAITING_CHUNKS) await new Promise<void>((resolve) => stream.once("drain", () => resolve()));
    if (failed) break;
  }
  stream.end();
  return answered;
}

/** Receives a snapshot into the store; resolves once it is whole, checked and durable. */
export async function receiveSnapshot(
  chunks: AsyncIterable<InstallSnapshotRequest>,
  store: SnapshotStore,
): Promise<{ meta: SnapshotMeta; message: RaftMessage }> {
  let meta: SnapshotMeta | undefined;
  let message: RaftMessage | undefined;
  let writer: Awaited<ReturnType<SnapshotStore["create"]>> | undefined;
  let received = 0;
  try {
    for await (const { header, meta: chunkMeta, offset, chunk, crc32c: checksum } of chunks) {
      if (writer === undefined) {
        if (header === undefined || chunkMeta === undefined) throw MeshError.field("meta", "the first chunk says what the snapshot is");
        meta = chunkMeta;
        message = header;
        writer = await store.create(meta);
      }
      if (offset !== received) throw MeshError.field("offset", `must be ${received}`);
      if (crc32c(chunk) !== checksum) throw MeshError.field("crc32c", "does not fit the chunk");
      await writer.write(chunk);
      received += chunk.length;
    }
    if (writer === undefined || meta === undefined || message === undefined) throw MeshError.field("meta", "a snapshot has at least one chunk");
    const whole = writer;
    // From here on the writer cleans up after itself.
    writer = undefined;
    return { meta: await whole.finish(meta), message };
  } catch (error) {
    await writer?.abort();
    throw error;
  }
}
