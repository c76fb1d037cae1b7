import type { Cancel } from "@statemesh/ports";
import { SimRandom } from "./sim-random.ts";

interface Event {
  atMs: number;
  sequence: number;
  run: (() => void) | undefined;
}

/**
 * Virtual time and the one queue of events. Events run in the order of their time, those of one moment in the order
 * in which they were scheduled.
 *
 * Code under test may use promises. After every event the driver gives the runtime one turn, in which all microtasks run
 * until none is left; promises of simulated ports are resolved by events only. So what follows an `await` runs before the next
 * event, at the same virtual time, in an order that the seed alone decides. Code under test must wait for nothing
 * but simulated ports.
 */
export class Simulation {
  readonly seed: number;
  readonly random: SimRandom;
  #nowMs = 0;
  #sequence = 0;
  #heap: Event[] = [];
  #eventsRun = 0;

  constructor(seed: number) {
    this.seed = seed;
    this.random = new SimRandom(seed);
  }

  /** Virtual milliseconds since the start, with fractions. */
  get nowMs(): number {
    return this.#nowMs;
  }

  get eventsRun(): number {
    return this.#eventsRun;
  }

  after(delayMs: number, run: () => void): Cancel {
    const event: Event = { atMs: this.#nowMs + Math.max(0, delayMs), sequence: this.#sequence++, run };
    this.#push(event);
    return () => {
      event.run = undefined;
    };
  }

  /** Runs everything up to `untilMs`; time then stands there. */
  async runUntil(untilMs: number): Promise<void> {
    await turn();
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= untilMs; next = this.#heap[0]) await this.#step();
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  async runFor(durationMs: number): Promise<void> {
    await this.runUntil(this.#nowMs + durationMs);
  }

  /** Runs until `holds`, which is asked after every event. False where it did not within `limitMs`. */
  async runUntilHolds(holds: () => boolean, limitMs: number): Promise<boolean> {
    const endMs = this.#nowMs + limitMs;
    await turn();
    while (!holds()) {
      const next = this.#heap[0];
      if (next === undefined || next.atMs > endMs) return false;
      await this.#step();
    }
    return true;
  }

  /** Runs until `work` is settled and gives its result. Throws where nothing is left that could settle it. */
  async settle<T>(work: Promise<T>): Promise<T> {
    let settled = false;
    const done = (): void => {
      settled = true;
    };
    work.then(done, done);
    await turn();
    while (!settled) {
      if (this.#heap.length === 0) throw new Error("the simulation stands still: the work waits for something that no event brings");
      await this.#step();
    }
    return work;
  }

  async #step(): Promise<void> {
    const event = this.#pop();
    if (event.run === undefined) return;
    this.#nowMs = event.atMs;
    this.#eventsRun++;
    event.run();
    await turn();
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): Event {
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence);
}

/** One turn of the runtime: every microtask, and those that they start, have run when it is over. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
