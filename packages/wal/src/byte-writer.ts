const SMALLEST = 4096;

/** Bytes of a hand layout, little endian, in one growing buffer. Values are the caller's to check. */
export class ByteWriter {
  #bytes = new Uint8Array(SMALLEST);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get capacity(): number {
    return this.#bytes.length;
  }

  /** The bytes so far; valid until the next write. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Cuts back to `length` bytes. */
  reset(length: number): void {
    this.#length = length;
  }

  /** Makes room for `bytes` more, so that the writes that follow need not look. */
  reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }

  skip(bytes: number): void {
    this.reserve(bytes);
    this.#length += bytes;
  }

  u8(value: number): void {
    this.#view.setUint8(this.#length, value);
    this.#length += 1;
  }

  u16(value: number): void {
    this.#view.setUint16(this.#length, value, true);
    this.#length += 2;
  }

  u32(value: number): void {
    this.#view.setUint32(this.#length, value, true);
    this.#length += 4;
  }

  /** A whole number of at most 2^53 - 1. */
  u64(value: number): void {
    const high = Math.floor(value / 0x1_0000_0000);
    this.#view.setUint32(this.#length, value - high * 0x1_0000_0000, true);
    this.#view.setUint32(this.#length + 4, high, true);
    this.#length += 8;
  }

  raw(bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Overwrites four bytes that are written already. */
  patchU32(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }
}
