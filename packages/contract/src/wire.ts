// The reader and writer of generated code (`./dev generate` points it here). They do what those of @bufbuild/protobuf
// do, but hold 64-bit integers as numbers, and allocate once a message: a call carries one small message mostly, and
// there BigInt, DataView and growing buffers cost several times more than the bytes.

import { isUtf8 } from "node:buffer";

/** No bytes: what a field of bytes is before it is read. */
export const NO_BYTES: Uint8Array = new Uint8Array(0);

const TWO_32 = 0x1_0000_0000;
const EOF = "the message ends in the middle of a field";
/** Up to this many bytes the engine's own loop is faster than the decoder. */
const SHORT_STRING = 24;
/** Short strings that are remembered, at most 5 MB of them; a power of two. */
const RECENT_STRINGS = 65_536;
/** By their hash; of two that share a place the later one. */
const recent: (string | undefined)[] = new Array<string | undefined>(RECENT_STRINGS).fill(undefined);
/** Groups and skipped fields nest at most this deep. */
const SKIP_DEPTH_MAX = 100;

/** Reads wire format. Integers beyond 2^53-1 are an error, never rounded. Throws on bytes that are no message. */
export class BinaryReader {
  readonly #bytes: Buffer;
  /** Length of the whole input in bytes. */
  readonly len: number;
  pos = 0;
  #low = 0;
  #high = 0;
  /** Depth of nested messages; kept by generated code. */
  __tsProtoDecodeDepth = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.len = bytes.length;
  }

  /** A uint32 varint; of a longer one the low 32 bits. Tags too. */
  uint32(): number {
    const bytes = this.#bytes;
    let at = this.pos;
    let byte = bytes[at++] ?? this.#ended();
    let value = byte & 0x7f;
    for (let shift = 7; byte >= 0x80; shift += 7) {
      if (shift > 63) throw new RangeError("a varint is longer than ten bytes");
      byte = bytes[at++] ?? this.#ended();
      if (shift < 32) value |= (byte & 0x7f) << shift;
    }
    this.pos = at;
    return value >>> 0;
  }

  int32(): number {
    return this.uint32() | 0;
  }

  /** Zigzag. */
  sint32(): number {
    const zigzag = this.uint32();
    return (zigzag >>> 1) ^ -(zigzag & 1);
  }

  bool(): boolean {
    this.#varint64();
    return this.#low !== 0 || this.#high !== 0;
  }

  uint64Number(): number {
    this.#varint64();
    return safe((this.#high >>> 0) * TWO_32 + (this.#low >>> 0));
  }

  int64Number(): number {
    this.#varint64();
    return safe((this.#high | 0) * TWO_32 + (this.#low >>> 0));
  }

  fixed32(): number {
    return this.#bytes.readUInt32LE(this.#take(4));
  }

  fixed64Number(): number {
    const at = this.#take(8);
    return safe(this.#bytes.readUInt32LE(at + 4) * TWO_32 + this.#bytes.readUInt32LE(at));
  }

  double(): number {
    return this.#bytes.readDoubleLE(this.#take(8));
  }

  /** A view of the input, not a copy. */
  bytes(): Buffer {
    const length = this.uint32();
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** Throws where the bytes are no UTF-8: put in its place, U+FFFD would make one id of two. */
  string(): string {
    const length = this.uint32();
    if (length === 0) return "";
    const at = this.#take(length);
    return (length <= SHORT_STRING ? this.#short(at, length) : undefined) ?? this.#utf8(at, at + length);
  }

  #utf8(start: number, end: number): string {
    const text = this.#bytes.toString("utf8", start, end);
    // That character may be meant.
    if (text.includes("\uFFFD") && !isUtf8(this.#bytes.subarray(start, end))) throw new Error("a text is not UTF-8");
    return text;
  }

  /** A short string: the same one as lately where it is equal. Types and keys come again and again, and a map finds the same string sooner than an equal one. */
  #short(start: number, length: number): string | undefined {
    const bytes = this.#bytes;
    let hash = length;
    for (let index = start; index < start + length; index++) hash = Math.imul(hash ^ (bytes[index] ?? 0), 0x01000193);
    const slot = (hash ^ (hash >>> 15)) & (RECENT_STRINGS - 1);
    const known = recent[slot];
    if (known?.length === length && this.#isAt(start, known)) return known;
    const read = this.#ascii(start, length);
    if (read !== undefined) recent[slot] = read;
    return read;
  }

  #isAt(start: number, text: string): boolean {
    const bytes = this.#bytes;
    for (let index = 0; index < text.length; index++) if (bytes[start + index] !== text.charCodeAt(index)) return false;
    return true;
  }

  /** A short string without a call into C++; undefined where it is not all ASCII. */
  #ascii(start: number, length: number): string | undefined {
    const bytes = this.#bytes;
    const codes = new Array<number>(length);
    for (let index = 0; index < length; index++) {
      const byte = bytes[start + index] ?? 0xff;
      if (byte > 0x7f) return undefined;
      codes[index] = byte;
    }
    return String.fromCharCode.apply(String, codes);
  }

  /** Passes over one field of the wire type; `depth` counts nested groups. */
  skip(wireType: number, depth = 0): void {
    switch (wireType) {
      case 0:
        this.#varint64();
        return;
      case 1:
        this.#take(8);
        return;
      case 2:
        this.#take(this.uint32());
        return;
      case 3:
        if (depth >= SKIP_DEPTH_MAX) throw new RangeError("groups are nested too deep");
        for (let tag = this.uint32(); (tag & 7) !== 4; tag = this.uint32()) this.skip(tag & 7, depth + 1);
        return;
      case 5:
        this.#take(4);
        return;
      default:
        throw new RangeError(`wire type ${wireType} does not exist`);
    }
  }

  /** Where the next `length` bytes begin; passes over them. */
  #take(length: number): number {
    const at = this.pos;
    if (at + length > this.len) this.#ended();
    this.pos = at + length;
    return at;
  }

  #ended(): never {
    throw new RangeError(EOF);
  }

  #varint64(): void {
    const bytes = this.#bytes;
    let at = this.pos;
    let byte = bytes[at++] ?? this.#ended();
    let low = byte & 0x7f;
    let high = 0;
    for (let shift = 7; byte >= 0x80; shift += 7) {
      if (shift > 63) throw new RangeError("a varint is longer than ten bytes");
      byte = bytes[at++] ?? this.#ended();
      if (shift < 28) low |= (byte & 0x7f) << shift;
      else if (shift === 28) {
        low |= (byte & 0x0f) << 28;
        high = (byte & 0x7f) >> 4;
      } else high |= (byte & 0x7f) << (shift - 32);
    }
    this.pos = at;
    this.#low = low;
    this.#high = high;
  }
}

function safe(value: number): number {
  if (value > Number.MAX_SAFE_INTEGER) throw new RangeError("an integer is larger than 2^53-1");
  if (value < Number.MIN_SAFE_INTEGER) throw new RangeError("an integer is smaller than -(2^53-1)");
  return value;
}

/** A buffer above this is not kept for the next message. */
const SCRATCH_BYTES_MAX = 1024 * 1024;

/** The buffer of the last writer that finished; the next one begins with it. */
let scratch: Buffer | undefined;

/** Writes wire format. One message a writer: `finish` ends it. Throws on numbers that the field cannot hold. */
export class BinaryWriter {
  #buffer: Buffer;
  #pos = 0;
  readonly #forks: number[] = [];

  constructor() {
    this.#buffer = scratch ?? Buffer.allocUnsafeSlow(1024);
    scratch = undefined;
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#pos;
  }

  /** The message, as bytes of its own. The writer is empty again. */
  finish(): Buffer {
    const message = Buffer.allocUnsafe(this.#pos);
    this.#buffer.copy(message, 0, 0, this.#pos);
    if (this.#buffer.length <= SCRATCH_BYTES_MAX) scratch = this.#buffer;
    this.#buffer = EMPTY;
    this.#pos = 0;
    this.#forks.length = 0;
    return message;
  }

  /** Begins a nested message; `join` ends it. */
  fork(): this {
    this.#forks.push(this.#pos);
    // One byte for the length, which is enough for up to 127 bytes.
    this.#reserve(1);
    this.#pos++;
    return this;
  }

  join(): this {
    const start = this.#forks.pop();
    if (start === undefined) throw new Error("join without fork");
    const length = this.#pos - start - 1;
    const more = varintSize(length) - 1;
    if (more > 0) {
      this.#reserve(more);
      this.#buffer.copyWithin(start + 1 + more, start + 1, this.#pos);
    }
    this.#pos = start;
    this.#varint(length);
    this.#pos += length;
    return this;
  }

  /** A uint32 varint. Tags too. */
  uint32(value: number): this {
    if (value >>> 0 !== value) throw new RangeError(`${value} is no uint32`);
    this.#reserve(5);
    this.#varint(value);
    return this;
  }

  int32(value: number): this {
    if ((value | 0) !== value) throw new RangeError(`${value} is no int32`);
    if (value < 0) return this.int64Number(value);
    this.#reserve(5);
    this.#varint(value);
    return this;
  }

  /** Zigzag. */
  sint32(value: number): this {
    if ((value | 0) !== value) throw new RangeError(`${value} is no sint32`);
    this.#reserve(5);
    this.#varint(((value << 1) ^ (value >> 31)) >>> 0);
    return this;
  }

  bool(value: boolean): this {
    this.#reserve(1);
    this.#buffer[this.#pos++] = value ? 1 : 0;
    return this;
  }

  uint64Number(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is no uint64 below 2^53`);
    this.#reserve(10);
    if (value < TWO_32) this.#varint(value);
    else this.#varint64(value >>> 0, (value / TWO_32) >>> 0);
    return this;
  }

  int64Number(value: number): this {
    if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is no int64 within 2^53`);
    this.#reserve(10);
    if (value >= 0 && value < TWO_32) this.#varint(value);
    else this.#varint64(value >>> 0, Math.floor(value / TWO_32) >>> 0);
    return this;
  }

  fixed32(value: number): this {
    if (value >>> 0 !== value) throw new RangeError(`${value} is no fixed32`);
    this.#reserve(4);
    this.#pos = this.#buffer.writeUInt32LE(value, this.#pos);
    return this;
  }

  fixed64Number(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is no fixed64 below 2^53`);
    this.#reserve(8);
    this.#pos = this.#buffer.writeUInt32LE(value >>> 0, this.#pos);
    this.#pos = this.#buffer.writeUInt32LE((value / TWO_32) >>> 0, this.#pos);
    return this;
  }

  double(value: number): this {
    this.#reserve(8);
    this.#pos = this.#buffer.writeDoubleLE(value, this.#pos);
    return this;
  }

  bytes(value: Uint8Array): this {
    this.#reserve(5 + value.length);
    this.#varint(value.length);
    this.#buffer.set(value, this.#pos);
    this.#pos += value.length;
    return this;
  }

  /** Lone surrogates become U+FFFD. */
  string(value: string): this {
    const { length } = value;
    this.#reserve(5 + length * 3);
    const buffer = this.#buffer;
    if (length < 0x40) {
      let at = this.#pos + 1;
      let index = 0;
      for (; index < length; index++) {
        const code = value.charCodeAt(index);
        if (code > 0x7f) break;
        buffer[at++] = code;
      }
      if (index === length) {
        buffer[this.#pos] = length;
        this.#pos = at;
        return this;
      }
    }
    // The size in bytes is known afterwards: guess the room of the length for ASCII, and move where it was wrong.
    const start = this.#pos;
    const guess = varintSize(length);
    const written = buffer.write(value, start + guess);
    const prefix = varintSize(written);
    if (prefix !== guess) buffer.copyWithin(start + prefix, start + guess, start + guess + written);
    this.#varint(written);
    this.#pos += written;
    return this;
  }

  #reserve(size: number): void {
    const needed = this.#pos + size;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(1024, this.#buffer.length * 2, needed));
    this.#buffer.copy(grown, 0, 0, this.#pos);
    this.#buffer = grown;
  }

  #varint(value: number): void {
    const buffer = this.#buffer;
    let rest = value;
    while (rest > 0x7f) {
      buffer[this.#pos++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    buffer[this.#pos++] = rest;
  }

  #varint64(low: number, high: number): void {
    const buffer = this.#buffer;
    let lowRest = low;
    let highRest = high;
    while (highRest > 0 || lowRest > 0x7f) {
      buffer[this.#pos++] = (lowRest & 0x7f) | 0x80;
      lowRest = ((lowRest >>> 7) | (highRest << 25)) >>> 0;
      highRest >>>= 7;
    }
    buffer[this.#pos++] = lowRest;
  }
}

const EMPTY: Buffer = Buffer.alloc(0);

function varintSize(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5;
}
