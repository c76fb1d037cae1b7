import { MeshError } from "@statemesh/contract";
import type { EventPlace } from "./event-ring.ts";

const FORMAT = 1;
const BYTES = 21;

/** The token of a place: opaque to readers, bound to the cluster, checked against damage (not against malice). */
export function encodeWatchToken({ index, ordinal }: EventPlace, cluster: number): string {
  const bytes = Buffer.alloc(BYTES);
  bytes[0] = FORMAT;
  bytes.writeUInt32LE(cluster, 1);
  bytes.writeBigUInt64LE(BigInt(index), 5);
  bytes.writeUInt32LE(ordinal, 13);
  bytes.writeUInt32LE(checksum(bytes), 17);
  return bytes.toString("base64url");
}

/** The place of a token. Throws INVALID_RESUME_TOKEN where it is damaged or of another cluster. */
export function decodeWatchToken(token: string, cluster: number): EventPlace {
  const bytes = Buffer.from(token.slice(0, 2 * BYTES), "base64url");
  if (bytes.length !== BYTES || bytes.toString("base64url") !== token) throw invalid("not a token");
  if (bytes.readUInt32LE(17) !== checksum(bytes)) throw invalid("damaged");
  if (bytes[0] !== FORMAT) throw invalid("of another version");
  if (bytes.readUInt32LE(1) !== cluster) throw invalid("of another cluster");
  return { index: Number(bytes.readBigUInt64LE(5)), ordinal: bytes.readUInt32LE(13) };
}

function checksum(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < 17; i += 1) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}

function invalid(why: string): MeshError {
  return new MeshError("INVALID_RESUME_TOKEN", `resume_token is ${why}`, { field: "resume_token", metadata: { rule: why } });
}
