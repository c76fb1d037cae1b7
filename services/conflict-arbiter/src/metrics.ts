/** The arbiter's metrics, read from its counts whenever somebody asks. */
import { Counter, Gauge, registerLatencies, type Registry } from "@statemesh/service";
import type { ClusterWatch } from "./cluster-watch.ts";
import type { ConflictFeed } from "./conflict-feed.ts";
import type { Statistics } from "./statistics.ts";

export function registerMetrics(registry: Registry, statistics: Statistics, feed: ConflictFeed, clusters: ClusterWatch): void {
  const registers = [registry];
  new Counter({
    name: "statemesh_arbiter_batches_total",
    help: "Batches decided by Arbitrate.",
    registers,
    collect() {
      this.reset();
      this.inc(statistics.counts().batches);
    },
  });
  new Gauge({
    name: "statemesh_policy_info",
    help: "1, with the digest of the policy that this process goes by: equal for equal tables.",
    labelNames: ["digest"],
    registers,
    collect() {
      this.set({ digest: statistics.policyDigest }, 1);
    },
  });
  new Counter({
    name: "statemesh_arbiter_policy_refusals_total",
    help: "Batches that were not decided because their senders go by another policy.",
    registers,
    collect() {
      this.reset();
      this.inc(statistics.policyRefusals);
    },
  });
  new Counter({
    name: "statemesh_arbiter_candidates_total",
    help: "Candidates decided by Arbitrate, by outcome.",
    labelNames: ["outcome"],
    registers,
    collect() {
      const { accepted, merged, rejected } = statistics.counts();
      this.reset();
      for (const [outcome, count] of Object.entries({ accepted, merged, rejected })) this.inc({ outcome }, count);
    },
  });
  new Counter({
    name: "statemesh_arbiter_conflicts_total",
    help: "Conflicts decided by Arbitrate, by type.",
    labelNames: ["type"],
    registers,
    collect() {
      this.reset();
      for (const [type, count] of statistics.counts().conflictsByType) this.inc({ type }, count);
    },
  });
  new Counter({
    name: "statemesh_arbiter_decisions_total",
    help: "Decisions of Arbitrate, by the rule that decided.",
    labelNames: ["rule"],
    registers,
    collect() {
      this.reset();
      for (const [rule, count] of statistics.counts().decisionsByRule) this.inc({ rule }, count);
    },
  });
  registerLatencies(registry, "statemesh_arbiter_batch_seconds", "Time to decide a batch.", () => [[{}, statistics.latency]]);
  registerLatencies(registry, "statemesh_arbiter_batch_seconds_by_type", "Time to decide a batch in which a conflict of the type was.", () =>
    [...statistics.latencyByType.entries()].map(([type, histogram]) => [{ type }, histogram] as const),
  );
  registerLatencies(registry, "statemesh_arbiter_batch_seconds_by_rule", "Time to decide a batch in which the rule decided something.", () =>
    [...statistics.latencyByRule.entries()].map(([rule, histogram]) => [{ rule }, histogram] as const),
  );
  new Gauge({
    name: "statemesh_arbiter_watchers",
    help: "Open streams of WatchConflicts.",
    registers,
    collect() {
      this.set(feed.watchers);
    },
  });
  new Counter({
    name: "statemesh_arbiter_watch_dropped_total",
    help: "Conflicts that slow watchers did not get.",
    registers,
    collect() {
      this.reset();
      this.inc(feed.dropped);
    },
  });
  const byCluster = (name: string, help: string, value: (verdict: ClusterWatch["verdicts"][number]) => number): void => {
    new Gauge({
      name: `statemesh_arbiter_${name}`,
      help,
      labelNames: ["cluster"],
      registers,
      collect() {
        this.reset();
        for (const verdict of clusters.verdicts) this.set({ cluster: verdict.clusterId }, value(verdict));
      },
    });
  };
  byCluster("partition_state", "1: no node says anything to this arbiter; 2: the cluster is whole; 3: it is split and a part goes on; 4: split, and no part can decide.", ({ state }) => state);
  byCluster("partition_parts", "Parts into which the members fall.", ({ parts }) => parts.length);
  byCluster("unheard_nodes", "Members of which nothing new comes here.", ({ unheard }) => unheard.length);
  new Gauge({
    name: "statemesh_arbiter_partition_watchers",
    help: "Open streams of WatchPartitions.",
    registers,
    collect() {
      this.set(clusters.watchers);
    },
  });
}
