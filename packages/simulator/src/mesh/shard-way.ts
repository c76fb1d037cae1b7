// One shard's process and its way to the nodes: it may be cut off, stand still, or end; what an earlier life asked for never comes back.
import type { Recorder } from "../recorder.ts";
import type { SimRandom } from "../sim-random.ts";
import type { Simulation } from "../simulation.ts";
import type { AnsweringNode, ShardNetwork } from "./shard-network.ts";

const CALL_TIMEOUT_MS = 3_000;

export interface WayParts {
  readonly simulation: Simulation;
  readonly recorder: Recorder;
  readonly network: ShardNetwork;
  /** Machines with a node. */
  readonly nodes: readonly number[];
}

export class ShardWay {
  readonly #parts: WayParts;
  readonly #random: SimRandom;
  #life = 1;
  #runs = true;
  #pausedUntilMs = 0;
  /** No node is reached. */
  isCut = false;

  constructor(parts: WayParts, random: SimRandom) {
    this.#parts = parts;
    this.#random = random;
  }

  /** Counts the starts of the process, from 1. */
  get incarnation(): number {
    return this.#life;
  }

  get runs(): boolean {
    return this.#runs;
  }

  /** Asks some node, or the one `asked`. `answered` is called once, with what it said or with why it did not; never where the process ends before. */
  ask<Response>(
    work: (node: AnsweringNode, deadlineMs: number, done: (response: Response) => void, fail: (reason: unknown) => void) => void,
    answered: (response: Response | undefined, reason: string | undefined) => void,
    asked?: number,
  ): void {
    const enter = this.#entrance();
    const nodeId = asked ?? this.#random.pick(this.#parts.nodes);
    const unheard = (): void => enter(() => answered(undefined, "OUTCOME_UNKNOWN"));
    if (this.isCut) {
      this.#parts.simulation.after(CALL_TIMEOUT_MS, unheard);
      return;
    }
    this.#parts.network.ask<Response>(nodeId, CALL_TIMEOUT_MS, work, (response, reason) => {
      if (this.isCut) unheard();
      else enter(() => answered(response, reason));
    });
  }

  /** A timer of the process. */
  after(delayMs: number, run: () => void): void {
    const enter = this.#entrance();
    this.#parts.simulation.after(delayMs, () => enter(run));
  }

  every(periodMs: number, run: () => void): void {
    this.after(periodMs, () => {
      run();
      this.every(periodMs, run);
    });
  }

  /** Where the process of now takes what comes: late where it stands still, never where it has ended. */
  #entrance(): (run: () => void) => void {
    const life = this.#life;
    const enter = (run: () => void): void => {
      const { simulation } = this.#parts;
      if (life !== this.#life || !this.#runs) return;
      if (this.#pausedUntilMs > simulation.nowMs) simulation.after(this.#pausedUntilMs - simulation.nowMs, () => enter(run));
      else run();
    };
    return enter;
  }

  pause(durationMs: number): void {
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, this.#parts.simulation.nowMs + durationMs);
  }

  resume(): void {
    this.#pausedUntilMs = 0;
  }

  end(): void {
    this.#runs = false;
  }

  /** A new process. */
  begin(): void {
    this.#life++;
    this.#runs = true;
    this.#pausedUntilMs = 0;
  }
}
