// Kept operations on their way between nodes, cut so that a frame stays small.
import type { TentativeFrame, TentativeOperation, TentativeSet } from "@statemesh/contract";
import { operationBytes } from "../strong/decision-queue.ts";

/** Operations and bytes of one part, at most; one operation may go beyond the bytes. */
const PART_OPERATIONS = 512;
const PART_BYTES = 524_288;
/** About what a part takes besides its operations. */
const PART_HEAD_BYTES = 64;

export interface TentativeSender {
  /** Peers that can be reached. */
  connected(): Iterable<number>;
  /** `bytes`: about what the frame takes. */
  sendTentative(peer: number, frame: TentativeFrame, bytes: number): void;
}

/** In parts, at least one, the last one marked. */
export function* setsOf(operations: readonly TentativeOperation[], round: number): Generator<{ set: TentativeSet; bytes: number }> {
  let part: TentativeOperation[] = [];
  let bytes = PART_HEAD_BYTES;
  for (const record of operations) {
    const size = record.operation === undefined ? 0 : operationBytes({ operation: record.operation });
    if (part.length > 0 && (part.length >= PART_OPERATIONS || bytes + size > PART_BYTES)) {
      yield { set: { round, operations: part, last: false }, bytes };
      part = [];
      bytes = PART_HEAD_BYTES;
    }
    part.push(record);
    bytes += size;
  }
  yield { set: { round, operations: part, last: true }, bytes };
}
