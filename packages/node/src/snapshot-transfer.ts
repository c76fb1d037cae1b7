// Snapshots on the wire: chunks with their checksums, written straight to a file on the other side.
import { crc32c } from "@node-rs/crc32";
import { type InstallSnapshotRequest, MeshError, type RaftMessage, type SnapshotMeta } from "@statemesh/contract";
import { type GroupState, type GroupStateOptions, SnapshotLoader } from "@statemesh/replica";
import { CorruptionError, type SnapshotReader, type SnapshotStore } from "@statemesh/wal";

/** Bytes of a chunk. */
const CHUNK_BYTES = 512 * 1024;
/** The parts of a snapshot, in order, as they go to a peer; `message` is the Raft message that it stands for. */
export async function* snapshotParts(message: RaftMessage, reader: SnapshotReader): AsyncGenerator<InstallSnapshotRequest, void, undefined> {
  const { meta } = reader;
  const header: RaftMessage = { ...message, logIndex: meta.index, logTerm: meta.term };
  let offset = 0;
  for await (const chunk of reader.chunks(CHUNK_BYTES)) {
    yield { header: offset === 0 ? header : undefined, meta: offset === 0 ? meta : undefined, offset, chunk, crc32c: crc32c(chunk), hello: undefined };
    offset += chunk.length;
  }
}

/** A snapshot as it came, and the state that it holds. */
export interface ReceivedSnapshot {
  readonly meta: SnapshotMeta;
  readonly message: RaftMessage;
  readonly state: GroupState;
}

/**
 * Receives a snapshot into the store; resolves once it is whole, checked and durable. What is not the state of one of
 * this node's groups is refused with INVALID_FIELD, and nothing of it is kept.
 *
 * @param admit throws where nothing is taken from the sender, by the first part
 */
export async function receiveSnapshot(
  chunks: AsyncIterable<InstallSnapshotRequest>,
  admit: (first: InstallSnapshotRequest) => void,
  store: SnapshotStore,
  groups: number,
  stateOptions: (groupId: number) => GroupStateOptions,
): Promise<ReceivedSnapshot> {
  let meta: SnapshotMeta | undefined;
  let message: RaftMessage | undefined;
  let loader: SnapshotLoader | undefined;
  let writer: Awaited<ReturnType<SnapshotStore["create"]>> | undefined;
  let received = 0;
  try {
    for await (const part of chunks) {
      const { header, meta: chunkMeta, offset, chunk, crc32c: checksum } = part;
      if (writer === undefined) {
        admit(part);
        if (header === undefined || chunkMeta === undefined) throw MeshError.field("meta", "the first chunk says what the snapshot is");
        checkHeading(header, chunkMeta, groups);
        meta = chunkMeta;
        message = header;
        loader = new SnapshotLoader(stateOptions(meta.groupId));
        writer = await store.create(meta);
      }
      if (offset !== received) throw MeshError.field("offset", `must be ${received}`);
      if (crc32c(chunk) !== checksum) throw MeshError.field("crc32c", "does not fit the chunk");
      if (loader !== undefined) load(loader, chunk);
      await writer.write(chunk);
      received += chunk.length;
    }
    if (writer === undefined || meta === undefined || message === undefined || loader === undefined) throw MeshError.field("meta", "a snapshot has at least one chunk");
    if (received !== meta.size) throw MeshError.field("meta.size", `${received} bytes came`);
    const state = finish(loader);
    const whole = writer;
    // From here on the writer cleans up after itself.
    writer = undefined;
    return { meta: await whole.finish(meta), message, state };
  } catch (error) {
    await writer?.abort();
    if (error instanceof CorruptionError) throw MeshError.field("meta.crc32c", error.reason);
    throw error;
  }
}

function checkHeading(header: RaftMessage, meta: SnapshotMeta, groups: number): void {
  if (meta.groupId > groups) throw MeshError.field("meta.group_id", `must be in 0..${groups}`);
  if (header.groupId !== meta.groupId) throw MeshError.field("header.group_id", "must be that of the snapshot");
  if (header.logIndex !== meta.index) throw MeshError.field("header.log_index", "must be that of the snapshot");
  if (header.logTerm !== meta.term) throw MeshError.field("header.log_term", "must be that of the snapshot");
}

function load(loader: SnapshotLoader, chunk: Uint8Array): void {
  try {
    loader.push(chunk);
  } catch (error) {
    throw notAState(error);
  }
}

function finish(loader: SnapshotLoader): GroupState {
  try {
    return loader.finish();
  } catch (error) {
    throw notAState(error);
  }
}

function notAState(error: unknown): MeshError {
  return MeshError.field("chunk", `is not the state of a group: ${error instanceof Error ? error.message : "it cannot be read"}`);
}
