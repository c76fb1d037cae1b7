// A count that goes beyond 2^53 and stays exact, of two numbers: for sums over accounts, each of which stays below.

const UNIT = 2 ** 53;

export class WideCount {
  #units = 0;
  /** 0..2^53-1. */
  #rest = 0;

  /** @param summand a whole number from -(2^53-1) to 2^53-1 */
  add(summand: number): void {
    if (summand >= 0) {
      const room = UNIT - this.#rest;
      if (summand < room) this.#rest += summand;
      else {
        this.#units++;
        this.#rest = summand - room;
      }
    } else if (this.#rest + summand >= 0) this.#rest += summand;
    else {
      this.#units--;
      this.#rest = UNIT - (-summand - this.#rest);
    }
  }

  get value(): bigint {
    return BigInt(this.#units) * BigInt(UNIT) + BigInt(this.#rest);
  }

  /** The count modulo 2^53. */
  get modulo(): number {
    return this.#rest;
  }
}
