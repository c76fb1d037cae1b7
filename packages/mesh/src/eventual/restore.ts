import type { EventualValue, LoadEventualValuesResponse } from "@statemesh/contract";
import { ElapsedTime } from "./elapsed-time.ts";

/** From a page that did not come to the next try, milliseconds. */
const RETRY_MS = 1_000;
/** For so long at most peers are not asked for what may still come from the store, milliseconds: within 10 s sessions count on what peers have. */
const FILLING_MS = 5_000;

/**
 * Fills a node that starts with the eventual values that the region store has. They are merged with what peers and writers
 * bring meanwhile, so nobody waits for it; only the comparison with peers does. Pure: time is passed in.
 */
export class Restore {
  readonly #load: (pageToken: string, done: (page: LoadEventualValuesResponse | undefined) => void) => void;
  readonly #take: (values: readonly EventualValue[]) => void;
  readonly #elapsed = new ElapsedTime();
  #token = "";
  #isAsking = false;
  #isDone = false;
  #isAway = false;
  #nextMs = 0;
  /** Values that came. */
  restored = 0;

  constructor(load: (pageToken: string, done: (page: LoadEventualValuesResponse | undefined) => void) => void, take: (values: readonly EventualValue[]) => void) {
    this.#load = load;
    this.#take = take;
  }

  /** Everything that the store had came. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** The store answers, and has more. */
  get isFilling(): boolean {
    return !this.#isDone && !this.#isAway && this.#elapsed.ms < FILLING_MS;
  }

  tick(nowMs: number): void {
    const elapsedMs = this.#elapsed.advance(nowMs);
    if (this.#isDone || this.#isAsking || elapsedMs < this.#nextMs) return;
    this.#ask();
  }

  #ask(): void {
    this.#isAsking = true;
    this.#load(this.#token, (page) => {
      this.#isAsking = false;
      this.#isAway = page === undefined;
      if (page === undefined) {
        this.#nextMs = this.#elapsed.ms + RETRY_MS;
        return;
      }
      this.#take(page.values);
      this.restored += page.values.length;
      this.#token = page.nextPageToken;
      this.#isDone = page.nextPageToken === "";
    });
  }
}
