// A node of the mesh: its groups, its peers and what passes between them. The node is one state machine: every
// method takes an event in, at once and without waiting; `pump` then carries out what follows from all events that
// came together. Nothing here reads a clock or touches a socket or a disk: all of that is the host's.
import { HybridClock } from "@statemesh/clocks";
import { MeshError, type RaftMessage, RaftMessageType, type SnapshotMeta, type StreamRequest, type TentativeOperation } from "@statemesh/contract";
import type { Command, CommandResult, EscrowLogRecord } from "@statemesh/contract/log";
import { commandOf, ESCROW_VERSION, type GroupState, GroupState as State, type Membership, type PendingOperation, recordOf, FOOTPRINTS_VERSION, type VersionRange, VERSIONS } from "@statemesh/replica";
import { DIRECTORY_GROUP, groupOf } from "@statemesh/world";
import { Authority } from "./authority/authority.ts";
import { FlowKeeper } from "./flow-keeper.ts";
import type { CausalBehind, CausalLog } from "./causal/index.ts";
import type { EventualStorage, EventualStore } from "./eventual/index.ts";
import { Lateness } from "./flow/lateness.ts";
import { QuotaKeeper } from "./flow/server-quotas.ts";
import { stageTimes } from "./flow/stage-times.ts";
import { GroupSchedule } from "./group-schedule.ts";
import { EscrowKeeper } from "./escrow/escrow-keeper.ts";
import { CutOff } from "./healing/cut-off.ts";
import type { GroupWrite, Host } from "./host.ts";
import { Leadership, tellLeaders } from "./leadership.ts";
import { MembershipKeeper } from "./membership/membership-keeper.ts";
import type { NodeOptions } from "./node-options.ts";
import { PeerFrames } from "./peer-frames.ts";
import { Repairs } from "./repairs.ts";
import type { Waiter } from "./strong/decision-queue.ts";
import { Coordinator } from "./strong/coordinator.ts";
import { Edge } from "./strong/edge.ts";
import { delayLimits } from "./strong/group-options.ts";
import { GroupReplica, type RestoredGroup } from "./strong/group-replica.ts";
import { Materializer } from "./strong/materializer.ts";
import { operationError } from "./strong/operation-errors.ts";
import { knownToAll } from "./strong/version-gates.ts";
import { Relay } from "./strong/relay.ts";
import { RemoteCalls } from "./strong/remote-calls.ts";
import { SubscriptionHub } from "./subscriptions/index.ts";
import { timesOf, ViewKeeper } from "./views/view-keeper.ts";
import { WeakState } from "./weak-state.ts";

/** What a node that may not vote does not answer. */
const ELECTION_MESSAGES: ReadonlySet<number> = new Set([RaftMessageType.PRE_VOTE, RaftMessageType.VOTE, RaftMessageType.TIMEOUT_NOW]);

export class MeshNode {
  readonly options: NodeOptions;
  readonly host: Host;
  readonly clock: HybridClock;
  readonly quotas: QuotaKeeper;
  readonly lateness: Lateness;
  /** Where operations spend their time. */
  readonly stages = stageTimes();
  readonly authority: Authority;
  readonly members: MembershipKeeper;
  readonly views: ViewKeeper;
  readonly leadership: Leadership;
  readonly relay: Relay;
  readonly edge: Edge;
  readonly repairs: Repairs;
  /** Whether this node is cut off from those who decide, and what it keeps until it is not. */
  readonly cutOff: CutOff;
  readonly escrows: EscrowKeeper;
  readonly groups: readonly GroupReplica[];
  readonly #coordinator: Coordinator;
  readonly #flows: FlowKeeper;
  readonly #remote: RemoteCalls;
  readonly #materializers: readonly Materializer[];
  readonly #schedule: GroupSchedule;
  readonly #peers = new Map<number, PeerFrames>();
  readonly eventual: EventualStore;
  /** Undefined without a region store. */
  readonly eventualStorage: EventualStorage | undefined;
  readonly causal: CausalLog;
  readonly causalBehind: CausalBehind | undefined;
  readonly subscriptions: SubscriptionHub;
  /** Set by the service, as the next: a subscriber has something to read. Called in the middle of a change. */
  onReadable: (subscriberId: number) => void = () => undefined;
  /** A watch of the directory has something to read. */
  onWatchReadable: (watchId: number) => void = () => undefined;
  /** Who is on record as a member may have changed. */
  onMembers: () => void = () => undefined;
  readonly #connected = new Set<number>();
  /** Groups whose leader is another since the last pump. */
  #ledAnew: GroupReplica[] = [];
  readonly #freshMs: number[];
  readonly #weak: WeakState;
  /** Snapshots that were begun here. */
  snapshotsRead = 0;
  #pumpDue = false;
  #stopped = false;
  #votes = false;
  #ticks = 0;

