// What one node knows of the links between all members: it listens, says what it hears, passes on what others say, and votes.
import type { Quorum } from "@statemesh/raft";
import { LinkGraph } from "./link-graph.ts";
import { type NodeReport, ReportTable } from "./report-table.ts";
import { type Side, sideOf } from "./side.ts";
import { Suspicion, type SuspicionOptions } from "./suspicion.ts";
import { type Verdict, verdictOf } from "./verdict.ts";
import { sameMembers, type View, votersFor } from "./view.ts";

export interface LinkWatchOptions extends SuspicionOptions {
  readonly nodeId: number;
  /** Of this start of the node, greater with every start. */
  readonly incarnation: number;
}

export class LinkWatch {
  readonly suspicion: Suspicion;
  readonly #options: LinkWatchOptions;
  readonly #reports = new ReportTable();
  /** Of these, the ones that came over members only. */
  readonly #overMembers = new ReportTable();
  #members: readonly number[] = [];
  #quorum: Quorum;
  #sequence = 0;
  #changes = 0;

  /** @param members With this node among them, or it has not come yet. */
  constructor(options: LinkWatchOptions, members: readonly number[], quorum: Quorum) {
    this.#options = options;
    this.suspicion = new Suspicion(options);
    this.#quorum = quorum;
    this.setMembers(members, quorum);
  }

  get members(): readonly number[] {
    return this.#members;
  }

  /** Who belongs to the cluster now, and whose word decides. */
  setMembers(members: readonly number[], quorum: Quorum): void {
    this.#quorum = quorum;
    if (sameMembers(members, this.#members)) return;
    for (const nodeId of this.#members) {
      if (members.includes(nodeId)) continue;
      this.suspicion.forget(nodeId);
      this.#reports.forget(nodeId);
      this.#overMembers.forget(nodeId);
    }
    this.#members = [...members].sort((a, b) => a - b);
    this.#changes++;
    for (const nodeId of this.#members) if (nodeId !== this.#options.nodeId) this.suspicion.watch(nodeId);
  }

  /** This node's own beat: at least once a heartbeat. */
  beat(nowMs: number): void {
    this.suspicion.beat(nowMs);
  }

  /** Anything at all came from a member, directly. */
  heard(nodeId: number): void {
    if (this.#isOther(nodeId)) this.suspicion.heard(nodeId);
  }

  /**
   * A report of a member came, from itself or passed on. False: nothing new.
   *
   * @param overMembers it came over members only, so that they reach the one who made it
   */
  take(report: NodeReport, overMembers = true): boolean {
    if (!this.#isOther(report.nodeId)) return false;
    if (overMembers) this.#overMembers.take(report, this.suspicion.ranMs);
    const before = this.#reports.of(report.nodeId);
    if (!this.#reports.take(report, this.suspicion.ranMs)) return false;
    if (before === undefined || !sameMembers(before.hears, report.hears)) this.#changes++;
    return true;
  }

  /** Grows whenever somebody hears another or does not any more, but for reports that grow old. */
  get changes(): number {
    return this.#changes + this.suspicion.changes;
  }

  #isOther(nodeId: number): boolean {
    return nodeId !== this.#options.nodeId && this.#members.includes(nodeId);
  }

  /** What this node says now. Each call makes a newer report. */
  report(view: View): NodeReport {
    return { ...this.#own(view), sequence: ++this.#sequence };
  }

  /** Reports of others that are not old, to be passed on to members. */
  passedOn(): NodeReport[] {
    return this.#overMembers.fresh(this.suspicion.ranMs, this.#options.removalMs);
  }

  #known(): NodeReport[] {
    return this.#reports.fresh(this.suspicion.ranMs, this.#options.removalMs);
  }

  #own(view: View): NodeReport {
    const { nodeId, incarnation } = this.#options;
    const hears = this.#members.filter((other) => this.suspicion.hears(other));
    const own = { nodeId, incarnation, sequence: this.#sequence, hears, steady: hears.filter((other) => this.suspicion.isSteady(other)), epoch: view.epoch, vote: [] };
    return { ...own, vote: this.#verdict(own, view).alive };
  }

  /** Who hears whom, as far as this node knows. */
  graph(): LinkGraph {
    const { nodeId } = this.#options;
    return new LinkGraph(this.#members, [...this.#known(), { nodeId, hears: this.#members.filter((other) => this.suspicion.hears(other)) }]);
  }

  /** Whether a member said lately that it does not hear this node. */
  isDeaf(nodeId: number): boolean {
    const ageMs = this.#reports.ageMs(nodeId, this.suspicion.ranMs);
    return ageMs !== undefined && ageMs < this.#options.suspicionMs && this.#reports.of(nodeId)?.hears.includes(this.#options.nodeId) === false;
  }

  /** Who could go on, by the links that hold now. */
  verdict(view: View): Verdict {
    return verdictOf(this.graph(), this.#quorum, new Set(view.alive));
  }

  /** Who should go on, by the links that have held for long enough. */
  #verdict(own: NodeReport, view: View): Verdict {
    const reports = [...this.#known(), own].map(({ nodeId, steady }) => ({ nodeId, hears: steady }));
    return verdictOf(new LinkGraph(this.#members, reports), this.#quorum, new Set(view.alive));
  }

  /** On which side this node stands. A node that is no member stands aside of everything. */
  side(): Side {
    return sideOf(this.graph(), this.#quorum, this.#options.nodeId);
  }

  /** Milliseconds since anything new was heard of a member, from any member. */
  #silenceMs(nodeId: number): number {
    const directMs = this.suspicion.silenceMs(nodeId) ?? 0;
    return Math.min(directMs, this.#overMembers.ageMs(nodeId, this.suspicion.ranMs) ?? directMs);
  }

  /** The view that should follow and has the votes for it; undefined: the one in force is right, or nobody can decide, or the votes are not in yet. */
  proposal(view: View): View | undefined {
    const own = this.#own(view);
    const { vote: alive } = own;
    // A cluster that starts waits for its members before it first says who is there.
    if (alive.length === 0 || (view.epoch === 0 && alive.length < this.#members.length && this.suspicion.ranMs < this.#options.suspicionMs)) return undefined;
    const removed = this.#members.filter((nodeId) => nodeId !== own.nodeId && !alive.includes(nodeId) && (this.#silenceMs(nodeId) >= this.#options.removalMs || view.removed.includes(nodeId)));
    if (sameMembers(alive, view.alive) && sameMembers(removed, view.removed)) return undefined;
    const votedBy = votersFor(alive, view.epoch, [...this.#known(), own]);
    return this.#quorum.decides((voter) => votedBy.includes(voter)) ? { epoch: view.epoch + 1, alive, removed, votedBy } : undefined;
  }
}
