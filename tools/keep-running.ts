/** Starts what ended by itself again, as an orchestrator would. */
import { setTimeout as sleep } from "node:timers/promises";

const FIRST_WAIT_MS = 1_000;
const LAST_WAIT_MS = 30_000;
/** What ran for that long before it ended is started again after the first wait. */
const STEADY_MS = 60_000;

/** Watches over the programs of one run. */
export class KeepRunning {
  readonly #say: (text: string) => void;
  readonly #signal: AbortSignal;
  readonly #waitMs = new Map<string, number>();
  readonly #startedMs = new Map<string, number>();
  readonly #restarts = new Set<Promise<void>>();
  /** How often anything ended by itself. */
  ends = 0;

  /** @param signal once it fires nothing is started any more */
  constructor(say: (text: string) => void, signal: AbortSignal) {
    this.#say = say;
    this.#signal = signal;
  }

  /** `name` ended by itself, in the way that `how` says: `start` starts it again after a while, as often as it takes. */
  ended(name: string, how: string, start: () => Promise<void>): void {
    if (this.#signal.aborted) return;
    this.ends += 1;
    const ranMs = performance.now() - (this.#startedMs.get(name) ?? Number.NEGATIVE_INFINITY);
    const waitMs = ranMs > STEADY_MS ? FIRST_WAIT_MS : Math.min((this.#waitMs.get(name) ?? FIRST_WAIT_MS / 2) * 2, LAST_WAIT_MS);
    this.#waitMs.set(name, waitMs);
    this.#say(`${name} ended by itself (${how}); starting it again in ${waitMs / 1_000} s`);
    const restart = this.#restart(name, waitMs, start).finally(() => this.#restarts.delete(restart));
    this.#restarts.add(restart);
  }

  async #restart(name: string, waitMs: number, start: () => Promise<void>): Promise<void> {
    try {
      await sleep(waitMs, undefined, { signal: this.#signal });
    } catch {
      return; // Everything is being stopped.
    }
    const beganMs = performance.now();
    this.#startedMs.set(name, beganMs);
    try {
      await start();
      this.#say(`${name} serves again after ${((performance.now() - beganMs) / 1_000).toFixed(1)} s`);
    } catch (error) {
      this.#say(`${name} could not be started again: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** Waits for starts that are under way: who stops everything must not miss what is just being started. */
  async settled(): Promise<void> {
    await Promise.all(this.#restarts);
  }
}
