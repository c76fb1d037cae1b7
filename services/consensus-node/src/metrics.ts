import { countedItems, differenceIn, type MeshNode, STAGE_BUCKETS_MS, STAGES } from "@statemesh/mesh";
import type { NodeRuntime, Storage } from "@statemesh/node";
import { Counter, Gauge, latencySeries, registerLatencies, type Registry } from "@statemesh/service";
import type { BulkCalls } from "./bulk-calls.ts";
import type { StoreLink } from "./store-link.ts";

/** What is measured besides the node itself. */
export interface MeasuredParts {
  readonly storage: Storage;
  readonly runtime: NodeRuntime;
  readonly store: StoreLink | undefined;
  readonly bulk: BulkCalls;
}

/** Groups with series of their own, at most; of more there is one series for all. */
export const GROUPS_SHOWN = 65;

/** Item kinds with series of their own, at most: names come from the game. */
const KINDS_SHOWN = 64;

/** What many groups come to together. */
export type Together = "sum" | "least" | "greatest";

/** Values by label: one a group, or one for all where there are too many to be told apart on a chart. */
export function groupSeries(groups: number, value: (groupId: number) => number, together: Together): [string, number][] {
  const values = Array.from({ length: groups }, (_, groupId) => value(groupId));
  if (groups <= GROUPS_SHOWN) return values.map((each, groupId) => [String(groupId), each]);
  const combine = { sum: (a: number, b: number) => a + b, least: Math.min, greatest: Math.max }[together];
  return [["all", values.reduce((a, b) => combine(a, b))]];
}

/** Counts of items. The others of many kinds are one, of the name that no kind has. */
export function itemSeries(node: Pick<MeshNode, "groups">): [{ readonly item_kind: string; readonly count: string }, number][] {
  const kinds = [...countedItems(node.groups.map(({ state }) => state)).values()].sort((a, b) => b.minted - a.minted || (a.itemKind < b.itemKind ? -1 : 1));
  const series: [{ readonly item_kind: string; readonly count: string }, number][] = [];
  const show = (itemKind: string, shown: typeof kinds): void => {
    const sum = (count: "minted" | "burned" | "held" | "onGround" | "inTransit" | "inEscrow"): number => shown.reduce((all, each) => all + each[count], 0);
    for (const [name, count] of [["minted", "minted"], ["burned", "burned"], ["held", "held"], ["on_ground", "onGround"], ["in_transit", "inTransit"], ["in_escrow", "inEscrow"]] as const) series.push([{ item_kind: itemKind, count: name }, sum(count)]);
  };
  for (const kind of kinds.slice(0, KINDS_SHOWN)) show(kind.itemKind, [kind]);
  if (kinds.length > KINDS_SHOWN) show("", kinds.slice(KINDS_SHOWN));
  return series;
}

