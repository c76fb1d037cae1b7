// An order-independent digest of a set of records: the sum of their hashes, kept up to date as records come
// and go. Two replicas that hold the same set have the same digest, however they came to it. It finds
// divergence by fault or defect; it is no defence against an adversary.

/** Folds text into one lane (FNV-1a over UTF-16 units). */
function foldText(lane: number, text: string): number {
  let hash = lane;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return Math.imul(hash ^ text.length, 0x85ebca6b);
}

/** Folds an integer up to 2^53 into one lane. */
function foldNumber(lane: number, value: number): number {
  const low = value | 0;
  const high = (value / 0x1_0000_0000) | 0;
  return Math.imul(Math.imul(lane ^ low, 0xc2b2ae35) ^ high, 0x27d4eb2f);
}

/** The digest: 64 bits in two lanes. */
export class StateHash {
  #low = 0;
  #high = 0;

  /** Adds a record, named by up to two texts and two integers. */
  add(first: string, second: string, third: number, fourth: number): void {
    this.#low = (this.#low + mix(0x811c9dc5, first, second, third, fourth)) | 0;
    this.#high = (this.#high + mix(0x9e3779b9, first, second, third, fourth)) | 0;
  }

  /** Takes a record away that was added with the same values. */
  remove(first: string, second: string, third: number, fourth: number): void {
    this.#low = (this.#low - mix(0x811c9dc5, first, second, third, fourth)) | 0;
    this.#high = (this.#high - mix(0x9e3779b9, first, second, third, fourth)) | 0;
  }

  /** Sixteen hexadecimal digits. */
  toString(): string {
    return hex(this.#high) + hex(this.#low);
  }
}

function mix(seed: number, first: string, second: string, third: number, fourth: number): number {
  const hash = foldNumber(foldNumber(foldText(foldText(seed, first), second), third), fourth);
  return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) ^ (hash >>> 13);
}

function hex(lane: number): string {
  return (lane >>> 0).toString(16).padStart(8, "0");
}
