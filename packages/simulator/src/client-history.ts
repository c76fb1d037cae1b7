// What the clients of a run asked and were told, for the checkers of histories: they know neither the log nor any node.
import { type Call, checkLinearizability, checkStrictSerializability, History, type KeyOperation, type ResultOf, type Transaction, type TransactionResult } from "@statemesh/checker";
import type { Recorder } from "./recorder.ts";

/** Configurations that the search looks at for one key; beyond, the key counts as undecided, which is a violation too. */
const BUDGET = 1_000_000;

/** One call on one key, or one transaction. Result undefined: not told. */
export interface RecordedCall {
  readonly operation: KeyOperation | Transaction;
  readonly result: ResultOf<KeyOperation> | TransactionResult | undefined;
}

/** A request of a client with all that is to be said about it once the run is over. */
export interface Request {
  readonly process: string;
  /** `ok`: answered. `fail`: surely not done. `open`: nobody was told. */
  outcome: "ok" | "fail" | "open";
  /** Log index at which it took effect or looked, where the answer named one. */
  position: number | undefined;
  calls(): readonly RecordedCall[];
}

/** Requests and their ends in the order of time. Calls are made of them at the end only: what a refusal says of a key shows with its reason. */
export class ClientHistory {
  readonly #nowMs: () => number;
  readonly #events: { readonly atMs: number; readonly request: Request; readonly ends: boolean }[] = [];

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  begin(request: Request): void {
    this.#events.push({ atMs: this.#nowMs(), request, ends: false });
  }

  /** The client was told. Only the first end of a request counts. */
  end(request: Request, outcome: "ok" | "fail", position?: number): void {
    if (request.outcome !== "open") return;
    request.outcome = outcome;
    request.position = position;
    this.#events.push({ atMs: this.#nowMs(), request, ends: true });
  }

  history(): History {
    const history = new History();
    const made = new Map<Request, { readonly recorded: RecordedCall; readonly call: Call<KeyOperation | Transaction> }[]>();
    for (const { atMs, request, ends } of this.#events) {
      if (!ends) {
        made.set(request, request.calls().map((recorded) => ({ recorded, call: history.invoke(request.process, atMs, recorded.operation) })));
        continue;
      }
      for (const { recorded, call } of made.get(request) ?? []) {
        if (request.outcome === "fail") history.fail(call, atMs);
        else if (recorded.result !== undefined) history.ok(call, atMs, recorded.result, request.position);
      }
    }
    return history;
  }

  /** Both checkers, over all of the run. `budget`: configurations for one key, 1 or more. */
  check(recorder: Recorder, budget = BUDGET): void {
    const history = this.history();
    const { violations, undecided, calls, keys, configurations } = checkLinearizability(history, { budget });
    recorder.note("history", calls, keys, configurations);
    const [violated] = violations;
    if (violated !== undefined) return recorder.violation("history is linearizable", violated.explanation);
    const [unknown] = undecided;
    if (unknown !== undefined) return recorder.violation("history is decided", unknown.explanation);
    const { anomalies, transactions, edges } = checkStrictSerializability(history);
    recorder.note("transactions", transactions, edges);
    const [anomaly] = anomalies;
    if (anomaly !== undefined) recorder.violation("history is strictly serializable", anomaly.text);
  }
}
