/** Operation ids: unique, and sortable by the time they were made, so that logs and ids read in one order. */
import { randomBytes } from "node:crypto";

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
/** 10 characters of 5 bits hold milliseconds until the year 37658. */
const TIME_LENGTH = 10;
const COUNTER_LENGTH = 4;
const ORIGIN_LENGTH = 10;
const COUNTER_END = 32 ** COUNTER_LENGTH;

function digits(value: number, length: number): string {
  let text = "";
  let rest = value;
  for (let at = 0; at < length; at++) {
    text = ALPHABET.charAt(rest % 32) + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}

/**
 * Makes ids of 24 characters: milliseconds since the Unix epoch, a counter within the millisecond, and 50 random bits
 * that are this generator's own. Ids of one generator sort in the order in which they were made, also when the clock
 * goes back; ids of several generators sort by time.
 */
export class OperationIds {
  readonly #origin: string;
  readonly #nowMs: () => number;
  #lastMs = 0;
  #counter = 0;
  #time = digits(0, TIME_LENGTH);

  /** @param nowMs wall time in milliseconds; for tests */
  constructor(nowMs: () => number = Date.now) {
    this.#nowMs = nowMs;
    this.#origin = Array.from(randomBytes(ORIGIN_LENGTH), (byte) => ALPHABET.charAt(byte % 32)).join("");
  }

  /** A new id. */
  next(): string {
    const now = this.#nowMs();
    if (now > this.#lastMs) this.#startAt(now);
    else if (++this.#counter === COUNTER_END) this.#startAt(this.#lastMs + 1);
    return this.#time + digits(this.#counter, COUNTER_LENGTH) + this.#origin;
  }

  #startAt(ms: number): void {
    this.#lastMs = ms;
    this.#counter = 0;
    this.#time = digits(ms, TIME_LENGTH);
  }
}
