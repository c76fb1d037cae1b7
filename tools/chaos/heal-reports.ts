/** Heal reports of a run, read while they are made: a group keeps the newest 16 only, and a long run has more partitions than that. */
import { setTimeout as wait } from "node:timers/promises";
import type { MeshClient } from "@statemesh/client";
import { type HealedOperation, type HealReport, MeshError } from "@statemesh/contract";
import { settled } from "./checks/check.ts";

const EVERY_MS = 2_000;
const READ_LIMIT_MS = 5_000;
const WATCH_LIMIT_MS = 20_000;
/** Ids of one watch. */
const WATCHED_MAX = 1_024;

export interface ReadReport {
  readonly head: HealReport;
  /** In the order in which they were decided. */
  readonly operations: readonly HealedOperation[];
}

export class HealReports {
  readonly #client: MeshClient;
  readonly #reports = new Map<string, ReadReport>();
  readonly #stop = new AbortController();
  #reading: Promise<void> = Promise.resolve();

  constructor(client: MeshClient) {
    this.#client = client;
  }

  /** All that were read so far, in the order of their groups' logs. */
  get all(): ReadReport[] {
    return [...this.#reports.values()].sort((a, b) => a.head.groupId - b.head.groupId || (a.head.position?.index ?? 0) - (b.head.position?.index ?? 0));
  }

  start(): void {
    this.#reading = (async () => {
      while (!this.#stop.signal.aborted) {
        // Nobody answers during an outage: the next time is soon enough.
        await this.#tryToRead();
        try {
          await wait(EVERY_MS, undefined, { signal: this.#stop.signal });
        } catch {
          return; // The load is over.
        }
      }
    })();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#reading;
  }

  /** Reads until all of these are listed, or the time is over; what went wrong last. */
  async readUntilListed(operationIds: readonly string[], limitMs: number): Promise<string[]> {
    return await settled(async () => {
      const trouble = await this.#tryToRead();
      const listed = new Set(this.all.flatMap(({ operations }) => operations.map(({ operationId }) => operationId)));
      const missing = operationIds.filter((id) => !listed.has(id)).length;
      return trouble !== undefined ? [trouble] : missing > 0 ? [`${missing} of ${operationIds.length} are in no report`] : [];
    }, limitMs);
  }

  async #tryToRead(): Promise<string | undefined> {
    try {
      for (const head of await this.#client.healing.reports(undefined, { deadlineMs: READ_LIMIT_MS })) {
        const known = this.#reports.get(head.reportId)?.head;
        // A report grows while it is decided.
        if (known === undefined || sizeOf(known) !== sizeOf(head)) await this.#read(head.reportId);
      }
      return undefined;
    } catch (thrown) {
      const { reason, message } = MeshError.from(thrown);
      if (reason === "INTERNAL") throw thrown;
      return `heal reports cannot be read: ${reason}: ${message}`;
    }
  }

  async #read(reportId: string): Promise<void> {
    let head: HealReport | undefined;
    const operations: HealedOperation[] = [];
    for await (const page of this.#client.healing.report(reportId, { deadlineMs: READ_LIMIT_MS })) {
      head = page.report;
      operations.push(...page.operations);
    }
    if (head !== undefined) this.#reports.set(reportId, { head, operations });
  }
}

/** Operations that a report lists. */
export function sizeOf({ accepted, merged, rejected }: HealReport): number {
  return accepted + merged + rejected;
}

/** Asks a node what became of operations, as their server that comes back later does; ids of which it was told nothing in time. */
export async function notTold(node: MeshClient, operationIds: readonly string[]): Promise<string[]> {
  const open = new Set(operationIds);
  for (let from = 0; from < operationIds.length; from += WATCHED_MAX) {
    const part = operationIds.slice(from, from + WATCHED_MAX);
    let left = part.length;
    for await (const { operationId } of node.healing.watch(part, AbortSignal.timeout(WATCH_LIMIT_MS))) {
      if (open.delete(operationId)) left -= 1;
      if (left === 0) break;
    }
  }
  return [...open];
}