  constructor(options: NodeOptions, host: Host, restored: ReadonlyMap<number, RestoredGroup>, kept: readonly TentativeOperation[] = [], escrows: readonly EscrowLogRecord[] = []) {
    this.options = options;
    this.host = host;
    this.quotas = new QuotaKeeper(options.quotas);
    this.lateness = new Lateness(delayLimits(options));
    this.clock = new HybridClock({ maxOffsetMs: options.policy.maxOffsetMs });
    this.groups = Array.from({ length: options.groups + 1 }, (_, groupId) => this.#makeGroup(groupId, restored.get(groupId)));
    this.#freshMs = this.groups.map(() => Number.NEGATIVE_INFINITY);
    this.#materializers = options.materialize ? this.groups.map((group) => new Materializer(group, options.clusterId, host)) : [];
    this.#schedule = new GroupSchedule(this.groups, this.#materializers, options.electionTicks);
    const { liveness } = this.#schedule;
    this.cutOff = new CutOff(this, kept, {
      connected: this.#connected,
      silentTicks: (peer) => (this.views.isDeaf(peer) ? Number.POSITIVE_INFINITY : liveness.silentTicks(peer)),
      viewEpoch: () => this.views.view.epoch,
      send: (peer, frame, bytes) => this.#peer(peer).tentative(frame, bytes),
    });
    const shared = {
      nodeId: options.nodeId,
      incarnation: options.incarnation,
      groups: options.groups,
      policy: options.policy,
      clock: this.clock,
      quotas: this.quotas,
      stages: this.stages,
      queueTargetMs: delayLimits(options).targetMs,
      wallMs: () => host.clock.wallMs(),
      monotonicMs: () => host.clock.monotonicMs(),
      leaderOf: (groupId: number) => this.group(groupId).leader,
      isConnected: (peer: number) => this.#connected.has(peer),
      ...this.cutOff.answers,
      sendCall: (peer: number, call: Parameters<PeerFrames["call"]>[0], bytes: number) => this.#peer(peer).call(call, bytes),
      answer: (peer: number, answer: Parameters<PeerFrames["answer"]>[0]) => (this.#peer(peer).answer(answer), this.dirty()),
      submit: (groupId: number, operations: readonly PendingOperation[], transactionId: string, waiter: Waiter, deadlineMs: number) =>
        this.group(groupId).submit(operations, transactionId, waiter, deadlineMs),
      localCommand: (groupId: number, command: Command, done: (result: CommandResult | undefined, error: MeshError | undefined) => void) =>
        this.#command(groupId, command, done),
      localReadIndex: (groupId: number, done: Parameters<GroupReplica["readIndex"]>[0]) => this.group(groupId).readIndex(done),
      ...knownToAll(() => this.membership.version),
      spansFootprints: () => this.membership.version >= FOOTPRINTS_VERSION,
      hasEscrows: () => this.membership.version >= ESCROW_VERSION,
      knowsServer: (serverId: number) => this.directory.directory.server(serverId) !== undefined,
      addressOf: (serverId: number) => this.directory.directory.server(serverId)?.address ?? "",
      refreshDirectory: (deadlineMs: number, done: (error: MeshError | undefined) => void) => this.barrier(DIRECTORY_GROUP, deadlineMs, done),
    };
    this.relay = new Relay(shared);
    this.escrows = new EscrowKeeper(this, escrows);
    this.edge = new Edge(shared);
    this.repairs = new Repairs(this.groups, this.relay, host.clock);
    this.#coordinator = new Coordinator(this);
    this.#flows = new FlowKeeper(this);
    this.#remote = new RemoteCalls(shared);
    const view = { nodeId: options.nodeId, groups: this.groups, membership: (): Membership => this.membership, monotonicMs: shared.monotonicMs };
    this.leadership = new Leadership({ ...view, balanceTicks: options.balanceTicks, claimTicks: options.heartbeatTicks, connected: this.#connected, isInView: (peer) => this.views.mayLead(peer), dirty: () => this.dirty() });
    this.members = new MembershipKeeper({
      ...view,
      versions: this.versions,
      isConnected: shared.isConnected,
      barrier: (groupId, deadlineMs, done) => this.barrier(groupId, deadlineMs, done),
      propose: (command, done) => {
        this.#command(DIRECTORY_GROUP, commandOf({ $case: "membership", value: { command, nowMs: 0 } }), () => done());
        this.dirty();
      },
    });
    this.views = new ViewKeeper(
      {
        ...view,
        incarnation: options.incarnation,
        connected: this.#connected,
        directory: () => this.group(DIRECTORY_GROUP),
        wallMs: shared.wallMs,
        send: (peer, heartbeats) => this.#peer(peer).heartbeats(heartbeats),
        propose: (next, done) => this.#command(DIRECTORY_GROUP, commandOf({ $case: "view", value: recordOf(next) }), done),
        log: (message, fields) => host.log.info(message, fields),
      },
      timesOf(options),
    );
    this.authority = new Authority(this);
    this.#weak = new WeakState({
      options, host, clock: this.clock, membership: () => this.membership, leaderOf: (groupId) => this.group(groupId).leader, termOf: (groupId) => this.group(groupId).core.term,
      isStopped: () => this.#stopped, isWritable: (peer) => this.#connected.has(peer) && host.isWritable(peer), framesTo: (peer) => this.#peer(peer), dirty: () => this.dirty(),
    });
    ({ eventual: this.eventual, storage: this.eventualStorage, causal: this.causal, causalBehind: this.causalBehind } = this.#weak);
    this.#watchMembers();
    this.subscriptions = new SubscriptionHub({
      clusterId: options.clusterId,
      groupOf: (region) => groupOf(region, options.groups),
      reader: {
        entitiesOf: (region) => this.group(groupOf(region, options.groups)).state.entities.inRegion(region)?.values() ?? [],
        valuesOf: (region, tombstones) => this.eventual.valuesOf(region, undefined, tombstones),
        positionOf: (groupId) => this.group(groupId).state.position(),
      },
      causal: this.causal,
      nowMs: () => host.clock.wallMs(),
      monotonicMs: () => host.clock.monotonicMs(),
      interest: this.#weak.interest,
      onReadable: (subscriberId) => this.onReadable(subscriberId),
    });
    this.eventual.listen(this.subscriptions);
    this.causal.listen((event) => this.subscriptions.onCausal(event));
  }

  #makeGroup(groupId: number, restored: RestoredGroup | undefined): GroupReplica {
    const { options, host } = this;
    const state =
      restored?.state ?? new State({ groupId, decisionWindow: options.decisionWindow, touchCapacity: options.touchCapacity, versions: this.versions });
    const group = new GroupReplica(
      { ...options, groupId, voters: options.members, stages: this.stages, isMember: (nodeId) => this.membership.mayKeep(nodeId) },
      host,
      {
        changed: (id, { index, term }, changes) => this.subscriptions.onStrongChange(id, index, term, changes),
        replaced: (id) => {
          this.subscriptions.onGroupReplaced(id);
          if (id !== DIRECTORY_GROUP) return;
          this.#membersChanged();
          this.authority.replaced();
        },
        decided: (operations) => this.authority.decided(operations),
        directoryChanged: (change) => this.authority.changed(change),
        membershipChanged: () => this.#membersChanged(),
        transactionStepped: (id, key) => this.#coordinator.stepped(id, key),
        leaderChanged: (id, leader) => this.#leaderChanged(id, leader),
        dirty: (id) => this.#touched(this.group(id)),
      },
      state,
      restored,
    );
    group.onSend = (message) => this.#peer(message.to).raft(message);
    return group;
  }

  #membersChanged(): void {
    this.#watchMembers();
    this.onMembers();
  }

  /** Whoever takes part shall be heard of. */
  #watchMembers(): void {
    const { membership } = this;
    const nodeIds = membership.isOnRecord ? membership.members().map(({ nodeId }) => nodeId) : this.options.members;
    const others = nodeIds.filter((nodeId) => nodeId !== this.nodeId);
    this.#weak.setOthers(others);
    for (const nodeId of others) this.#schedule.liveness.watch(nodeId);
  }

