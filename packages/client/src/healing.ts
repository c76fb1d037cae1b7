/** What became of operations that were answered OUTCOME_TENTATIVE. */
import { type CallOptions, type ClientReadableStream, Metadata, type ServiceError } from "@grpc/grpc-js";
import { type Decision, type GetHealReportResponse, type HealReport, MeshError, meshErrorFromServiceError, type WatchTentativeResponse } from "@statemesh/contract";
import type { CompiledClientOptions } from "./client-options.ts";
import type { NodePool } from "./node-pool.ts";
import { backoffMs, isNodeAtFault, isRetryable, Outage } from "./retry.ts";
import { type CallLimits, READ_CALL, sleep, type UnaryCaller } from "./unary-caller.ts";

/** Longest time without a connection before a watch gives up, ms. */
const GIVE_UP_MS = 60_000;

/** Heal reports, and the watch over this server's kept operations. */
export class Healing {
  readonly #caller: UnaryCaller;
  readonly #pool: NodePool;
  readonly #options: CompiledClientOptions;

  constructor(caller: UnaryCaller, pool: NodePool, options: CompiledClientOptions) {
    this.#caller = caller;
    this.#pool = pool;
    this.#options = options;
  }

  /** All reports that are kept, by group, the newest first. */
  async reports(groupId?: number, limits?: CallLimits): Promise<HealReport[]> {
    const reports: HealReport[] = [];
    let pageToken = "";
    do {
      const request = { groupId, stale: false, pageSize: 0, pageToken };
      const page = await this.#caller.call<{ reports: HealReport[]; nextPageToken: string }>((node, metadata, options, done) => node.healing.listHealReports(request, metadata, options, done), READ_CALL, limits);
      for (const report of page.reports) reports.push(report);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return reports;
  }

  /** A report with its operations, page by page. Throws NOT_FOUND where it is not kept any more. */
  async *report(reportId: string, limits?: CallLimits): AsyncGenerator<GetHealReportResponse, void, undefined> {
    let pageToken = "";
    do {
      const request = { reportId, stale: false, pageSize: 0, pageToken };
      const page = await this.#caller.call<GetHealReportResponse>((node, metadata, options, done) => node.healing.getHealReport(request, metadata, options, done), READ_CALL, limits);
      yield page;
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  /**
   * How this server's kept operations stand at the node that this client talks to, every change, and what became of each. A decision whose
   * outcome is not TENTATIVE is the last word on its id. Ends on `break`, when `signal` fires, or with a MeshError.
   *
   * @param operationIds only these, at most 1,024; what became of them is told although it was decided before
   */
  async *watch(operationIds: readonly string[] = [], signal?: AbortSignal): AsyncGenerator<Decision, void, undefined> {
    let failures = 0;
    const outage = new Outage(performance.now());
    const isOver = (): boolean => signal?.aborted === true;
    while (!isOver()) {
      const node = this.#pool.current();
      const options: Partial<CallOptions> = {};
      const call: ClientReadableStream<WatchTentativeResponse> = node.healing.watchTentative({ serverId: this.#options.serverId, operationIds: [...operationIds] }, new Metadata(), options);
      const stop = (): void => call.cancel();
      signal?.addEventListener("abort", stop, { once: true });
      const openedMs = performance.now();
      let hasHeard = false;
      let error = new MeshError("SHUTTING_DOWN", "the server ended the watch");
      try {
        for await (const { decisions } of call as AsyncIterable<WatchTentativeResponse>) {
          failures = 0;
          hasHeard = true;
          yield* decisions;
        }
      } catch (thrown) {
        if (!isServiceError(thrown)) throw thrown;
        error = meshErrorFromServiceError(thrown, { writes: false });
      } finally {
        signal?.removeEventListener("abort", stop);
        call.cancel();
      }
      if (isOver()) return;
      if (!isRetryable(error, true) || outage.broken(openedMs, hasHeard, performance.now()) > GIVE_UP_MS) throw error;
      if (isNodeAtFault(error)) this.#pool.failed(node);
      failures += 1;
      await sleep(backoffMs(error, failures, this.#options.backoffMinMs, this.#options.backoffMaxMs, Math.random()), signal);
    }
  }
}

function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "number" && "details" in thrown;
}