/** What a node says about itself to Prometheus. Everything is read on a scrape; nothing is kept on the way of an operation. */
export function registerMetrics(registry: Registry, node: MeshNode, { storage, runtime, store, bulk }: MeasuredParts): void {
  const registers = [registry];
  const byGroup = (name: string, help: string, together: Together, value: (groupId: number) => number): void => {
    new Gauge({
      name: `statemesh_${name}`,
      help,
      labelNames: ["group"],
      registers,
      collect() {
        for (const [group, each] of groupSeries(node.groups.length, value, together)) this.set({ group }, each);
      },
    });
  };
  const single = (name: string, help: string, value: () => number): void => {
    new Gauge({
      name: `statemesh_${name}`,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });
  };
  new Gauge({
    name: "statemesh_policy_info",
    help: "1, with the digest of the policy that this process goes by: equal for equal tables.",
    labelNames: ["digest"],
    registers,
    collect() {
      this.set({ digest: node.options.policy.digest }, 1);
    },
  });
  single("bulk_calls_busy", "Bulk calls that have a place.", () => bulk.load.busy);
  single("bulk_calls_waiting", "Bulk calls that wait for a place.", () => bulk.load.waiting);
  byGroup("raft_term", "Current term.", "greatest", (id) => node.group(id).core.term);
  byGroup("raft_is_leader", "1 where this node leads the group.", "sum", (id) => (node.group(id).core.role === "leader" ? 1 : 0));
  byGroup("raft_has_leader", "1 where this node knows a leader.", "least", (id) => (node.group(id).leader === 0 ? 0 : 1));
  byGroup("raft_commit_index", "Index through which the log is committed.", "sum", (id) => node.group(id).core.commitIndex);
  byGroup("raft_applied_index", "Index through which the log is applied.", "sum", (id) => node.group(id).state.appliedIndex);
  byGroup("raft_log_entries", "Entries held in memory.", "sum", (id) => node.group(id).core.lastIndex - node.group(id).core.firstIndex + 1);
  byGroup("group_damaged", "1 while the group's log on this node lacks something that it once held, because the disk was damaged.", "greatest", (id) => (node.group(id).isDamaged ? 1 : 0));
  byGroup("entities", "Strong entities held.", "sum", (id) => node.group(id).state.entities.size);
  byGroup("ledger_difference", "Items by which what the group holds differs from what was minted less burned, and went to other groups; 0, or something is wrong.", "sum", (id) => differenceIn(node.group(id).state));
  new Gauge({
    name: "statemesh_items",
    help: "Items over all groups, by kind and count: minted, burned, held (in inventories and containers), on_ground, in_transit, in_escrow (part of held). At most 64 kinds, those of which most was minted; the others are together in item_kind=\"\".",
    labelNames: ["item_kind", "count"],
    registers,
    collect() {
      this.reset();
      for (const [labels, value] of itemSeries(node)) this.set(labels, value);
    },
  });
  byGroup("decisions_kept", "Decisions kept to answer retries.", "sum", (id) => node.group(id).state.decisions.size);
  byGroup("decision_queue", "Operations that wait for a decision.", "sum", (id) => node.group(id).waiting);
  byGroup("decisions_under_way", "Operations that were taken for a decision and are not applied yet, on the leader.", "sum", (id) => node.group(id).counts.underWay);
  byGroup("materialized_index", "Index through which the region store has the state, on the leader.", "sum", (id) => node.materializedIndex(id));
  single("raft_groups", "Groups of this node, the directory included.", () => node.groups.length);
  single("raft_groups_asleep", "Groups that have nothing to do and cost nothing.", () => node.groups.reduce((sum, { core }) => sum + (core.isQuiescent ? 1 : 0), 0));
  single("operations_outstanding", "Operations of callers that are not answered.", () => node.edge.outstanding);
  const boundsS = STAGE_BUCKETS_MS.map((ms) => ms / 1_000);
  registerLatencies(registry, "statemesh_operation_stage_seconds", "Where decided operations spent their time, by stage. edge: with the node that took them; leader: from there to the leader and back; whole: both. On the leader's node, within leader: queue: until their turn; decide: until their decision went into the log; log: until that was applied.", () =>
    STAGES.map((stage) => [{ stage }, { values: (name, labels) => latencySeries(boundsS, node.stages[stage].counts, node.stages[stage].sumMs / 1_000, name, labels) }]),
  );
  single("tentative_operations", "Operations that this node keeps for its callers until they can be decided.", () => node.cutOff.tentative.size);
  single("tentative_not_understood", "Of these, operations of a kind that this build does not know: they stay kept until a newer one decides them.", () => node.cutOff.tentative.notUnderstood);
  single("escrows", "Escrows whose spendings this node keeps.", () => node.escrows.size);
  single("escrow_spendings_aside", "Spendings that this node has promised and that are not in the log yet.", () => node.escrows.spendingsAside);
  byGroup("heal_reports", "Heal reports that the group keeps.", "sum", (id) => node.group(id).state.heals.rows.length);
  single("wal_bytes", "Bytes of the write-ahead log.", () => storage.sizeBytes);
  single("snapshot_transfers", "Snapshots on their way to peers, or waiting for their turn.", () => runtime.sender.active);
  single("disk_full", "1 while the disk refuses writes.", () => (storage.isFull ? 1 : 0));
  single("region_store_refused", "1 while the region store holds what is not this cluster's, and nothing is sent to it.", () => (isRefused(node, store) ? 1 : 0));
  single("peers_connected", "Peers that this node can send to.", () => [...runtime.links.keys()].filter((peer) => node.isConnected(peer)).length);
  single("suspected_peers", "Members that this node does not hear.", () => node.views.suspected.length);
  single("view_epoch", "Number of the view of the cluster that this node knows to be in force.", () => node.views.view.epoch);
  single("view_alive", "Nodes that are alive in that view.", () => node.views.view.alive.length);
  single("view_removed", "Members that are removed in that view.", () => node.views.view.removed.length);
  single("partition_state", "0: this node is linked with all members; 1: with enough to decide; 2: it is on the losing side of a split.", () => ["whole", "winning", "losing"].indexOf(node.views.side));
  single("peers_of_other_policy", "Peers that go by another policy than this node: which one decides depends on who leads.", () => runtime.peersOfOtherPolicy.length);
  single("arbiters_of_other_policy", "Arbiters that go by another policy than this node, and are not asked.", () => runtime.arbitersOfOtherPolicy.length);
  single("unheard_servers", "Registered game servers that no node on this side hears.", () => node.views.unheard.length);
  single("eventual_keys", "Eventual keys held, tombstones included.", () => node.eventual.size);
  single("eventual_waiting_for_store", "Eventual keys that wait to be written to the region store.", () => node.eventualStorage?.behind.statistics().waiting ?? 0);
  single("subscribers", "Subscriptions open.", () => node.subscriptions.statistics().subscribers);
  single("causal_pending", "Causal events that came before what they depend on, and wait for it.", () => node.causal.statistics().pending);
  single("causal_origins", "Starts of nodes whose causal events this node knows of.", () => node.causal.statistics().origins);
  single("causal_kept_bytes", "Bytes of delivered causal events that are kept for peers and readers.", () => node.causal.statistics().keptBytes);
  single("causal_write_behind_waiting", "Causal events that wait for the region store.", () => node.causalBehind?.statistics().waiting ?? 0);
  single("causal_write_behind_lag_seconds", "How long the oldest causal event has waited for the region store, or the store has not said where it stands.", () => (node.causalBehind?.statistics().lagMs ?? 0) / 1_000);
  single("authority_watches", "Watches of the directory open.", () => node.authority.watch.size);
  single("handoffs", "Handoffs of regions under way.", () => node.directory.directory.tables.handoffs.size);
  new Counter({
    name: "statemesh_region_changes_total",
    help: "What became of regions while this node led the directory: granted, released, expired (to nobody), assigned, failed_over (to a backup), handed_over, handoff_aborted.",
    labelNames: ["change"],
    registers,
    collect() {
      this.reset();
      for (const [change, count] of Object.entries(node.authority.regionChanges)) this.inc({ change }, count);
    },
  });
  const counters = [
    { name: "snapshot_sent_bytes_total", help: "Bytes of snapshots sent to peers.", value: () => runtime.sender.sentBytes },
    { name: "snapshots_sent_total", help: "Snapshots that peers took.", value: () => runtime.sender.installed },
    { name: "snapshot_failures_total", help: "Snapshots that did not arrive; they are sent again.", value: () => runtime.sender.failed },
    { name: "snapshots_received_total", help: "Snapshots taken in from peers.", value: () => runtime.received },
    { name: "arbiter_fallbacks_total", help: "Batches decided by the leader because no arbiter answered.", value: () => node.groups.reduce((sum, group) => sum + group.counts.fallbacks, 0) },
    { name: "operations_shed_total", help: "Operations refused because those before them had waited too long for a decision, or others had less waiting, or more were under way than are decided in the time that they may take.", value: () => node.edge.gates.refused + node.groups.reduce((sum, { counts }) => sum + counts.shed, 0) },
    { name: "operations_expired_total", help: "Operations that were not decided because their callers had given up.", value: () => node.groups.reduce((sum, { counts }) => sum + counts.expired, 0) },
    { name: "quota_refusals_total", help: "Operations, updates and events refused because their game server had reached its quota.", value: () => node.quotas.refused },
    { name: "publishes_shed_total", help: "Eventual updates and events refused because the node was late with all it does.", value: () => node.lateness.refused },
    { name: "bulk_calls_refused_total", help: "Bulk calls answered OVERLOADED: too many waited, or they waited too long.", value: () => bulk.load.refused },
    { name: "bulk_calls_expired_total", help: "Bulk calls that nobody waited for any more before they had a place.", value: () => bulk.load.expired },
    { name: "escrow_spendings_total", help: "Spendings from escrows that this node promised.", value: () => node.escrows.promised },
    { name: "escrow_spendings_lost_total", help: "Spendings that were promised and are lost: the file of escrows was damaged, or this node taken for removed.", value: () => node.escrows.lost },
    { name: "wal_syncs_total", help: "Syncs of the write-ahead log.", value: () => storage.syncs },
    { name: "eventual_written_behind_total", help: "Eventual values that the region store took.", value: () => node.eventualStorage?.behind.statistics().written ?? 0 },
    { name: "eventual_write_behind_overflows_total", help: "Times that more eventual keys waited for the region store than may; all are written then.", value: () => node.eventualStorage?.behind.statistics().overflowed ?? 0 },
    { name: "causal_delivered_total", help: "Causal events delivered on this node, causes first.", value: () => node.causal.statistics().delivered },
    { name: "causal_gaps_total", help: "Causal events that were passed over: nobody within reach had them any more.", value: () => node.causal.statistics().gaps },
    { name: "causal_refused_total", help: "Causal events of peers that were not taken: malformed, or no room; the latter are pulled later.", value: () => node.causal.statistics().refused },
    { name: "causal_written_behind_total", help: "Causal events that this node handed to the region store, those included that it had already.", value: () => node.causalBehind?.statistics().written ?? 0 },
    { name: "causal_write_behind_failures_total", help: "Batches of causal events that the region store did not confirm; they go again.", value: () => node.causalBehind?.statistics().failed ?? 0 },
    { name: "causal_write_behind_overflows_total", help: "Times that more causal events waited for the region store than may; what is kept for peers is written then.", value: () => node.causalBehind?.statistics().overflowed ?? 0 },
    { name: "causal_write_behind_missing_total", help: "Causal events at most, counted once a group, that were kept no more when the region store came back.", value: () => node.causalBehind?.statistics().missing ?? 0 },
    { name: "eventual_repairs_total", help: "Regions whose eventual values differed from a peer's, and were asked for.", value: () => node.eventual.statistics().repairsAsked },
    { name: "eventual_delta_bytes_total", help: "Bytes of eventual values sent to peers, about.", value: () => node.eventual.statistics().sentBytes },
    { name: "eventual_spared_bytes_total", help: "Bytes of eventual values that were not sent to peers, because nobody there read them before there was a later one.", value: () => node.eventual.statistics().sparedBytes },
    { name: "eventual_buried_total", help: "Eventual values that were deleted elsewhere while this node was away for longer than tombstones are kept.", value: () => node.eventual.statistics().buried },
    { name: "peer_frames_dropped_total", help: "Frames to peers that were given up.", value: () => [...runtime.links.values()].reduce((sum, link) => sum + link.dropped, 0) },
  ];
  for (const { name, help, value } of counters) {
    let seen = 0;
    new Counter({
      name: `statemesh_${name}`,
      help,
      registers,
      collect() {
        const now = value();
        this.inc(now - seen);
        seen = now;
      },
    });
  }
}

/** Only leaders ask the store: what a node heard while it led says nothing of now. */
function isRefused(node: MeshNode, store: StoreLink | undefined): boolean {
  return node.isStoreAhead || (store?.isRefused === true && node.groups.some((group) => group.serves));
}
