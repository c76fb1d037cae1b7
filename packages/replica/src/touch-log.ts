// What changed lately, by log index: the base of materialisation. Only names are kept; values are read from the
// state when they are sent, so that a name that changes a thousand times between two sends is sent once.

import type { Region } from "@statemesh/contract";

/** A name that an entry touched. */
export type Touch =
  | { readonly kind: "entity"; readonly entityKind: string; readonly entityId: string; readonly region: Region | undefined }
  | { readonly kind: "balance"; readonly account: string; readonly itemKind: string }
  | { readonly kind: "totals"; readonly itemKind: string }
  | { readonly kind: "fence"; readonly regionText: string };

/** Places that a ring begins with. */
const FIRST_SIZE = 64;

/** A bounded ring of touches in log order. It grows as it is used: most groups of many are quiet. */
export class TouchLog {
  readonly #capacity: number;
  #indexes: Float64Array;
  #touches: (Touch | undefined)[];
  #start = 0;
  #length = 0;
  /** Every touch at an index above this one is still in the ring. */
  #completeAfter: number;

  /** `completeAfter` is the index up to which touches were never recorded, such as that of a snapshot. */
  constructor(capacity: number, completeAfter: number) {
    this.#capacity = capacity;
    const size = Math.min(capacity, FIRST_SIZE);
    this.#indexes = new Float64Array(size);
    this.#touches = new Array<Touch | undefined>(size);
    this.#completeAfter = completeAfter;
  }

  record(index: number, touch: Touch): void {
    if (this.#length === this.#size && this.#size < this.#capacity) this.#grow();
    if (this.#length === this.#size) {
      this.#completeAfter = this.#indexes[this.#start] ?? this.#completeAfter;
      this.#start = (this.#start + 1) % this.#size;
      this.#length--;
    }
    const at = (this.#start + this.#length) % this.#size;
    this.#indexes[at] = index;
    this.#touches[at] = touch;
    this.#length++;
  }

  get #size(): number {
    return this.#touches.length;
  }

  #grow(): void {
    const size = Math.min(this.#capacity, this.#size * 2);
    const indexes = new Float64Array(size);
    const touches = new Array<Touch | undefined>(size);
    for (let i = 0; i < this.#length; i++) {
      const from = (this.#start + i) % this.#size;
      indexes[i] = this.#indexes[from] ?? 0;
      touches[i] = this.#touches[from];
    }
    this.#indexes = indexes;
    this.#touches = touches;
    this.#start = 0;
  }

  /**
   * Calls `visit` with what was touched after index `after`, oldest first, with repeats. Stops where `visit`
   * returns false. Answers false, without a call, where the ring does not reach back that far.
   */
  since(after: number, visit: (touch: Touch, index: number) => boolean): boolean {
    if (after < this.#completeAfter) return false;
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#indexes[(this.#start + middle) % this.#size] ?? 0) > after) high = middle;
      else low = middle + 1;
    }
    for (let i = low; i < this.#length; i++) {
      const at = (this.#start + i) % this.#size;
      const touch = this.#touches[at];
      if (touch !== undefined && !visit(touch, this.#indexes[at] ?? 0)) return true;
    }
    return true;
  }
}
