// The arbiters that a leader asks, in turn. One that fails is left alone for a moment; where none answers in time
// the leader decides by the same rules itself.
import { type ArbitrateRequest, type ArbitrateResponse, ConflictArbiterServiceClient } from "@statemesh/contract";
import { type Logger, connect } from "@statemesh/service";
import { Metadata } from "@grpc/grpc-js";

const NO_METADATA = new Metadata();

/** How long an arbiter that failed is passed over. */
const PASSED_OVER_MS = 250;

interface Arbiter {
  readonly address: string;
  readonly client: ConflictArbiterServiceClient;
  notBefore: number;
}

export class ArbiterPool {
  readonly #arbiters: Arbiter[];
  readonly #timeoutMs: number;
  readonly #log: Logger;
  #next = 0;

  constructor(addresses: readonly string[], timeoutMs: number, log: Logger) {
    this.#arbiters = addresses.map((address) => ({
      address,
      client: connect(ConflictArbiterServiceClient, address, { ownConnection: true, reconnectMaxMs: 500 }),
      notBefore: 0,
    }));
    this.#timeoutMs = timeoutMs;
    this.#log = log;
  }

  /** `done` gets undefined where no arbiter can be asked or none answers within the timeout. */
  arbitrate(request: ArbitrateRequest, done: (response: ArbitrateResponse | undefined) => void): void {
    const arbiter = this.#pick();
    if (arbiter === undefined) {
      queueMicrotask(() => done(undefined));
      return;
    }
    arbiter.client.arbitrate(request, NO_METADATA, { deadline: Date.now() + this.#timeoutMs }, (error, response) => {
      if (error === null) return done(response);
      arbiter.notBefore = performance.now() + PASSED_OVER_MS;
      this.#log.warn({ arbiter: arbiter.address, reason: error.details }, "an arbiter did not answer: deciding here");
      done(undefined);
    });
  }

  #pick(): Arbiter | undefined {
    const now = performance.now();
    for (let tried = 0; tried < this.#arbiters.length; tried++) {
      const arbiter = this.#arbiters[this.#next++ % this.#arbiters.length];
      if (arbiter !== undefined && arbiter.notBefore <= now) return arbiter;
    }
    return undefined;
  }

  close(): void {
    for (const { client } of this.#arbiters) client.close();
  }
}
