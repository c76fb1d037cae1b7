import type { SnapshotMeta } from "@statemesh/contract";
import type { ByteReader } from "./byte-reader.ts";
import type { ByteWriter } from "./byte-writer.ts";

/** Bytes of `meta` in the stores' layout. */
export function snapshotMetaBytes(meta: SnapshotMeta): number {
  return 4 + 8 + 8 + 8 + 4 + 2 + 2 + 4 * (meta.voters.length + meta.learners.length);
}

export function writeSnapshotMeta(out: ByteWriter, meta: SnapshotMeta): void {
  out.u32(meta.groupId);
  out.u64(meta.index);
  out.u64(meta.term);
  out.u64(meta.size);
  out.u32(meta.crc32c);
  out.u16(meta.voters.length);
  out.u16(meta.learners.length);
  for (const voter of meta.voters) out.u32(voter);
  for (const learner of meta.learners) out.u32(learner);
}

export function readSnapshotMeta(from: ByteReader): SnapshotMeta {
  const groupId = from.u32();
  const index = from.u64();
  const term = from.u64();
  const size = from.u64();
  const crc32c = from.u32();
  const voterCount = from.u16();
  const learnerCount = from.u16();
  const voters: number[] = [];
  for (let n = 0; n < voterCount; n++) voters.push(from.u32());
  const learners: number[] = [];
  for (let n = 0; n < learnerCount; n++) learners.push(from.u32());
  return { groupId, index, term, voters, learners, size, crc32c };
}