  /** What waits for a node. Members come and go: the host knows the way, or drops what it gets. */
  #peer(nodeId: number): PeerFrames {
    let frames = this.#peers.get(nodeId);
    if (frames === undefined) this.#peers.set(nodeId, (frames = new PeerFrames((frame) => this.host.send(nodeId, frame))));
    return frames;
  }

  get nodeId(): number {
    return this.options.nodeId;
  }

  get versions(): VersionRange {
    return this.options.versions ?? VERSIONS;
  }

  /** The state of group 0. */
  get directory(): GroupState {
    return this.group(DIRECTORY_GROUP).state;
  }

  /** Who belongs to the cluster, as far as this node has applied it. */
  get membership(): Membership {
    return this.directory.membership;
  }

  group(groupId: number): GroupReplica {
    const group = this.groups[groupId];
    if (group === undefined) throw new MeshError("INVALID_FIELD", `group_id: 0..${this.options.groups}`, { field: "group_id" });
    return group;
  }

  // ---- events ----

  tick(): void {
    if (this.#stopped) return;
    this.#ticks++;
    this.#schedule.tick(this.#votes);
    this.cutOff.tick();
    this.escrows.tick();
    this.repairs.tick();
    this.edge.expire();
    this.relay.expire();
    this.authority.tick();
    this.#coordinator.tick();
    this.#flows.tick();
    this.members.tick();
    const beats = this.#ticks % this.options.heartbeatTicks === 0;
    this.views.tick(beats);
    this.leadership.tick(this.#votes);
    this.#weak.tick();
    this.subscriptions.tick();
    if (beats) for (const peer of this.#connected) this.#peer(peer).beat();
    this.dirty();
  }

  /** Something happened to a group: it is looked at by the next pump, and ticks. */
  #touched(group: GroupReplica): void {
    this.#schedule.touch(group);
    this.dirty();
  }

  /** The way to a peer is open. */
  peerConnected(peer: number): void {
    this.#connected.add(peer);
    this.#weak.peerUp(peer);
    this.views.heard(peer);
    this.cutOff.tentative.peerUp(peer);
    this.#schedule.liveness.heard(peer);
    this.dirty();
  }

  /** The way to a peer is closed: what it had not answered may have happened. */
  peerDisconnected(peer: number): void {
    if (!this.#connected.delete(peer)) return;
    this.#weak.peerDown(peer);
    const lost = new MeshError("OUTCOME_UNKNOWN", `the connection to node ${peer} broke before it answered`);
    this.edge.onDisconnected(peer, operationError(lost));
    this.relay.onDisconnected(peer, lost);
    for (const group of this.groups) group.peerUnreachable(peer);
    this.#schedule.liveness.lost(peer);
    this.dirty();
  }

  /** A peer opened its way to this node anew: answers that were on the earlier one are lost, and are asked for again. */
  peerReturned(peer: number): void {
    const lost = new MeshError("OUTCOME_UNKNOWN", `node ${peer} had to connect again before it answered`);
    this.edge.onDisconnected(peer, operationError(lost));
    this.relay.onDisconnected(peer, lost);
    // It may have started anew, and lead no more what it led.
    this.#schedule.liveness.lost(peer);
    this.#schedule.liveness.heard(peer);
    this.dirty();
  }

  /** A peer came back without what it had acknowledged. */
  peerLostData(peer: number): void {
    for (const group of this.groups) group.peerLostData(peer);
  }

  /**
   * From now on this node votes and campaigns. Until then it only takes what leaders send: a node that may have lost its
   * data would forget the votes it gave and the entries it acknowledged.
   */
  allowVotes(): void {
    this.#votes = true;
  }

  /** This node is not a member any more: it votes and campaigns no longer, whatever it has missed. */
  retire(): void {
    this.#votes = false;
    this.leadership.stepDown();
  }

  /** A node that is not a member any more: nothing is kept for it. */
  forget(peer: number): void {
    this.peerDisconnected(peer);
    this.#weak.forget(peer);
    this.#peers.delete(peer);
    this.#schedule.liveness.forget(peer);
    this.views.forget(peer);
  }

  /** Group 0 has committed that the node is a member no more. */
  isEvicted(nodeId: number): boolean {
    return this.#weak.isEvicted(nodeId);
  }

  isConnected(peer: number): boolean {
    return this.#connected.has(peer);
  }

  /** Milliseconds since a peer was last heard of; undefined: never. */
  silenceMs(peer: number): number | undefined {
    return this.views.silenceMs(peer);
  }

  /** A frame from a peer. */
  onFrame(peer: number, frame: StreamRequest): void {
    if (this.#stopped) return;
    this.views.heard(peer);
    this.#schedule.liveness.heard(peer);
    this.views.onHeartbeats(peer, frame.heartbeats);
    for (const message of frame.raft) {
      const group = this.groups[message.groupId];
      if (group === undefined || message.from !== peer || message.to !== this.nodeId) continue;
      if (!this.#votes && ELECTION_MESSAGES.has(message.type)) continue;
      try {
        group.step(message);
      } catch (error) {
        // A broken invariant of the protocol: going on could cost what is committed.
        return this.#fail(error);
      }
    }
    for (const call of frame.calls) if (this.groups[call.groupId] !== undefined) this.#remote.onCall(peer, call);
    this.#weak.onFrame(peer, frame);
    for (const each of frame.tentative) this.cutOff.tentative.onFrame(peer, each);
    for (const answer of frame.answers) if (!this.edge.onAnswer(answer)) this.relay.onAnswer(answer);
    this.dirty();
  }

  /** A snapshot from a peer, durable here, with the state that it holds. */
  onSnapshot(meta: SnapshotMeta, message: RaftMessage, state: GroupState): void {
    this.group(meta.groupId).stepSnapshot(meta, message, state);
  }

  /** Waits until this node has applied everything that was committed in a group before the call. */
  barrier(groupId: number, deadlineMs: number, done: (error: MeshError | undefined) => void): void {
    const group = this.group(groupId);
    const askedMs = this.host.clock.monotonicMs();
    const applied = (error: MeshError | undefined): void => {
      if (error === undefined) this.#freshMs[groupId] = Math.max(this.#freshMs[groupId] ?? Number.NEGATIVE_INFINITY, askedMs);
      done(error);
    };
    this.relay.readIndex(groupId, deadlineMs, (index, error) =>
      index === undefined ? done(error ?? new MeshError("INTERNAL", "a read index without an answer")) : group.whenApplied(index, deadlineMs, applied));
    this.dirty();
  }

  /**
   * Milliseconds since this node surely held everything that was committed in the group: since it began to ask, when it
   * last asked and a quorum confirmed the answer. What a leader says of its own proves nothing: it may be none any more,
   * its words may have been long on their way, and heartbeats speak only of what this node has.
   */
  stalenessMs(groupId: number): number {
    return this.host.clock.monotonicMs() - (this.#freshMs[groupId] ?? Number.NEGATIVE_INFINITY);
  }

  // ---- authority ----

  /** Puts a command into the log of a group that this node leads. */
  #command(groupId: number, command: Command, done: (result: CommandResult | undefined, error: MeshError | undefined) => void): void {
    const group = this.group(groupId);
    const body = command.command;
    if (body?.$case === "membership" && group.serves) {
      body.value.nowMs = Math.floor(this.host.clock.wallMs());
      const answer = this.members.answerFor(body.value);
      if (answer !== undefined) return done(answer, undefined);
    }
    group.command(this.authority.stamped(command), done);
  }

  #leaderChanged(groupId: number, leader: number): void {
    const leads = leader === this.nodeId;
    this.#ledAnew.push(this.group(groupId));
    if (!leads) this.#materializers[groupId]?.stop();
    this.#weak.leaderChanged(groupId, leads);
    if (groupId === DIRECTORY_GROUP && leads) this.authority.began();
  }

  materializedIndex(groupId: number): number {
    return this.#materializers[groupId]?.watermark ?? 0;
  }

  /** The region store was ahead of the log of a group that this node leads: it holds what is not of this cluster. */
  get isStoreAhead(): boolean {
    return this.#materializers.some((materializer, groupId) => materializer.isStoreAhead && this.group(groupId).serves);
  }

  /** Something is to be done; it is done once, after the events at hand. */
  dirty(): void {
    if (this.#pumpDue || this.#stopped) return;
    this.#pumpDue = true;
    this.lateness.asked(this.host.clock.monotonicMs());
    this.host.defer(() => this.#pump());
  }

  #pump(): void {
    this.#pumpDue = false;
    if (this.#stopped) return;
    this.lateness.ran(this.host.clock.monotonicMs());
    this.edge.flush();
    this.relay.flush();
    const writes: GroupWrite[] = [];
    const afterPersist: (() => void)[] = [];
    this.#schedule.pump(writes, afterPersist);
    tellLeaders(this.nodeId, this.#ledAnew, this.host.log);
    this.#ledAnew = [];
    // Readys without anything to store are durable once all earlier ones are: they queue behind those.
    if (writes.length + afterPersist.length > 0) {
      this.host.persist(writes, (error) => {
        if (error !== undefined) return this.#fail(error);
        for (const run of afterPersist) run();
        this.dirty();
      });
    }
    this.#remote.flush();
    for (const peer of this.#peers.values()) peer.flush();
  }

  #fail(error: unknown): void {
    if (this.#stopped) return;
    this.stop();
    this.host.fail(error);
  }

  /** Answers every open call and does nothing any more. */
  stop(): void {
    if (this.#stopped) return;
    this.edge.close();
    this.relay.close();
    this.escrows.stop();
    this.#stopped = true;
  }
}
