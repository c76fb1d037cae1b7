/** The clusters whose nodes tell this arbiter whom they hear, and those who watch. Soft state: a restart knows all of it again after a heartbeat. */
import {
  type GetPartitionVerdictRequest, type GetPartitionVerdictResponse, type Heartbeat, MeshError, PartitionEvent, PartitionState as StateCode, type PartitionVerdict as Verdict,
  type ReportHeartbeatsRequest, type ReportHeartbeatsResponse, type View as ViewRecord, type WatchPartitionsRequest, type WatchPartitionsResponse,
} from "@statemesh/contract";
import type { Clock } from "@statemesh/ports";
import { heartbeatOf, PartitionWatch, reportOf, type PartitionState, type SuspicionOptions } from "@statemesh/views";
import { checkInteger, checkList, checkName, checkText } from "@statemesh/world";

/** Clusters that one arbiter watches at most. */
const CLUSTERS_MAX = 8;
const HEARTBEATS_MAX = 16;
const NODES_MAX = 16;
const NODE_ID_MAX = 2_000_000;
const DEFAULT_TIMES: SuspicionOptions = { heartbeatMs: 300, suspicionMs: 1_500, removalMs: 10_000 };
const STATES: Readonly<Record<PartitionState, StateCode>> = { unknown: StateCode.UNKNOWN, whole: StateCode.WHOLE, split: StateCode.SPLIT, "no-winner": StateCode.NO_WINNER };

/** Where a watcher's messages go. */
export interface PartitionSink {
  /** False: the reader is behind. */
  write(message: WatchPartitionsResponse): boolean;
  onWritable(run: () => void): void;
}

interface Cluster {
  readonly watch: PartitionWatch<ViewRecord & { readonly epoch: number }>;
  verdict: Verdict;
  /** What the verdict says, to tell whether it is another. */
  picture: string;
}

interface Watcher {
  readonly sink: PartitionSink;
  readonly clusterId: string;
  /** By cluster: the state that it was told last. */
  readonly told: Map<string, StateCode>;
  isBehind: boolean;
}

export class ClusterWatch {
  readonly #clusters = new Map<string, Cluster>();
  readonly #watchers = new Set<Watcher>();
  readonly #clock: Clock;
  readonly #watchersMax: number;

