// The newest report of each node, and until when it counts. Reports are passed on, so a node hears of links that it is no end of.
import type { LinkReport } from "./link-graph.ts";

/** What a node says of its links, with what puts it in order. */
export interface NodeReport extends LinkReport {
  /** Of this start of the node, greater with every start. */
  readonly incarnation: number;
  /** Grows with every report of a start. */
  readonly sequence: number;
  /** Of those that it hears, the ones that it heard without a break long enough to count on. */
  readonly steady: readonly number[];
  /** The view that it knows to be in force. */
  readonly epoch: number;
  /** Whom it takes to be alive in the next one: its vote. Empty: none. */
  readonly vote: readonly number[];
}

interface Row<Report> {
  readonly report: Report;
  readonly takenMs: number;
}

/** Nodes of which reports are kept at most; of further ones none is taken in. */
export const REPORTS_MAX = 16;

export class ReportTable<Report extends NodeReport = NodeReport> {
  readonly #rows = new Map<number, Row<Report>>();

  /** Takes a report in, unless a newer one of that node is here. False: it was old, or there are too many. */
  take(report: Report, nowMs: number): boolean {
    const row = this.#rows.get(report.nodeId);
    if (row === undefined ? this.#rows.size >= REPORTS_MAX : !isNewer(report, row.report)) return false;
    this.#rows.set(report.nodeId, { report, takenMs: nowMs });
    return true;
  }

  forget(nodeId: number): void {
    this.#rows.delete(nodeId);
  }

  /** The newest report of a node, however old. */
  of(nodeId: number): Report | undefined {
    return this.#rows.get(nodeId)?.report;
  }

  /** Milliseconds since a node said something new; undefined: it never did. */
  ageMs(nodeId: number, nowMs: number): number | undefined {
    const row = this.#rows.get(nodeId);
    return row === undefined ? undefined : nowMs - row.takenMs;
  }

  /** Reports that are younger than a time, by node id. */
  fresh(nowMs: number, withinMs: number): Report[] {
    const rows = [...this.#rows.values()].filter(({ takenMs }) => nowMs - takenMs < withinMs);
    return rows.map(({ report }) => report).sort((a, b) => a.nodeId - b.nodeId);
  }
}

function isNewer(one: NodeReport, other: NodeReport): boolean {
  return one.incarnation === other.incarnation ? one.sequence > other.sequence : one.incarnation > other.incarnation;
}
