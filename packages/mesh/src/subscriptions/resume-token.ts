import { MeshError, type Region, type VectorClock } from "@statemesh/contract";
import { isRegion } from "@statemesh/world";

/** Up to where a reader has a group's changes. */
export interface GroupCursor {
  readonly groupId: number;
  readonly term: number;
  readonly index: number;
  /** How many of the changes at `index` it has; 0: all. */
  readonly partial: number;
}

/** Where a stream goes on. */
export interface ResumePoint {
  /** Hash of regions and classes: positions say nothing about other ones. */
  readonly scope: number;
  /** When the token was made, milliseconds since the Unix epoch. */
  readonly issuedMs: number;
  /** Where the reader stands; in the middle of a snapshot where that stands, and the scope is no scope. */
  readonly cursors: readonly GroupCursor[];
  readonly causal: VectorClock;
  /** What the reader was told of, where it may move; else undefined: the scope says it. */
  readonly regions: readonly Region[] | undefined;
  /** What it was told of in part, beside those. */
  readonly partial: readonly Region[];
}

const FORMAT = 1;
/** With regions. */
const FORMAT_OF_AREAS = 2;
const HEADER_BYTES = 9;
const VARINT_BYTES_MAX = 8;

/** The token of a point: opaque to readers, bound to the cluster, checked against damage (not against malice). */
export function encodeResumeToken(point: ResumePoint, cluster: number): string {
  const numbers = 5 + point.cursors.length * 4 + point.causal.entries.length * 2 + ((point.regions?.length ?? 0) + point.partial.length) * 3;
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + numbers * VARINT_BYTES_MAX + 4);
  bytes[0] = point.regions === undefined ? FORMAT : FORMAT_OF_AREAS;
  bytes.writeUInt32LE(cluster, 1);
  bytes.writeUInt32LE(point.scope, 5);
  let at = putNumber(bytes, HEADER_BYTES, point.issuedMs);
  at = putNumber(bytes, at, point.cursors.length);
  for (const { groupId, term, index, partial } of point.cursors) {
    at = putNumber(bytes, at, groupId);
    at = putNumber(bytes, at, term);
    at = putNumber(bytes, at, index);
    at = putNumber(bytes, at, partial);
  }
  at = putNumber(bytes, at, point.causal.entries.length);
  for (const { origin, sequence } of point.causal.entries) {
    at = putNumber(bytes, at, origin);
    at = putNumber(bytes, at, sequence);
  }
  for (const regions of point.regions === undefined ? [] : [point.regions, point.partial]) {
    at = putNumber(bytes, at, regions.length);
    for (const { x, y, z } of regions) for (const coordinate of [x, y, z]) at = putNumber(bytes, at, coordinate < 0 ? -2 * coordinate - 1 : 2 * coordinate);
  }
  bytes.writeUInt32LE(checksum(bytes, at), at);
  return bytes.toString("base64url", 0, at + 4);
}

/** The point of a token. Throws INVALID_RESUME_TOKEN where it is damaged or of another cluster. */
export function decodeResumeToken(token: string, cluster: number, maxLength: number): ResumePoint {
  if (token.length > maxLength) throw invalid(`longer than ${maxLength} characters`);
  const bytes = Buffer.from(token, "base64url");
  if (bytes.toString("base64url") !== token || bytes.length < HEADER_BYTES + 4) throw invalid("not a token");
  const end = bytes.length - 4;
  if (bytes.readUInt32LE(end) !== checksum(bytes, end)) throw invalid("damaged");
  const [format] = bytes;
  if (format !== FORMAT && format !== FORMAT_OF_AREAS) throw invalid("of another version");
  if (bytes.readUInt32LE(1) !== cluster) throw invalid("of another cluster");
  const reader = new NumberReader(bytes, HEADER_BYTES, end);
  const issuedMs = reader.next();
  const cursors: GroupCursor[] = [];
  for (let left = reader.next(); left > 0; left -= 1) {
    cursors.push({ groupId: reader.next(), term: reader.next(), index: reader.next(), partial: reader.next() });
  }
  const causal: VectorClock = { entries: [] };
  for (let left = reader.next(); left > 0; left -= 1) causal.entries.push({ origin: reader.next(), sequence: reader.next() });
  const regions = format === FORMAT_OF_AREAS ? readRegions(reader) : undefined;
  const partial = format === FORMAT_OF_AREAS ? readRegions(reader) : [];
  if (!reader.atEnd) throw invalid("damaged");
  return { scope: bytes.readUInt32LE(5), issuedMs, cursors, causal, regions, partial };
}

/** FNV-1a over a text: what binds a token to its cluster. */
export function hashOfCluster(clusterId: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < clusterId.length; i += 1) hash = Math.imul(hash ^ clusterId.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

function checksum(bytes: Uint8Array, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < end; i += 1) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/** Seven bits a byte, low ones first; 0..2^53-1. */
function putNumber(bytes: Uint8Array, start: number, value: number): number {
  let at = start;
  let rest = value;
  while (rest >= 0x80) {
    bytes[at] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
    at += 1;
  }
  bytes[at] = rest;
  return at + 1;
}

function readRegions(reader: NumberReader): Region[] {
  const regions: Region[] = [];
  for (let left = reader.next(); left > 0; left -= 1) regions.push({ x: reader.coordinate(), y: reader.coordinate(), z: reader.coordinate() });
  if (!regions.every(isRegion)) throw invalid("damaged");
  return regions;
}

class NumberReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get atEnd(): boolean {
    return this.#at === this.#end;
  }

  /** Zigzag. */
  coordinate(): number {
    const number = this.next();
    return number % 2 === 0 ? number / 2 : -(number + 1) / 2;
  }

  next(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < VARINT_BYTES_MAX && this.#at < this.#end; i += 1) {
      const byte = this.#bytes[this.#at] as number;
      this.#at += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) throw invalid("damaged");
        return value;
      }
      scale *= 0x80;
    }
    throw invalid("damaged");
  }
}

function invalid(why: string): MeshError {
  return new MeshError("INVALID_RESUME_TOKEN", `resume_token is ${why}`, { field: "resume_token", metadata: { rule: why } });
}
