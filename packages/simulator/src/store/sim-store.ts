import {
  type GetWatermarksResponse,
  type LoadEventualValuesRequest,
  LoadEventualValuesResponse,
  MaterializeRequest,
  type MaterializeResponse,
  MeshError,
  type ReadCausalHistoryRequest,
  ReadCausalHistoryResponse,
  StoreCausalEventsRequest,
  type StoreCausalEventsResponse,
  StoreEventualValuesRequest,
  type StoreEventualValuesResponse,
} from "@statemesh/contract";
import { CausalHistory, EventualValues, type Invalidations, Materializer } from "@statemesh/store";
import { SimTimers } from "../sim-clock.ts";
import type { Simulation } from "../simulation.ts";
import { SimCausal } from "./sim-causal.ts";
import { SimMaterialization } from "./sim-materialization.ts";
import { type SimSql, SimSqlClient } from "./sim-sql.ts";

/** Calls that one store answers at a time; further ones are refused with OVERLOADED. */
const CALLS_MAX = 1_024;

/** How many events of a group are kept: few, so that many are trimmed. */
const KEEP_EVENTS = 400;
const KEEP_MS = 86_400_000;
/** How often it looks for what is kept no longer, milliseconds. */
const TRIM_EVERY_MS = 5_000;

/** What one process of the store answers with. */
interface Life {
  readonly client: SimSqlClient;
  readonly timers: SimTimers;
  readonly materializer: Materializer;
  readonly eventual: EventualValues;
  readonly causal: CausalHistory;
}

/** No caches: nothing to forget. */
export const NO_CACHES: Invalidations = { invalidate: async () => undefined };

/**
 * A region store process over a simulated database: the production materializer answers. `crash` leaves calls without an answer, as a killed
 * process does; `start` begins a new life over the same database.
 */
export class SimStore {
  readonly #simulation: Simulation;
  readonly #sql: SimSql;
  readonly #caches: Invalidations;
  #life: Life | undefined;
  #calls = 0;
  /** Hears of every batch that is answered as taken. */
  watch: (groupId: number, watermark: number) => void = () => undefined;

  constructor(simulation: Simulation, sql: SimSql, caches: Invalidations = NO_CACHES) {
    this.#simulation = simulation;
    this.#sql = sql;
    this.#caches = caches;
    this.start();
  }

  get isUp(): boolean {
    return this.#life !== undefined;
  }

  start(): void {
    if (this.#life !== undefined) return;
    const client = new SimSqlClient(this.#sql);
    const timers = new SimTimers(this.#simulation);
    this.#calls = 0;
    const rows = new SimMaterialization(client, timers, this.#simulation.random.fork());
    const events = new SimCausal(client, timers, this.#simulation.random.fork());
    const causal = new CausalHistory(events, () => this.#simulation.nowMs, { keepMs: KEEP_MS, keepEvents: KEEP_EVENTS });
    const life = { client, timers, materializer: new Materializer(rows, this.#caches), eventual: new EventualValues(rows), causal };
    this.#life = life;
    this.#trimLater(life);
  }

  #trimLater(life: Life): void {
    const again = (): void => {
      if (this.#life === life) this.#trimLater(life);
    };
    life.timers.after(TRIM_EVERY_MS, () => void life.causal.trim().then(again, again));
  }

  crash(): void {
    this.#life?.client.kill();
    this.#life?.timers.cancelAll();
    this.#life = undefined;
  }

  /** Throws MeshError. Never settles where the process is killed meanwhile. */
  async materialize(request: MaterializeRequest): Promise<MaterializeResponse> {
    // As over a wire: what the caller changes later is not changed here.
    const own = MaterializeRequest.decode(MaterializeRequest.encode(request).finish());
    const answer = await this.#answer(({ materializer }) => materializer.materialize(own));
    this.watch(own.groupId, answer.watermark);
    return answer;
  }

  /** As `materialize`. */
  async watermarks(clusterId: string): Promise<GetWatermarksResponse> {
    return await this.#answer(({ materializer }) => materializer.watermarks({ clusterId }));
  }

  /** As `materialize`. */
  async storeEventualValues(request: StoreEventualValuesRequest): Promise<StoreEventualValuesResponse> {
    const own = StoreEventualValuesRequest.decode(StoreEventualValuesRequest.encode(request).finish());
    return await this.#answer(({ eventual }) => eventual.store(own));
  }

  /** As `materialize`. */
  async loadEventualValues(request: LoadEventualValuesRequest): Promise<LoadEventualValuesResponse> {
    // What the caller does with the values changes no row.
    return await this.#answer(async ({ eventual }) => LoadEventualValuesResponse.decode(LoadEventualValuesResponse.encode(await eventual.load(request)).finish()));
  }

  /** As `materialize`. */
  async storeCausalEvents(request: StoreCausalEventsRequest): Promise<StoreCausalEventsResponse> {
    const own = StoreCausalEventsRequest.decode(StoreCausalEventsRequest.encode(request).finish());
    return await this.#answer(({ causal }) => causal.store(own));
  }

  /** As `materialize`. */
  async readCausalHistory(request: ReadCausalHistoryRequest): Promise<ReadCausalHistoryResponse> {
    return await this.#answer(async ({ causal }) => ReadCausalHistoryResponse.decode(ReadCausalHistoryResponse.encode(await causal.read(request)).finish()));
  }

  async #answer<T>(call: (life: Life) => Promise<T>): Promise<T> {
    if (this.#life === undefined) throw new MeshError("STORE_UNAVAILABLE", "the region store is down");
    if (this.#calls >= CALLS_MAX) throw new MeshError("OVERLOADED", `${CALLS_MAX} calls are under way`);
    const life = this.#life;
    this.#calls++;
    try {
      return await call(life);
    } finally {
      if (this.#life === life) this.#calls--;
    }
  }
}
