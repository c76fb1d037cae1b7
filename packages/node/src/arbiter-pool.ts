// The arbiters that a leader asks, in turn. One that fails is left alone for a moment; where none answers in time
// the leader decides by the same rules itself.
import type { ArbitrateRequest, ArbitrateResponse } from "@statemesh/contract";
import type { Log } from "@statemesh/mesh";
import type { Clock } from "@statemesh/ports";
import type { ArbiterPort } from "./node-ports.ts";

/** How long an arbiter that failed is passed over. */
const PASSED_OVER_MS = 250;

interface Arbiter {
  readonly port: ArbiterPort;
  notBeforeMs: number;
}

export class ArbiterPool {
  readonly #arbiters: Arbiter[];
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #defer: (task: () => void) => void;
  readonly #log: Log;
  #next = 0;

  constructor(ports: readonly ArbiterPort[], timeoutMs: number, clock: Clock, defer: (task: () => void) => void, log: Log) {
    this.#arbiters = ports.map((port) => ({ port, notBeforeMs: Number.NEGATIVE_INFINITY }));
    this.#timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#defer = defer;
    this.#log = log;
  }

  /** `done` gets undefined where no arbiter can be asked or none answers within the timeout. */
  arbitrate(request: ArbitrateRequest, done: (response: ArbitrateResponse | undefined) => void): void {
    const arbiter = this.#pick();
    if (arbiter === undefined) {
      this.#defer(() => done(undefined));
      return;
    }
    arbiter.port.ask(request, this.#timeoutMs, done, (reason) => {
      arbiter.notBeforeMs = this.#clock.monotonicMs() + PASSED_OVER_MS;
      this.#log.warn("an arbiter did not answer: deciding here", { arbiter: arbiter.port.address, reason });
      done(undefined);
    });
  }

  #pick(): Arbiter | undefined {
    const nowMs = this.#clock.monotonicMs();
    for (let tried = 0; tried < this.#arbiters.length; tried++) {
      const arbiter = this.#arbiters[this.#next++ % this.#arbiters.length];
      if (arbiter !== undefined && arbiter.notBeforeMs <= nowMs) return arbiter;
    }
    return undefined;
  }

  close(): void {
    for (const { port } of this.#arbiters) port.close();
  }
}
