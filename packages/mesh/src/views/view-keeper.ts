// Keeps the cluster's picture of who is there: hears the others, says whom it hears, votes, and has the next view put into the
// log where this node leads group 0. What it knows of a split serves callers here; what is agreed on stands in group 0.
import { type Heartbeat, type Member, Side as SideCode, type ViewState } from "@statemesh/contract";
import { type Configuration, quorumOf } from "@statemesh/raft";
import { type AgreedView, type GroupState, recordOf, VIEWS_VERSION } from "@statemesh/replica";
import { heartbeatOf, LinkWatch, reportOf, type Side, type SuspicionOptions, type View } from "@statemesh/views";
import type { GroupReplica } from "../strong/group-replica.ts";
import type { NodeOptions } from "../node-options.ts";
import { ShardWatch } from "./shard-watch.ts";

/** What the keeper needs of its node. */
export interface ViewNode {
  readonly nodeId: number;
  readonly incarnation: number;
  /** Peers that can be reached. */
  readonly connected: ReadonlySet<number>;
  /** Group 0. */
  directory(): GroupReplica;
  monotonicMs(): number;
  wallMs(): number;
  send(peer: number, heartbeats: readonly Heartbeat[]): void;
  /** Puts the next view into the log of group 0, which this node leads. */
  propose(view: AgreedView, done: () => void): void;
  log(message: string, fields: Readonly<Record<string, unknown>>): void;
}

/** Defaults of what nodes expect of one another. */
export function timesOf({ beatMs = 300, suspicionMs = 1_500, removalMs = 10_000 }: Pick<NodeOptions, "beatMs" | "suspicionMs" | "removalMs">): SuspicionOptions {
  return { heartbeatMs: beatMs, suspicionMs, removalMs };
}

/** Heartbeats in one frame at most. */
const HEARTBEATS_MAX = 16;
const SIDES: Readonly<Record<Side, SideCode>> = { whole: SideCode.WHOLE, winning: SideCode.WINNING, losing: SideCode.LOSING };
/** Shards in one list at most. */
const SHARDS_LISTED = 1_024;

export class ViewKeeper {
  readonly times: SuspicionOptions;
  readonly shards: ShardWatch;
  readonly #node: ViewNode;
  readonly #watch: LinkWatch;
  readonly #heardMs = new Map<number, number>();
  #nextBeatMs = Number.NEGATIVE_INFINITY;
  #proposing = false;
  #side: Side = "whole";
  #sinceMs: number;
  /** What the state was made from, to tell whether it is another. */
  #picture = "";
  #seen = -1;
  /** From which the watch has its members. */
  #configuration: Configuration | undefined;
  #onRecord: readonly Member[] | undefined;
  #unheard: readonly number[] = [];
  /** Set by the node: this was said to the peers. */
  onBeat: (heartbeats: readonly Heartbeat[]) => void = () => undefined;
  /** Set by the service: what callers are told is another. Called in the middle of a tick. */
  onChange: () => void = () => undefined;

  constructor(node: ViewNode, times: SuspicionOptions) {
    this.#node = node;
    this.times = times;
    const { voters } = node.directory().core.configuration;
    // A node that has not joined knows of no voters, and stands alone.
    const first = voters.length === 0 ? [node.nodeId] : voters;
    this.#watch = new LinkWatch({ ...times, nodeId: node.nodeId, incarnation: node.incarnation }, first, quorumOf("weighted", { voters: first, learners: [], outgoing: [] }));
    this.shards = new ShardWatch(times.suspicionMs);
    this.#sinceMs = node.wallMs();
  }

