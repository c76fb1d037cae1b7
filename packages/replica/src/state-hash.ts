// An order-independent digest of a set of records: the sum of their hashes, kept up to date as records come
// and go. Two replicas that hold the same set have the same digest, however they came to it. It finds
// divergence by fault or defect; it is no defence against an adversary.

/** The digest: 64 bits in two lanes. */
export class StateHash {
  #low = 0;
  #high = 0;
  // The lanes of the record that `#mix` has just hashed.
  #a = 0;
  #b = 0;

  /** Adds a record, named by up to two texts and two integers up to 2^53. */
  add(first: string, second: string, third: number, fourth: number): void {
    this.#mix(first, second, third, fourth);
    this.#low = (this.#low + this.#a) | 0;
    this.#high = (this.#high + this.#b) | 0;
  }

  /** Takes a record away that was added with the same values. */
  remove(first: string, second: string, third: number, fourth: number): void {
    this.#mix(first, second, third, fourth);
    this.#low = (this.#low - this.#a) | 0;
    this.#high = (this.#high - this.#b) | 0;
  }

  /** Sixteen hexadecimal digits. */
  toString(): string {
    return hex(this.#high) + hex(this.#low);
  }

  /** Two lanes of multiply and xor in one pass over the record. */
  #mix(first: string, second: string, third: number, fourth: number): void {
    let a = 0x811c9dc5;
    let b = 0x9e3779b9;
    for (let i = 0; i < first.length; i++) {
      const unit = first.charCodeAt(i);
      a = Math.imul(a ^ unit, 0x01000193);
      b = Math.imul(b ^ unit, 0x85ebca6b);
    }
    a = Math.imul(a ^ first.length, 0xc2b2ae35);
    b = Math.imul(b ^ first.length, 0x27d4eb2f);
    for (let i = 0; i < second.length; i++) {
      const unit = second.charCodeAt(i);
      a = Math.imul(a ^ unit, 0x01000193);
      b = Math.imul(b ^ unit, 0x85ebca6b);
    }
    a = Math.imul(a ^ second.length, 0xc2b2ae35);
    b = Math.imul(b ^ second.length, 0x27d4eb2f);
    a = Math.imul(a ^ (a >>> 15) ^ (third | 0), 0x01000193);
    b = Math.imul(b ^ (b >>> 13) ^ (third | 0), 0x85ebca6b);
    a = Math.imul(a ^ (a >>> 15) ^ ((third / TWO_32) | 0), 0xc2b2ae35);
    b = Math.imul(b ^ (b >>> 13) ^ ((third / TWO_32) | 0), 0x27d4eb2f);
    a = Math.imul(a ^ (a >>> 15) ^ (fourth | 0), 0x01000193);
    b = Math.imul(b ^ (b >>> 13) ^ (fourth | 0), 0x85ebca6b);
    a = Math.imul(a ^ (a >>> 15) ^ ((fourth / TWO_32) | 0), 0xc2b2ae35);
    b = Math.imul(b ^ (b >>> 13) ^ ((fourth / TWO_32) | 0), 0x27d4eb2f);
    this.#a = Math.imul(a, 0x2c1b3c6d) ^ (a >>> 13);
    this.#b = Math.imul(b, 0x297a2d39) ^ (b >>> 15);
  }
}

const TWO_32 = 0x1_0000_0000;

function hex(lane: number): string {
  return (lane >>> 0).toString(16).padStart(8, "0");
}
