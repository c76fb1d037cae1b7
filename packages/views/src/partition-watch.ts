// What one who stands outside of a cluster knows of its links, from what the nodes tell it.
import { type Configuration, quorumOf } from "@statemesh/raft";
import { LinkGraph } from "./link-graph.ts";
import { type NodeReport, REPORTS_MAX, ReportTable } from "./report-table.ts";
import type { SuspicionOptions } from "./suspicion.ts";
import { type Part, verdictOf } from "./verdict.ts";
import { NO_VIEW, type View } from "./view.ts";

/** Who belongs to a cluster, as a node has applied it. */
export interface Roll extends Configuration {
  readonly members: readonly number[];
  /** Index through which it has applied group 0: who has applied more is believed. */
  readonly index: number;
}

/**
 * - `unknown`: nobody says anything.
 * - `whole`: every two members hear one another.
 * - `split`: they do not, and a part goes on.
 * - `no-winner`: they do not, and no part can decide.
 */
export type PartitionState = "unknown" | "whole" | "split" | "no-winner";

export interface PartitionVerdict {
  readonly state: PartitionState;
  readonly graph: LinkGraph;
  readonly parts: readonly Part[];
  readonly alive: readonly number[];
  /** Members of which nothing new is heard, ascending. */
  readonly unheard: readonly number[];
}

const NOBODY: Roll = { members: [], voters: [], outgoing: [], learners: [], index: 0 };

export class PartitionWatch<V extends View = View> {
  readonly #reports = new ReportTable();
  #roll: Roll = NOBODY;
  #times: SuspicionOptions;
  #view: V | undefined;
  /** Time that the watcher ran, ms: what it slept through is nobody's silence. */
  #ranMs = 0;
  #beatMs: number | undefined;

  constructor(times: SuspicionOptions) {
    this.#times = times;
  }

  /** The latest view that a node told of; undefined: none. */
  get view(): V | undefined {
    return this.#view;
  }

  get members(): readonly number[] {
    return this.#roll.members;
  }

  /** The watcher's own beat, at least once a heartbeat. */
  beat(nowMs: number): void {
    this.#ranMs += Math.min(this.#beatMs === undefined ? 0 : Math.max(0, nowMs - this.#beatMs), this.#times.heartbeatMs);
    this.#beatMs = nowMs;
  }

  /** A node told what it knows. */
  take(reports: readonly NodeReport[], roll: Roll, view: V, times: SuspicionOptions): void {
    if (roll.index >= this.#roll.index && roll.members.length > 0) {
      for (const nodeId of this.#roll.members) if (!roll.members.includes(nodeId)) this.#reports.forget(nodeId);
      this.#roll = roll;
      this.#times = times;
    }
    if (view.epoch > (this.#view?.epoch ?? 0)) this.#view = view;
    for (const report of reports.slice(0, REPORTS_MAX)) if (this.#roll.members.includes(report.nodeId)) this.#reports.take(report, this.#ranMs);
  }

  /** What others than a node said lately. */
  passedOn(nodeId: number): NodeReport[] {
    return this.#fresh().filter((report) => report.nodeId !== nodeId);
  }

  #fresh(): NodeReport[] {
    return this.#reports.fresh(this.#ranMs, this.#times.suspicionMs);
  }

  verdict(): PartitionVerdict {
    const { members, voters } = this.#roll;
    const fresh = this.#fresh();
    const graph = new LinkGraph(members, fresh);
    const unheard = members.filter((nodeId) => !fresh.some((report) => report.nodeId === nodeId));
    if (fresh.length === 0 || voters.length === 0) return { state: "unknown", graph, parts: [], alive: [], unheard };
    const { parts, alive } = verdictOf(graph, quorumOf("weighted", this.#roll), new Set((this.#view ?? NO_VIEW).alive));
    return { state: graph.isWhole ? "whole" : alive.length > 0 ? "split" : "no-winner", graph, parts, alive, unheard };
  }
}
