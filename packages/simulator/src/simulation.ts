import type { Cancel } from "@statemesh/ports";
import { SimRandom } from "./sim-random.ts";

/** Events in one turn of the runtime's event loop. */
const BATCH = 64;

interface Event {
  atMs: number;
  sequence: number;
  run: (() => void) | undefined;
}

/**
 * Virtual time and the one queue of events. Events run in the order of their time, those of one moment in the order
 * in which they were scheduled.
 *
 * Code under test may use promises. After every event the runtime runs all microtasks until none is left; promises of simulated ports are resolved by events only. So what follows an `await` runs before the next
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
    await this.#drive(() => {
      const next = this.#heap[0];
      return next === undefined || next.atMs > untilMs;
    });
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  async runFor(durationMs: number): Promise<void> {
    await this.runUntil(this.#nowMs + durationMs);
  }

  /** Runs until `holds`, which is asked after every event. False where it did not within `limitMs`. */
  async runUntilHolds(holds: () => boolean, limitMs: number): Promise<boolean> {
    const endMs = this.#nowMs + limitMs;
    let held = false;
    await this.#drive(() => {
      held = holds();
      const next = this.#heap[0];
      return held || next === undefined || next.atMs > endMs;
    });
    return held;
  }

  /** Runs until `work` is settled and gives its result. Throws where nothing is left that could settle it. */
  async settle<T>(work: Promise<T>): Promise<T> {
    let settled = false;
    const done = (): void => {
      settled = true;
    };
    work.then(done, done);
    await this.#drive(() => {
      if (!settled && this.#heap.length === 0) throw new Error("the simulation stands still: the work waits for something that no event brings");
      return settled;
    });
    return work;
  }

  /**
   * Runs events until `isOver`, which is asked before each. The runtime runs all microtasks between two immediates, also of one
   * batch; a batch saves the turns of its event loop, which cost more than most events.
   */
  #drive(isOver: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      let over = false;
      let waiting = 0;
      const step = (): void => {
        if (over) return;
        waiting--;
        try {
          over = isOver();
          if (over) return resolve();
          this.#runNext();
        } catch (error) {
          over = true;
          return reject(error instanceof Error ? error : new Error(String(error)));
        }
        if (waiting === 0) refill();
      };
      const refill = (): void => {
        for (; waiting < BATCH; waiting++) setImmediate(step);
      };
      refill();
    });
  }

  #runNext(): void {
    const event = this.#pop();
    if (event.run === undefined) return;
    this.#nowMs = event.atMs;
    this.#eventsRun++;
    event.run();
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