  constructor(clock: Clock, watchersMax: number) {
    this.#clock = clock;
    this.#watchersMax = watchersMax;
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  /** The verdicts now, by cluster. */
  get verdicts(): Verdict[] {
    return [...this.#clusters.values()].map(({ verdict }) => verdict);
  }

  /** To be called at least once a heartbeat. */
  tick(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const cluster of this.#clusters.values()) {
      cluster.watch.beat(nowMs);
      this.#look(cluster);
    }
  }

  /** Takes in what a node heard. Throws where it cannot be. */
  report(request: ReportHeartbeatsRequest): ReportHeartbeatsResponse {
    const { clusterId, nodeId, heartbeats, members, voters, outgoing, directoryIndex, view } = request;
    checkReport(request);
    const { watch } = this.#clusterOf(clusterId);
    const times = { heartbeatMs: request.beatMs, suspicionMs: request.suspicionMs, removalMs: request.removalMs };
    const taken = view ?? { epoch: 0, alive: [], removed: [], votedBy: [], atMs: 0 };
    watch.take(heartbeats.map(reportOf), { members, voters, outgoing, learners: [], index: directoryIndex }, taken, times);
    return { heartbeats: watch.passedOn(nodeId).slice(0, HEARTBEATS_MAX).map((report) => heartbeatOf(report, [])) };
  }

  #clusterOf(clusterId: string): Cluster {
    let cluster = this.#clusters.get(clusterId);
    if (cluster === undefined) {
      this.#forgetSilent();
      if (this.#clusters.size >= CLUSTERS_MAX) throw new MeshError("OVERLOADED", `this arbiter watches ${CLUSTERS_MAX} clusters already`, { retryDelayMs: 10_000 });
      const watch = new PartitionWatch<ViewRecord>(DEFAULT_TIMES);
      watch.beat(this.#clock.monotonicMs());
      cluster = { watch, verdict: this.#verdictOf(clusterId, watch), picture: "" };
      this.#clusters.set(clusterId, cluster);
    }
    return cluster;
  }

  /** A cluster of which nothing is heard makes room for one of which something is. */
  #forgetSilent(): void {
    if (this.#clusters.size < CLUSTERS_MAX) return;
    for (const [clusterId, { watch }] of this.#clusters) if (watch.verdict().state === "unknown") this.#clusters.delete(clusterId);
  }

  #look(cluster: Cluster): void {
    const verdict = this.#verdictOf(cluster.verdict.clusterId, cluster.watch);
    const picture = JSON.stringify({ ...verdict, sinceMs: 0 });
    if (picture === cluster.picture) return;
    // The state lasts while only parts of it change.
    cluster.verdict = verdict.state === cluster.verdict.state ? { ...verdict, sinceMs: cluster.verdict.sinceMs } : verdict;
    cluster.picture = picture;
    for (const watcher of this.#watchers) this.#tell(watcher, cluster);
  }

  #verdictOf(clusterId: string, watch: PartitionWatch<ViewRecord>): Verdict {
    const { state, graph, parts, alive, unheard } = watch.verdict();
    const links = graph.members.flatMap((first) => graph.linkedWith(first).filter((second) => first < second).map((second) => ({ firstNodeId: first, secondNodeId: second })));
    return {
      clusterId, state: STATES[state], sinceMs: Math.floor(this.#clock.wallMs()), members: [...graph.members], parts: parts.map(({ members, wins }) => ({ nodeIds: [...members], wins })),
      alive: [...alive], unheard: [...unheard], links, view: watch.view,
    };
  }

  /** @throws MeshError NOT_FOUND where the cluster is not known, INVALID_FIELD where it has to be named */
  verdictFor({ clusterId }: GetPartitionVerdictRequest): GetPartitionVerdictResponse {
    checkText(clusterId, 64, "", "cluster_id");
    const [first, second] = this.#clusters.values();
    if (clusterId === "" && second !== undefined) throw MeshError.field("cluster_id", "is required: this arbiter watches several");
    const cluster = clusterId === "" ? first : this.#clusters.get(clusterId);
    if (cluster === undefined) throw new MeshError("NOT_FOUND", clusterId === "" ? "no node has told this arbiter anything yet" : `no node of cluster ${clusterId} has told this arbiter anything`);
    return { verdict: cluster.verdict };
  }

  /**
   * Tells a watcher of verdicts, the present ones first.
   *
   * @returns takes the watcher out again
   * @throws MeshError OVERLOADED where too many watch
   */
  watch({ clusterId }: WatchPartitionsRequest, sink: PartitionSink): () => void {
    checkText(clusterId, 64, "", "cluster_id");
    if (this.#watchers.size >= this.#watchersMax) throw new MeshError("OVERLOADED", `${this.#watchersMax} streams watch already`, { retryDelayMs: 5_000 });
    const watcher: Watcher = { sink, clusterId, told: new Map(), isBehind: false };
    this.#watchers.add(watcher);
    for (const cluster of this.#clusters.values()) this.#tell(watcher, cluster);
    return () => {
      this.#watchers.delete(watcher);
    };
  }

  #tell(watcher: Watcher, { verdict }: Cluster): void {
    const { sink, told, clusterId } = watcher;
    if (clusterId !== "" && clusterId !== verdict.clusterId) return;
    // Whatever changes while the reader is behind is told once.
    if (watcher.isBehind) return;
    const event = eventOf(told.get(verdict.clusterId), verdict.state);
    told.set(verdict.clusterId, verdict.state);
    if (sink.write({ event, verdict })) return;
    watcher.isBehind = true;
    sink.onWritable(() => {
      watcher.isBehind = false;
      if (this.#watchers.has(watcher)) for (const cluster of this.#clusters.values()) this.#tell(watcher, cluster);
    });
  }
}

function eventOf(before: StateCode | undefined, now: StateCode): PartitionEvent {
  if (before === undefined) return PartitionEvent.STATE;
  const isSplit = (state: StateCode): boolean => state === StateCode.SPLIT || state === StateCode.NO_WINNER;
  if (isSplit(before) === isSplit(now)) return PartitionEvent.CHANGED;
  return isSplit(now) ? PartitionEvent.STARTED : PartitionEvent.ENDED;
}

function checkReport({ clusterId, nodeId, heartbeats, members, voters, outgoing, directoryIndex, view, beatMs, suspicionMs, removalMs }: ReportHeartbeatsRequest): void {
  checkName(clusterId, 1, 64, "", "cluster_id");
  checkInteger(nodeId, 1, NODE_ID_MAX, "", "node_id");
  checkList(heartbeats, HEARTBEATS_MAX, "", "heartbeats");
  for (const [name, list] of Object.entries({ members, voters, outgoing })) {
    checkList(list, NODES_MAX, "", name);
    for (const each of list) checkInteger(each, 1, NODE_ID_MAX, "", name);
  }
  for (const [at, each] of heartbeats.entries()) checkHeartbeat(each, `heartbeats[${at}]`);
  for (const [name, list] of Object.entries({ alive: view?.alive ?? [], removed: view?.removed ?? [], voted_by: view?.votedBy ?? [] })) checkList(list, NODES_MAX, "view", name);
  checkInteger(directoryIndex, 0, Number.MAX_SAFE_INTEGER, "", "directory_index");
  checkInteger(beatMs, 50, 10_000, "", "beat_ms");
  checkInteger(suspicionMs, 200, 60_000, "", "suspicion_ms");
  checkInteger(removalMs, 1_000, 600_000, "", "removal_ms");
}

function checkHeartbeat({ nodeId, hearsNodes, steadyNodes, vote }: Heartbeat, path: string): void {
  checkInteger(nodeId, 1, NODE_ID_MAX, path, "node_id");
  checkList(hearsNodes, NODES_MAX, path, "hears_nodes");
  checkList(steadyNodes, NODES_MAX, path, "steady_nodes");
  checkList(vote, NODES_MAX, path, "vote");
}
