import { type CausalGroupEvents, type EventualValue, type LoadEventualValuesResponse, type MaterializeRequest, type MaterializeResponse, MeshError, type StoreCausalEventsResponse } from "@statemesh/contract";
import type { StorePort } from "@statemesh/node";
import type { SimRandom } from "../sim-random.ts";
import type { Simulation } from "../simulation.ts";
import type { SimStore } from "./sim-store.ts";

/** The way between a node and the store. All may be changed while it is used. */
export interface StoreWeather {
  /** Shortest and longest time of one way, milliseconds. */
  minDelayMs: number;
  maxDelayMs: number;
  /** Probability that a request is lost, and that an answer is: then the store did what the node never hears of. */
  loss: number;
  /** Nothing passes. */
  cut: boolean;
}

export interface StoreLinkOptions {
  readonly clusterId: string;
  /** Milliseconds until an answer that does not come counts as none. */
  readonly timeoutMs: number;
  readonly weather: StoreWeather;
}

/** A node's way to a simulated store: what the node's process has with gRPC. */
export class SimStoreLink implements StorePort {
  readonly #simulation: Simulation;
  readonly #random: SimRandom;
  readonly #store: SimStore;
  readonly #options: StoreLinkOptions;
  #refused = false;
  #closed = false;

  constructor(simulation: Simulation, store: SimStore, options: StoreLinkOptions) {
    this.#simulation = simulation;
    this.#random = simulation.random.fork();
    this.#store = store;
    this.#options = options;
  }

  get isRefused(): boolean {
    return this.#refused;
  }

  materialize(request: MaterializeRequest, done: (response: MaterializeResponse | undefined) => void): void {
    this.#call(() => this.#store.materialize(request), done);
  }

  watermarks(done: (watermarks: ReadonlyMap<number, number> | undefined) => void): void {
    this.#call(() => this.#store.watermarks(this.#options.clusterId), (response) => done(response?.watermarks));
  }

  storeEventual(values: readonly EventualValue[], forgetDeletedBeforeMs: number, done: (stored: boolean) => void): void {
    this.#call(() => this.#store.storeEventualValues({ clusterId: this.#options.clusterId, values: [...values], forgetDeletedBeforeMs }), (response) => done(response !== undefined));
  }

  loadEventual(pageToken: string, done: (page: LoadEventualValuesResponse | undefined) => void): void {
    this.#call(() => this.#store.loadEventualValues({ clusterId: this.#options.clusterId, pageSize: 1_000, pageToken }), done);
  }

  storeCausal(groups: CausalGroupEvents[], done: (response: StoreCausalEventsResponse | undefined) => void): void {
    this.#call(() => this.#store.storeCausalEvents({ clusterId: this.#options.clusterId, groups }), done);
  }

  /** The node's process is gone: it hears no more answers. */
  close(): void {
    this.#closed = true;
  }

  /** `done` is called once: with the answer, or with nothing where the call failed or its time is over. */
  #call<T>(run: () => Promise<T>, done: (response: T | undefined) => void): void {
    let open = true;
    const end = (response: T | undefined): void => {
      if (!open || this.#closed) return;
      open = false;
      stop();
      done(response);
    };
    const stop = this.#simulation.after(this.#options.timeoutMs, () => end(undefined));
    const back = (response: T | undefined, error: unknown): void => {
      this.#carry(() => {
        if (this.#closed) return;
        if (response !== undefined) this.#refused = false;
        else if (error instanceof MeshError && error.reason === "CLUSTER_MISMATCH") this.#refused = true;
        end(response);
      });
    };
    this.#carry(() => {
      run().then(
        (response) => back(response, undefined),
        (error: unknown) => back(undefined, error),
      );
    });
  }

  #carry(arrive: () => void): void {
    const { minDelayMs, maxDelayMs, loss, cut } = this.#options.weather;
    if (cut || this.#random.chance(loss)) return;
    this.#simulation.after(minDelayMs + this.#random.next() * (maxDelayMs - minDelayMs), () => {
      if (!this.#options.weather.cut) arrive();
    });
  }
}
