// The way to the region store. What fails here is tried again by the materialiser, from where the store stands.
import { type CausalGroupEvents, type EventualValue, type LoadEventualValuesResponse, type MaterializeRequest, type MaterializeResponse, RegionStoreServiceClient, type StoreCausalEventsResponse, meshErrorFromServiceError } from "@statemesh/contract";
import type { StorePort } from "@statemesh/node";
import { type Logger, connect } from "@statemesh/service";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";

const NO_METADATA = new Metadata();
/** Eventual values in one answer. */
const LOAD_PAGE_SIZE = 1_000;

export class StoreLink implements StorePort {
  readonly #client: RegionStoreServiceClient;
  readonly #clusterId: string;
  readonly #timeoutMs: number;
  readonly #log: Logger;
  #silent = false;
  #refused = false;
  /** What an older region store does not take. */
  readonly #unknown = new Set<"eventual values" | "causal events">();

  constructor(address: string, clusterId: string, timeoutMs: number, log: Logger) {
    this.#client = connect(RegionStoreServiceClient, address, { ownConnection: true });
    this.#clusterId = clusterId;
    this.#timeoutMs = timeoutMs;
    this.#log = log;
  }

  /** The store holds another cluster's state, as far as is known. */
  get isRefused(): boolean {
    return this.#refused;
  }

  materialize(request: MaterializeRequest, done: (response: MaterializeResponse | undefined) => void): void {
    this.#client.materialize(request, NO_METADATA, { deadline: Date.now() + this.#timeoutMs }, (error, response) => {
      this.#note(error);
      done(error === null ? response : undefined);
    });
  }

  watermarks(done: (watermarks: ReadonlyMap<number, number> | undefined) => void): void {
    this.#client.getWatermarks({ clusterId: this.#clusterId }, NO_METADATA, { deadline: Date.now() + this.#timeoutMs }, (error, response) => {
      this.#note(error);
      done(error === null ? response.watermarks : undefined);
    });
  }

  storeEventual(values: readonly EventualValue[], forgetDeletedBeforeMs: number, done: (stored: boolean) => void): void {
    const request = { clusterId: this.#clusterId, values: [...values], forgetDeletedBeforeMs };
    this.#client.storeEventualValues(request, NO_METADATA, { deadline: Date.now() + this.#timeoutMs }, (error) => {
      this.#noteOlder("eventual values", error);
      done(error === null);
    });
  }

  loadEventual(pageToken: string, done: (page: LoadEventualValuesResponse | undefined) => void): void {
    const request = { clusterId: this.#clusterId, pageSize: LOAD_PAGE_SIZE, pageToken };
    this.#client.loadEventualValues(request, NO_METADATA, { deadline: Date.now() + this.#timeoutMs }, (error, response) => {
      this.#noteOlder("eventual values", error);
      done(error === null ? response : undefined);
    });
  }

  storeCausal(groups: CausalGroupEvents[], done: (response: StoreCausalEventsResponse | undefined) => void): void {
    this.#client.storeCausalEvents({ clusterId: this.#clusterId, groups }, NO_METADATA, { deadline: Date.now() + this.#timeoutMs }, (error, response) => {
      this.#noteOlder("causal events", error);
      done(error === null ? response : undefined);
    });
  }

  /** An older region store takes strong state, and not what is newer than it: said once, too. */
  #noteOlder(what: "eventual values" | "causal events", error: ServiceError | null): void {
    if (error?.code !== status.UNIMPLEMENTED) return this.#note(error);
    if (!this.#unknown.has(what)) this.#log.error(`the region store is too old to keep ${what}: they last as long as the nodes keep them, until it is replaced by a newer one`);
    this.#unknown.add(what);
  }

  /** Says it once that the store is away or another cluster's, and once that it is back. */
  #note(error: ServiceError | null): void {
    if (error === null) {
      if (this.#silent || this.#refused) this.#log.info("the region store takes state again");
      this.#silent = false;
      this.#refused = false;
      return;
    }
    const { reason, metadata } = meshErrorFromServiceError(error, { writes: false });
    if (reason === "CLUSTER_MISMATCH") {
      if (!this.#refused) {
        this.#log.error(
          { clusterId: this.#clusterId, storedClusterId: metadata["stored_cluster_id"] },
          "the region store holds the state of another cluster and takes none of ours: give this cluster a database of its own, or correct --region-store-address or --cluster-id",
        );
      }
      this.#refused = true;
      return;
    }
    if (!this.#silent) this.#log.warn({ reason: error.details }, "the region store does not take state; trying again");
    this.#silent = true;
  }

  close(): void {
    this.#client.close();
  }
}
