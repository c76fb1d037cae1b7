import type { LogEntry, SnapshotMeta } from "@statemesh/contract";
import { configurationOf, membersOf, NO_CONFIGURATION, sameConfiguration } from "./configuration.ts";
import type { Configuration } from "./configuration.ts";
import { ConfigurationHistory } from "./configuration-history.ts";
import { invariant } from "./invariant.ts";
import type { RaftOptions } from "./options.ts";
import { Progress } from "./progress.ts";
import type { Quorum } from "./quorum/quorum.ts";
import { quorumOf } from "./quorum/rule.ts";
import type { QuorumRule } from "./quorum/rule.ts";
import type { RaftLog } from "./raft-log.ts";

const NOBODY: never[] = [];

/** Who takes part, as this replica's log says: the configuration, the quorum that follows from it, and what is known of each member. */
export class Members {
  readonly #options: RaftOptions;
  readonly #nodeId: number;
  readonly #history: ConfigurationHistory;
  /** Undefined only where the node joins and knows of no configuration yet. */
  #quorum: Quorum | undefined;
  /** Every member, and this node in any case. */
  #progress = new Map<number, Progress>();
  #peers: Progress[] = [];

  constructor(options: RaftOptions, log: RaftLog) {
    this.#options = options;
    this.#nodeId = options.nodeId;
    const snapshot = options.restored?.snapshot;
    this.#history = new ConfigurationHistory(snapshot?.index ?? 0, this.#said(snapshot));
    const firstBehind = Math.max(log.first, (snapshot?.index ?? 0) + 1);
    this.#history.replaceFrom(firstBehind, log.slice(firstBehind, log.last, Infinity));
    this.#configure();
  }

  /** The latest configuration in the log, committed or not: the one that counts. */
  get configuration(): Configuration {
    return this.#history.current;
  }

  /** Where it stands in the log. */
  get configurationIndex(): number {
    return this.#history.index;
  }

  /** The configuration before the latest. */
  get previousConfiguration(): Configuration | undefined {
    return this.#history.previous;
  }

  /** See ConfigurationHistory. */
  forSnapshot(index: number): Configuration | undefined {
    return this.#history.forSnapshot(index);
  }

  /** Everybody who votes; in a joint configuration those of both halves. */
  get voters(): readonly number[] {
    return this.#quorum?.voters ?? NOBODY;
  }

  votes(id: number): boolean {
    return this.#quorum?.has(id) === true;
  }

  /** Of a replica that leads or campaigns, and so has a configuration. */
  get quorum(): Quorum {
    invariant(this.#quorum !== undefined, "who leads or campaigns knows the configuration");
    return this.#quorum;
  }

  decides(agrees: (voter: number) => boolean): boolean {
    return this.#quorum !== undefined && this.#quorum.decides(agrees);
  }

  /** Whether the voters of `target` for which `agrees` holds could decide by themselves. */
  couldDecide(target: Configuration, agrees: (voter: number) => boolean): boolean {
    return quorumOf(this.#rule, target).decides(agrees);
  }

  get(id: number): Progress | undefined {
    return this.#progress.get(id);
  }

  get own(): Progress {
    return this.#progress.get(this.#nodeId)!;
  }

  /** Every member, and this node in any case. */
  get all(): ReadonlyMap<number, Progress> {
    return this.#progress;
  }

  /** Every member but this node, ascending. */
  get peers(): readonly Progress[] {
    return this.#peers;
  }

  /** Entries from `first` on are new in the log; what it held from there was cut off. */
  logReplaced(first: number, entries: readonly LogEntry[]): void {
    if (this.#history.replaceFrom(first, entries)) this.#configure();
  }

  /** A snapshot replaced the log. */
  logInstalled(meta: SnapshotMeta): void {
    this.#history.reset(meta.index, this.#said(meta));
    this.#configure();
  }

  /** Entries up to `through` are forgotten, and `meta` is a snapshot that the application has. */
  logCompacted(through: number, meta: SnapshotMeta, isNewest: boolean): void {
    if (isNewest && this.#history.at(meta.index) !== undefined) {
      const configuration = this.#history.forSnapshot(meta.index);
      invariant(configuration !== undefined && sameConfiguration(configuration, this.#said(meta)), "a snapshot carries the configuration at its index");
    }
    this.#history.compact(through);
  }

  /** The leader appended a configuration: it stands from now on. Whoever leaves decides nothing any more, but is served on and hears of it. */
  begin(entry: LogEntry): void {
    const leaving = this.configuration;
    const before = this.#progress;
    this.#history.replaceFrom(entry.index, [entry]);
    this.#configure(leaving);
    for (const peer of this.#peers) {
      if (before.has(peer.id)) continue;
      peer.reset(entry.index);
      // It had no chance yet to be heard.
      peer.recentActive = true;
    }
  }

  /** The change is committed: those who left are forgotten. */
  settle(): void {
    this.#configure();
  }

  /** Whether this replica could go by what a snapshot says. One without voters speaks of the bootstrap configuration, where there was no other. */
  canTake(meta: SnapshotMeta): boolean {
    if (meta.voters.length === 0) return sameConfiguration(this.configuration, this.#said(undefined));
    return typeof configurationOf(meta) !== "string";
  }

  get #rule(): QuorumRule {
    return this.#options.quorum ?? "weighted";
  }

  /** What a snapshot says; without voters, or without a snapshot, it is the bootstrap configuration. */
  #said(snapshot: SnapshotMeta | undefined): Configuration {
    const target = snapshot === undefined || snapshot.voters.length === 0 ? { voters: this.#options.voters, learners: NOBODY } : snapshot;
    if (target.voters.length === 0) return NO_CONFIGURATION;
    const configuration = configurationOf(target);
    invariant(typeof configuration !== "string", "a snapshot's configuration can be");
    return configuration;
  }

  /** Takes the latest configuration of the log for its own. Members of `leaving` are served on. */
  #configure(leaving: Configuration = NO_CONFIGURATION): void {
    const configuration = this.configuration;
    this.#quorum = configuration.voters.length === 0 ? undefined : quorumOf(this.#rule, configuration);
    const progress = new Map<number, Progress>();
    for (const id of [...new Set([...membersOf(configuration), ...membersOf(leaving), this.#nodeId])].sort((a, b) => a - b)) {
      progress.set(id, this.#progress.get(id) ?? new Progress(id, this.#options.maxInflightMessages, this.#options.maxInflightBytes));
    }
    this.#progress = progress;
    this.#peers = [...progress.values()].filter((peer) => peer.id !== this.#nodeId);
  }
}
