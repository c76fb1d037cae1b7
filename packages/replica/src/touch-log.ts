// What changed lately, by log index: the base of materialisation. Only names are kept; values are read from the
// state when they are sent, so that a name that changes a thousand times between two sends is sent once.

import type { Region } from "@statemesh/contract";

/** A name that an entry touched. */
export type Touch =
  | { readonly kind: "entity"; readonly entityKind: string; readonly entityId: string; readonly region: Region | undefined }
  | { readonly kind: "balance"; readonly account: string; readonly itemKind: string }
  | { readonly kind: "totals"; readonly itemKind: string }
  | { readonly kind: "fence"; readonly regionText: string };

/** A bounded ring of touches in log order. */
export class TouchLog {
  readonly #capacity: number;
  readonly #indexes: Float64Array;
  readonly #touches: (Touch | undefined)[];
  #start = 0;
  #length = 0;
  /** Every touch at an index above this one is still in the ring. */
  #completeAfter: number;

  /** `completeAfter` is the index up to which touches were never recorded, such as that of a snapshot. */
  constructor(capacity: number, completeAfter: number) {
    this.#capacity = capacity;
    this.#indexes = new Float64Array(capacity);
    this.#touches = new Array<Touch | undefined>(capacity);
    this.#completeAfter = completeAfter;
  }

  record(index: number, touch: Touch): void {
    if (this.#length === this.#capacity) {
      this.#completeAfter = this.#indexes[this.#start] ?? this.#completeAfter;
      this.#start = (this.#start + 1) % this.#capacity;
      this.#length--;
    }
    const at = (this.#start + this.#length) % this.#capacity;
    this.#indexes[at] = index;
    this.#touches[at] = touch;
    this.#length++;
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
      if ((this.#indexes[(this.#start + middle) % this.#capacity] ?? 0) > after) high = middle;
      else low = middle + 1;
    }
    for (let i = low; i < this.#length; i++) {
      const at = (this.#start + i) % this.#capacity;
      const touch = this.#touches[at];
      if (touch !== undefined && !visit(touch, this.#indexes[at] ?? 0)) return true;
    }
    return true;
  }
}
