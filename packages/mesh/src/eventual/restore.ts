import type { EventualValue, LoadEventualValuesResponse } from "@statemesh/contract";
import { ElapsedTime } from "./elapsed-time.ts";

/** From a page that did not come to the next try, milliseconds. */
const RETRY_MS = 1_000;

/**
 * Fills a node that starts with the eventual values that the region store has. They are merged with what peers and writers
 * bring meanwhile, so nothing waits for it. Pure: time is passed in.
 */
export class Restore {
  readonly #load: (pageToken: string, done: (page: LoadEventualValuesResponse | undefined) => void) => void;
  readonly #take: (values: readonly EventualValue[]) => void;
  readonly #elapsed = new ElapsedTime();
  #token = "";
  #isAsking = false;
  #isDone = false;
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

  tick(nowMs: number): void {
    const elapsedMs = this.#elapsed.advance(nowMs);
    if (this.#isDone || this.#isAsking || elapsedMs < this.#nextMs) return;
    this.#ask();
  }

  #ask(): void {
    this.#isAsking = true;
    this.#load(this.#token, (page) => {
      this.#isAsking = false;
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
