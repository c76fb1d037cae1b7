/** What became of operations that were answered OUTCOME_TENTATIVE. */
import { Metadata } from "@grpc/grpc-js";
import type { Decision, GetHealReportResponse, HealReport, WatchTentativeResponse } from "@statemesh/contract";
import type { CompiledClientOptions } from "./client-options.ts";
import type { NodePool } from "./node-pool.ts";
import { ReopeningStream } from "./reopening-stream.ts";
import { type CallLimits, READ_CALL, type UnaryCaller } from "./unary-caller.ts";

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
   * outcome is not TENTATIVE is the last word on its id. Ends on `break`, when `signal` fires, when the client is closed, or with a MeshError.
   *
   * @param operationIds only these, at most 1,024; what became of them is told although it was decided before
   */
  async *watch(operationIds: readonly string[] = [], signal?: AbortSignal): AsyncGenerator<Decision, void, undefined> {
    const request = { serverId: this.#options.serverId, operationIds: [...operationIds] };
    const stream = new ReopeningStream<WatchTentativeResponse>(this.#pool, this.#options, (node) => node.healing.watchTentative(request, new Metadata(), {}), signal === undefined ? {} : { signal });
    for await (const { decisions } of stream) yield* decisions;
  }
}
