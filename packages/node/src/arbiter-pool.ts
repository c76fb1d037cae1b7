// The arbiters that a leader asks. Each batch goes to the one with the least to do; one that fails is passed over for a while, and
// is then tried with one batch before it gets more. Where none answers in time the leader decides by the same rules itself.
import type { ArbitrateRequest, ArbitrateResponse } from "@statemesh/contract";
import type { Log } from "@statemesh/mesh";
import type { Clock } from "@statemesh/ports";
import type { ArbiterPort } from "./node-ports.ts";

/** How long an arbiter that failed is passed over; twice as long after each further failure, up to the maximum. */
const PASSED_OVER_MS = 250;
const PASSED_OVER_MAX_MS = 4_000;
/**
 * Candidates that one arbiter has to decide at a time, at most; a single batch may go beyond. One that has as many is as slow as
 * no arbiter at all (it decides some hundred a millisecond), so the next batch is decided here, where nobody waits for it.
 */
const CANDIDATES_IN_FLIGHT = 16_384;
/** Batches that one arbiter has at a time, at most. */
const BATCHES_IN_FLIGHT = 64;

/** Batches one after the other that callers cut short before it is taken for away: one caller's hurry says little, and who hangs never answers in time. */
const CUT_SHORT_MAX = 3;

/** For how long a batch is asked about. */
interface Until {
  readonly deadlineMs: number;
  /** Its callers wait for less than an arbiter may take. */
  readonly isCutShort: boolean;
}

type Done = (response: ArbitrateResponse | undefined) => void;

/** One arbiter, as this node sees it. */
class Asked {
  readonly port: ArbiterPort;
  batches = 0;
  candidates = 0;
  /** The last thing that it said was that it goes by another policy. */
  hasOtherPolicy = false;
  #failures = 0;
  /** Batches that callers cut short since it last answered. */
  #cutShort = 0;
  #notBeforeMs = Number.NEGATIVE_INFINITY;

  constructor(port: ArbiterPort) {
    this.port = port;
  }

  /** It may get another batch. One that failed last gets one at a time. */
  isFree(nowMs: number): boolean {
    if (this.#failures > 0) return this.batches === 0 && this.#notBeforeMs <= nowMs;
    return this.batches < BATCHES_IN_FLIGHT && this.candidates < CANDIDATES_IN_FLIGHT;
  }

  answered(): void {
    this.#failures = 0;
    this.#cutShort = 0;
  }

  /** It had no answer when its callers gave up. True where it is passed over for that, and was well before. */
  wasCutShort(nowMs: number): boolean {
    return ++this.#cutShort >= CUT_SHORT_MAX || this.#failures > 0 ? this.failed(nowMs) : false;
  }

  /** True where it was well before. */
  failed(nowMs: number): boolean {
    this.#notBeforeMs = nowMs + Math.min(PASSED_OVER_MS * 2 ** this.#failures, PASSED_OVER_MAX_MS);
    this.#failures = Math.min(this.#failures + 1, 16);
    return this.#failures === 1;
  }
}

export class ArbiterPool {
  readonly #arbiters: readonly Asked[];
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #defer: (task: () => void) => void;
  readonly #log: Log;
  #next = 0;

  constructor(ports: readonly ArbiterPort[], timeoutMs: number, clock: Clock, defer: (task: () => void) => void, log: Log) {
    this.#arbiters = ports.map((port) => new Asked(port));
    this.#timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#defer = defer;
    this.#log = log;
  }

  /** Addresses of those that said last that they go by another policy. */
  get ofOtherPolicy(): string[] {
    return this.#arbiters.filter(({ hasOtherPolicy }) => hasOtherPolicy).map(({ port }) => port.address);
  }

  /**
   * `done` gets undefined where no arbiter can be asked or none answers within the timeout, or by `callersMs`, monotonic, when the last caller gives
   * up. What a caller cuts short is not held against an arbiter, but where that goes on.
   */
  arbitrate(request: ArbitrateRequest, callersMs: number, done: Done): void {
    const ownMs = this.#clock.monotonicMs() + this.#timeoutMs;
    this.#ask(request, { deadlineMs: Math.min(ownMs, callersMs), isCutShort: callersMs < ownMs }, new Set(), done);
  }

  /** Asks one after the other while there is time. */
  #ask(request: ArbitrateRequest, until: Until, asked: Set<Asked>, done: Done): void {
    const { deadlineMs, isCutShort } = until;
    const nowMs = this.#clock.monotonicMs();
    const leftMs = Math.floor(deadlineMs - nowMs);
    const arbiter = leftMs < 1 ? undefined : this.#pick(nowMs, asked);
    if (arbiter === undefined) {
      this.#defer(() => done(undefined));
      return;
    }
    asked.add(arbiter);
    const candidates = request.sets.reduce((sum, set) => sum + set.candidates.length, 0);
    arbiter.batches++;
    arbiter.candidates += candidates;
    const back = (): void => {
      arbiter.batches--;
      arbiter.candidates -= candidates;
    };
    // The first that is asked leaves time for another, where there is one.
    const tryMs = asked.size < this.#arbiters.length ? Math.max(1, Math.floor(leftMs / 2)) : leftMs;
    arbiter.port.ask(
      request,
      tryMs,
      (response) => {
        back();
        arbiter.answered();
        arbiter.hasOtherPolicy = false;
        done(response);
      },
      (reason, otherPolicy = false) => {
        back();
        const failedMs = this.#clock.monotonicMs();
        const isNews = isCutShort && !otherPolicy ? arbiter.wasCutShort(failedMs) : arbiter.failed(failedMs);
        if (otherPolicy && !arbiter.hasOtherPolicy) this.#log.warn("an arbiter goes by another policy: it decides nothing for this node", { arbiter: arbiter.port.address, reason });
        else if (isNews && !otherPolicy) this.#log.warn("an arbiter did not answer", { arbiter: arbiter.port.address, reason });
        if (otherPolicy) arbiter.hasOtherPolicy = true;
        this.#ask(request, until, asked, done);
      },
    );
  }

  /** The free one with the least to do; among equals each in turn. */
  #pick(nowMs: number, asked: ReadonlySet<Asked>): Asked | undefined {
    const count = this.#arbiters.length;
    const start = this.#next++;
    let least: Asked | undefined;
    for (let i = 0; i < count; i++) {
      const arbiter = this.#arbiters[(start + i) % count];
      if (arbiter === undefined || asked.has(arbiter) || !arbiter.isFree(nowMs)) continue;
      if (least === undefined || arbiter.candidates < least.candidates) least = arbiter;
    }
    return least;
  }

  close(): void {
    for (const { port } of this.#arbiters) port.close();
  }
}
