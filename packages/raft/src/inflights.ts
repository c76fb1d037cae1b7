import { invariant } from "./invariant.ts";

/** Append messages that are sent and not acknowledged: a ring of (last index, bytes), bounded in messages and bytes. */
export class Inflights {
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  // Rings that grow by doubling: most groups are idle and need none.
  #lastIndex: number[] = [];
  #bytes: number[] = [];
  #start = 0;
  #count = 0;
  #totalBytes = 0;

  constructor(maxMessages: number, maxBytes: number) {
    this.#maxMessages = maxMessages;
    this.#maxBytes = maxBytes;
  }

  get count(): number {
    return this.#count;
  }

  /** Whether nothing more may be sent. A message above the byte limit may be sent where nothing is in flight. */
  get full(): boolean {
    return this.#count >= this.#maxMessages || this.#totalBytes >= this.#maxBytes;
  }

  add(lastIndex: number, bytes: number): void {
    invariant(!this.full, "nothing is sent while the in-flight window is full");
    if (this.#count === this.#lastIndex.length) this.#grow();
    const capacity = this.#lastIndex.length;
    const at = (this.#start + this.#count) % capacity;
    this.#lastIndex[at] = lastIndex;
    this.#bytes[at] = bytes;
    this.#count++;
    this.#totalBytes += bytes;
  }

  /** Frees every message whose last entry is at or below `index`. */
  freeThrough(index: number): void {
    const capacity = this.#lastIndex.length;
    while (this.#count > 0 && this.#lastIndex[this.#start]! <= index) {
      this.#totalBytes -= this.#bytes[this.#start]!;
      this.#start = (this.#start + 1) % capacity;
      this.#count--;
    }
  }

  reset(): void {
    this.#start = 0;
    this.#count = 0;
    this.#totalBytes = 0;
  }

  #grow(): void {
    const old = this.#lastIndex.length;
    const capacity = Math.min(this.#maxMessages, Math.max(8, old * 2));
    const lastIndex = Array.from({ length: capacity }, () => 0);
    const bytes = Array.from({ length: capacity }, () => 0);
    for (let n = 0; n < this.#count; n++) {
      const from = (this.#start + n) % old;
      lastIndex[n] = this.#lastIndex[from]!;
      bytes[n] = this.#bytes[from]!;
    }
    this.#lastIndex = lastIndex;
    this.#bytes = bytes;
    this.#start = 0;
  }
}
