import { crc32c } from "@node-rs/crc32";
import { ByteWriter } from "./byte-writer.ts";

/**
 * A frame is what one append and one sync make durable: the records of every batch that was waiting. It
 * has one checksum, so that a crash in the middle of a write, in whatever order sectors reached the disk, leaves
 * one invalid frame at the very end and nothing valid behind it.
 *
 * Layout, little endian: magic u32, CRC-32C u32 over all that follows, payload length u32, segment u32, offset in
 * the segment u32, payload. Segment and offset make a frame valid in one place only: a misdirected write or
 * log bytes inside a payload never pass for a frame.
 */
export const FRAME_HEADER_BYTES = 20;
const MAGIC = 0x4c575353;
const MAGIC_BYTES = Uint8Array.of(0x53, 0x53, 0x57, 0x4c);

/** Collects records for the next frame. */
export class FrameWriter {
  readonly out = new ByteWriter();

  constructor() {
    this.out.skip(FRAME_HEADER_BYTES);
  }

  get length(): number {
    return this.out.length;
  }

  reset(): void {
    this.out.reset(FRAME_HEADER_BYTES);
  }

  /** Takes the records of another frame. */
  repeat(payload: Uint8Array): void {
    this.out.reserve(payload.length);
    this.out.raw(payload);
  }

  /** The finished frame for its place. Valid until the next record. */
  seal(segment: number, offset: number): Uint8Array {
    const { out } = this;
    out.patchU32(0, MAGIC);
    out.patchU32(8, out.length - FRAME_HEADER_BYTES);
    out.patchU32(12, segment);
    out.patchU32(16, offset);
    const { bytes } = out;
    out.patchU32(4, crc32c(bytes.subarray(8)));
    return bytes;
  }
}

/** The end of the valid frame at `offset`, or the reason why there is none. */
export function checkFrame(content: Uint8Array, segment: number, offset: number): number | string {
  if (content.length - offset < FRAME_HEADER_BYTES) return "the frame's header is cut off";
  const view = new DataView(content.buffer, content.byteOffset + offset, FRAME_HEADER_BYTES);
  if (view.getUint32(0, true) !== MAGIC) return "no frame begins here";
  const end = offset + FRAME_HEADER_BYTES + view.getUint32(8, true);
  if (end > content.length) return "the frame is cut off";
  if (crc32c(content.subarray(offset + 8, end)) !== view.getUint32(4, true)) return "the frame's checksum does not match";
  if (view.getUint32(12, true) !== segment || view.getUint32(16, true) !== offset) return "the frame belongs elsewhere";
  return end;
}

/** Where the frame at `offset` would end by its header, valid or not; infinity where there is no such header. */
export function frameEnd(content: Uint8Array, segment: number, offset: number): number {
  if (content.length - offset < FRAME_HEADER_BYTES) return Infinity;
  const view = new DataView(content.buffer, content.byteOffset + offset, FRAME_HEADER_BYTES);
  const isHere = view.getUint32(0, true) === MAGIC && view.getUint32(12, true) === segment && view.getUint32(16, true) === offset;
  return isHere ? offset + FRAME_HEADER_BYTES + view.getUint32(8, true) : Infinity;
}

/** Offset of the first valid frame at or behind `from`; -1 where there is none. */
export function findFrame(content: Uint8Array, segment: number, from: number): number {
  const buffer = Buffer.from(content.buffer, content.byteOffset, content.length);
  for (let at = buffer.indexOf(MAGIC_BYTES, from); at >= 0; at = buffer.indexOf(MAGIC_BYTES, at + 1)) {
    if (typeof checkFrame(content, segment, at) === "number") return at;
  }
  return -1;
}