  get #state(): GroupState {
    return this.#node.directory().state;
  }

  /** The view in force, as far as this node has applied it; epoch 0: none yet. */
  get view(): AgreedView {
    return this.#state.views.view;
  }

  get #isOn(): boolean {
    return this.#state.membership.version >= VIEWS_VERSION;
  }

  /** Who belongs to the cluster. */
  get members(): readonly number[] {
    return this.#watch.members;
  }

  /** On which side of a split this node stands. `whole` while the cluster works at a version without heartbeats. */
  get side(): Side {
    return this.#side;
  }

  /** Members that this node does not hear. */
  get suspected(): readonly number[] {
    return this.#watch.suspicion.suspected();
  }

  /** Registered shards that nobody on this side hears. */
  get unheard(): readonly number[] {
    return this.#unheard;
  }

  /** Whether a node may lead: it is in the view in force, or there is none. */
  mayLead(nodeId: number): boolean {
    const { epoch, alive } = this.view;
    return epoch === 0 || alive.includes(nodeId);
  }

  /** A peer says that it does not hear this node. */
  isDeaf(peer: number): boolean {
    return this.#isOn && this.#watch.isDeaf(peer);
  }

  /** Anything at all came from a peer. */
  heard(peer: number): void {
    this.#heardMs.set(peer, this.#node.monotonicMs());
    this.#watch.heard(peer);
  }

  forget(peer: number): void {
    this.#heardMs.delete(peer);
    this.shards.forget(peer);
  }

  /** Milliseconds since a peer was last heard; undefined: never. */
  silenceMs(peer: number): number | undefined {
    const heardMs = this.#heardMs.get(peer);
    return heardMs === undefined ? undefined : Math.max(0, this.#node.monotonicMs() - heardMs);
  }

  /** Heartbeats came: the peer's own, and what it passes on. Peer 0: an arbiter, which only passes on. */
  onHeartbeats(peer: number, heartbeats: readonly Heartbeat[]): void {
    for (const heartbeat of heartbeats.slice(0, HEARTBEATS_MAX)) {
      // Who is reached over an arbiter alone is silent all the same.
      this.#watch.take(reportOf(heartbeat), peer !== 0);
      if (heartbeat.nodeId === peer) this.shards.heardBy(peer, heartbeat.hearsServers);
    }
  }

  /** @param beats Nodes send a frame now in any case: what is said here goes along. */
  tick(beats: boolean): void {
    this.#takeMembers();
    const nowMs = this.#node.monotonicMs();
    this.#watch.beat(nowMs);
    if (!this.#isOn) return;
    // Ticks come a little early or late.
    if (beats && nowMs >= this.#nextBeatMs - this.times.heartbeatMs / 8) {
      this.#nextBeatMs = nowMs + this.times.heartbeatMs;
      this.#say();
      this.#unheard = this.#unheardServers();
      this.#look();
      this.#propose();
    } else if (this.#watch.changes !== this.#seen) this.#look();
  }

  #takeMembers(): void {
    const { configuration } = this.#node.directory().core;
    const { membership } = this.#state;
    const onRecord = membership.members();
    // Both are other objects once they are changed, and seldom are.
    if (configuration === this.#configuration && onRecord === this.#onRecord) return;
    this.#configuration = configuration;
    this.#onRecord = onRecord;
    const members = membership.isOnRecord ? onRecord.map(({ nodeId }) => nodeId) : [...configuration.voters, ...configuration.learners];
    if (configuration.voters.length > 0) this.#watch.setMembers(members, quorumOf("weighted", configuration));
  }

  /** What this node says now, its own word first. */
  #heartbeats(): Heartbeat[] {
    const own = heartbeatOf(this.#watch.report(this.view), this.shards.heardHere(this.#watch.suspicion.ranMs));
    return [own, ...this.#watch.passedOn().map((report) => heartbeatOf(report, []))].slice(0, HEARTBEATS_MAX);
  }

  #say(): void {
    const heartbeats = this.#heartbeats();
    this.onBeat(heartbeats);
    for (const peer of this.#node.connected) this.#node.send(peer, heartbeats);
  }

  /** Notes where this node stands, and whether anything is another than before. */
  #look(): void {
    this.#seen = this.#watch.changes;
    const graph = this.#watch.graph();
    const side = this.#watch.side();
    const picture = `${side} ${this.view.epoch} ${graph.members.map((nodeId) => graph.linkedWith(nodeId).join()).join(";")} ${this.#unheard.join()}`;
    if (picture === this.#picture) return;
    this.#picture = picture;
    if (side !== this.#side) {
      this.#node.log("this node is on another side of a split", { side, before: this.#side, suspected: this.suspected });
      this.#side = side;
      this.#sinceMs = this.#node.wallMs();
    }
    this.onChange();
  }

  #propose(): void {
    const group = this.#node.directory();
    if (this.#proposing || !group.serves) return;
    // What this node has not applied yet may be a later view.
    if (group.state.appliedIndex < group.core.commitIndex) return;
    const next: View | undefined = this.#watch.proposal(this.view);
    if (next === undefined) return;
    this.#proposing = true;
    const { epoch, alive, removed, votedBy } = next;
    this.#node.log("the view of the cluster changes", { epoch, alive, removed, voted_by: votedBy });
    this.#node.propose({ ...next, atMs: Math.floor(this.#node.wallMs()) }, () => {
      this.#proposing = false;
    });
  }

  /** Registered shards that nobody on this side hears, ascending. */
  #unheardServers(): number[] {
    // A node that has just started has not heard everybody yet.
    if (this.#watch.suspicion.ranMs < this.times.removalMs) return [];
    const linked = this.#watch.graph().linkedWith(this.#node.nodeId);
    const heard = this.shards.heard(linked, this.#watch.suspicion.ranMs);
    const unheard = [...this.#state.directory.servers()].filter(({ serverId }) => !heard.has(serverId));
    return unheard.map(({ serverId }) => serverId).sort((a, b) => a - b).slice(0, SHARDS_LISTED);
  }

  /** A shard called this node, and may be silent for some time now; 0: it sends heartbeats. */
  heardServer(serverId: number, forMs: number): void {
    this.shards.heardAt(serverId, forMs, this.#watch.suspicion.ranMs);
  }

  /** What this node knows, for callers. */
  state(): ViewState {
    const graph = this.#watch.graph();
    const links = graph.members.flatMap((first) => graph.linkedWith(first).filter((second) => first < second).map((second) => ({ firstNodeId: first, secondNodeId: second })));
    return {
      nodeId: this.#node.nodeId,
      view: recordOf(this.view),
      side: SIDES[this.#side],
      sinceMs: Math.floor(this.#sinceMs),
      members: [...graph.members],
      links: this.#isOn ? links : [],
      parts: this.#isOn ? this.#watch.verdict(this.view).parts.map(({ members, wins }) => ({ nodeIds: [...members], wins })) : [],
      suspected: [...this.suspected],
      lateness: this.#watch.suspicion.health,
      unheardServerIds: [...this.#unheard],
    };
  }
}
