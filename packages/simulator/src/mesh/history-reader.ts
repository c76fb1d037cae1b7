// Somebody who reads the stored causal events of a region, page by page, and comes again later: it sees them in the order in which they stand, each once.
import { MeshError, type ReadCausalHistoryResponse, type Region } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import type { Recorder } from "../recorder.ts";
import type { SimRandom } from "../sim-random.ts";
import type { Simulation } from "../simulation.ts";
import type { SimStore } from "../store/sim-store.ts";
import { type HistoryOracle, nameOf } from "./history-oracle.ts";

const EVERY_MS = 700;
/** A page that does not come is asked for again after this: its store was killed. */
const PATIENCE_MS = 5_000;

export class HistoryReader {
  readonly #simulation: Simulation;
  readonly #random: SimRandom;
  readonly #store: SimStore;
  readonly #oracle: HistoryOracle;
  readonly #region: Region;
  readonly #recorder: Recorder;
  #token = "";
  /** How many events of the region it is behind; undefined: it begins at whatever is the oldest. */
  #next: number | undefined;
  #call = 0;

  constructor(simulation: Simulation, store: SimStore, oracle: HistoryOracle, region: Region, recorder: Recorder) {
    this.#simulation = simulation;
    this.#random = simulation.random.fork();
    this.#store = store;
    this.#oracle = oracle;
    this.#region = region;
    this.#recorder = recorder;
  }

  start(): void {
    this.#simulation.after(this.#random.next() * EVERY_MS, () => this.#ask());
  }

  #ask(): void {
    const call = ++this.#call;
    this.#simulation.after(PATIENCE_MS, () => {
      if (this.#call === call) this.#ask();
    });
    const asked = this.#token;
    // What comes while the answer is on its way may be in it, and need not be.
    const stood = this.#standing().length;
    this.#store.readCausalHistory({ region: this.#region, pageSize: 1 + Math.floor(this.#random.next() * 40), pageToken: asked }).then(
      (page) => {
        if (this.#call === call) this.#take(page, stood);
      },
      (error: unknown) => {
        if (this.#call === call) this.#refused(error, asked);
      },
    );
  }

  #standing(): readonly string[] {
    this.#oracle.check();
    return this.#oracle.byRegion.get(formatRegion(this.#region)) ?? [];
  }

  #take({ events, nextPageToken, resumeToken, trimmed }: ReadCausalHistoryResponse, stood: number): void {
    const all = this.#standing();
    for (const { event } of events) {
      const name = event === undefined ? "nothing" : nameOf(event);
      const at = this.#next ?? all.indexOf(name);
      if (this.#next === undefined && at > 0 && !trimmed) this.#fail(`begins with ${name}, which ${at} others come before, and nothing was trimmed`);
      if (at < 0 || all[at] !== name) this.#fail(`reads ${name} where ${all[at] ?? "nothing"} stands`);
      this.#next = at + 1;
      this.#recorder.sometimes("causal history read");
    }
    if (nextPageToken === "" && this.#next === undefined && stood > 0 && !trimmed) this.#fail(`reads nothing where ${stood} events stand`);
    this.#token = resumeToken;
    this.#simulation.after(nextPageToken === "" ? EVERY_MS : 1, () => this.#ask());
  }

  #refused(error: unknown, asked: string): void {
    const { reason } = MeshError.from(error);
    if (reason === "HISTORY_TRIMMED" && asked !== "") {
      this.#token = "";
      this.#next = undefined;
    } else if (!["STORE_UNAVAILABLE", "OVERLOADED"].includes(reason)) this.#fail(`is answered ${reason}`);
    this.#simulation.after(EVERY_MS, () => this.#ask());
  }

  #fail(message: string): void {
    this.#recorder.violation("history is causal", `a reader of ${formatRegion(this.#region)} ${message}`);
  }
}
