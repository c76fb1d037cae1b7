import type { Simulation } from "../simulation.ts";

/** Where everything enters a process. While it is paused, events queue up; afterwards all of them run late, in their order. */
export class ProcessGate {
  readonly #simulation: Simulation;
  #waiting: (() => void)[] = [];
  #paused = false;
  #gone = false;

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
  }

  enter(run: () => void): void {
    if (this.#gone) return;
    if (this.#paused) this.#waiting.push(run);
    else run();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const run of waiting) this.#simulation.after(0, () => this.enter(run));
  }

  /** The process ended: nothing enters it any more. */
  close(): void {
    this.#gone = true;
    this.#waiting = [];
  }

  get isPaused(): boolean {
    return this.#paused;
  }
}
