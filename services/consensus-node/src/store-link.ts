// The way to the region store. What fails here is tried again by the materialiser, from where the store stands.
import { type MaterializeRequest, type MaterializeResponse, RegionStoreServiceClient } from "@statemesh/contract";
import { type Logger, connect } from "@statemesh/service";
import { Metadata } from "@grpc/grpc-js";

const NO_METADATA = new Metadata();

export class StoreLink {
  readonly #client: RegionStoreServiceClient;
  readonly #timeoutMs: number;
  readonly #log: Logger;
  #silent = false;

  constructor(address: string, timeoutMs: number, log: Logger) {
    this.#client = connect(RegionStoreServiceClient, address, { ownConnection: true });
    this.#timeoutMs = timeoutMs;
    this.#log = log;
  }

  materialize(request: MaterializeRequest, done: (response: MaterializeResponse | undefined) => void): void {
    this.#client.materialize(request, NO_METADATA, { deadline: Date.now() + this.#timeoutMs }, (error, response) => {
      this.#note(error);
      done(error === null ? response : undefined);
    });
  }

  watermarks(done: (watermarks: ReadonlyMap<number, number> | undefined) => void): void {
    this.#client.getWatermarks({}, NO_METADATA, { deadline: Date.now() + this.#timeoutMs }, (error, response) => {
      this.#note(error);
      done(error === null ? response.watermarks : undefined);
    });
  }

  /** Says it once that the store is away, and once that it is back. */
  #note(error: { details: string } | null): void {
    if (error !== null && !this.#silent) this.#log.warn({ reason: error.details }, "the region store does not take state; trying again");
    if (error === null && this.#silent) this.#log.info("the region store takes state again");
    this.#silent = error !== null;
  }

  close(): void {
    this.#client.close();
  }
}
