// Nodes of the mesh over a host of nothing but queues: virtual time, a network that loses what the test says, disks
// that keep what was written. One seed, no waiting.
import {
  type ArbitrateRequest, type ArbitrateResponse, type Decision, type MaterializeRequest, type MaterializeResponse, MemberState, MeshError, type Operation, type OperationError, type Region,
  type SnapshotMeta, StreamRequest, type TentativeOperation,
} from "@statemesh/contract";
import type { CommandResult, DirectoryCommand, EscrowLogRecord, MembershipCommand } from "@statemesh/contract/log";
import { resolve } from "@statemesh/conflict";
import { type Host, MeshNode, type NodeOptions } from "@statemesh/mesh";
import type { Loss } from "@statemesh/raft";
import { commandOf, GroupState, SnapshotLoader, type VersionRange, VERSIONS } from "@statemesh/replica";
import { DEFAULT_POLICY, groupOf } from "@statemesh/world";
import { Disk, type StoredSnapshot } from "./virtual-disk.ts";

const TICK_MS = 50;

export interface ClusterOptions {
  readonly nodes?: number;
  readonly groups?: number;
  readonly seed?: number;
  readonly node?: Partial<NodeOptions>;
  /** Answers the leaders' questions, which they wait for until `deadlineMs`; undefined: no arbiter. Default: the shared rules. */
  readonly arbiter?: (request: ArbitrateRequest, deadlineMs: number) => ArbitrateResponse | undefined;
  readonly store?: (request: MaterializeRequest) => MaterializeResponse | undefined;
  readonly watermarks?: () => ReadonlyMap<number, number> | undefined;
}

export class VirtualCluster {
  readonly #options: ClusterOptions;
  readonly #disks = new Map<number, Disk>();
  readonly #nodes = new Map<number, MeshNode>();
  readonly #cut = new Set<string>();
  readonly groups: number;
  readonly members: number[];
  readonly failures: Error[] = [];
  /** Nodes whose disks have no room for notes of escrows, and how long a disk takes for one. */
  readonly fullDisks = new Set<number>();
  escrowNoteMs = 0.5;
  /** Snapshots that went from node to node. */
  snapshotsSent = 0;
  /** What nodes told their operators. */
  readonly complaints: { node: number; message: string; fields: Readonly<Record<string, unknown>> | undefined }[] = [];
  nowMs = 1_000_000;
  /** Frames that nodes have sent, and their bytes. */
  frames = 0;
  frameBytes = 0;
  /** What waits for nodes that are held up. */
  readonly #held = new Map<number, (() => void)[]>();
  #events: { atMs: number; order: number; run: () => void }[] = [];
  #order = 0;
  readonly #wiped = new Set<number>();
  /** Nodes that joined later, and nodes of another version. */
  readonly #joined = new Set<number>();
  readonly #versions = new Map<number, VersionRange>();
  #incarnations = 0;
  #random: number;

  constructor(options: ClusterOptions = {}) {
    this.#options = options;
    this.groups = options.groups ?? 2;
    this.members = Array.from({ length: options.nodes ?? 3 }, (_, i) => i + 1);
    this.#random = options.seed ?? 1;
    for (const id of this.members) this.#disks.set(id, new Disk());
    for (const id of this.members) this.start(id);
  }

  /** A small generator (mulberry32): tests need spread, not quality. */
  random(): number {
    this.#random = (this.#random + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#random ^ (this.#random >>> 15), 1 | this.#random);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  node(id: number): MeshNode {
    const node = this.#nodes.get(id);
    if (node === undefined) throw new Error(`node ${id} is down`);
    return node;
  }

  isUp(id: number): boolean {
    return this.#nodes.has(id);
  }

  at(delayMs: number, run: () => void): void {
    this.#events.push({ atMs: this.nowMs + delayMs, order: this.#order++, run });
  }

  start(id: number): void {
    const disk = this.#disks.get(id) ?? new Disk();
    const options = this.#options;
    const alive = (): boolean => this.#nodes.get(id) === node;
    const host: Host = {
      clock: { wallMs: () => this.nowMs, monotonicMs: () => this.nowMs },
      random: { next: () => this.random() },
      log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: (message, fields) => this.complaints.push({ node: id, message, fields }) },
      defer: (task) => this.at(0, () => alive() && task()),
      after: (delayMs, task) => this.at(delayMs, () => alive() && task()),
      send: (peer, frame) => {
        // Through the wire format, so that nothing is shared between nodes.
        const bytes = StreamRequest.encode(frame).finish();
        this.frames++;
        this.frameBytes += bytes.length;
        const sender = this.#nodes.get(id);
        this.at(1 + this.random(), () => this.#unlessHeld(peer, () => {
          // A connection ends with its process: nothing of it arrives after the next one has said hello.
          if (this.#reaches(id, peer) && (sender === this.#nodes.get(id) || !this.#nodes.has(id))) this.#nodes.get(peer)?.onFrame(id, StreamRequest.decode(bytes));
        }));
      },
      isWritable: () => true,
      persist: (writes, done) =>
        this.at(0.5, () => {
          if (!alive()) return;
          for (const write of writes) disk.write(write);
          done(undefined);
        }),
      arbitrate: (request, deadlineMs, done) =>
        this.at(1, () => {
          if (!alive()) return;
          const byRules = (): ArbitrateResponse => ({ sets: request.sets.map((set) => ({ verdicts: resolve(set, DEFAULT_POLICY) })) });
          done(options.arbiter === undefined ? byRules() : options.arbiter(request, deadlineMs));
        }),
      saveSnapshot: (heading, chunks, done) => {
        const saved = [...{ [Symbol.iterator]: () => chunks }];
        const size = saved.reduce((sum, chunk) => sum + chunk.length, 0);
        const meta: SnapshotMeta = { ...heading, size, crc32c: 0 };
        this.at(5, () => {
          if (!alive()) return;
          disk.snapshots.set(heading.groupId, { meta, chunks: saved });
          done(undefined, meta);
        });
      },
      sendSnapshot: (peer, message, done) => {
        const stored = disk.snapshots.get(message.groupId);
        this.at(5, () => {
          const target = this.#nodes.get(peer);
          if (stored === undefined) return done(false, true);
          if (target === undefined || !this.#reaches(id, peer)) return done(false);
          this.snapshotsSent++;
          this.#disks.get(peer)?.snapshots.set(message.groupId, stored);
          const state = load(stored, target.options);
          target.onSnapshot(stored.meta, { ...message, logIndex: stored.meta.index, logTerm: stored.meta.term }, state);
          done(true);
        });
      },
      releaseLog: (meta, throughIndex) => {
        const stored = disk.groups.get(meta.groupId);
        if (stored === undefined) return;
        stored.snapshot = meta;
        stored.entries = stored.entries.filter((entry) => entry.index > throughIndex);
      },
      materialize: (request, done) => this.at(2, () => alive() && done(options.store?.(request))),
      watermarks: (done) => this.at(2, () => alive() && done(options.watermarks?.())),
      storeEventual: (_values, _beforeMs, done) => this.at(2, () => alive() && done(false)),
      loadEventual: (_token, done) => this.at(2, () => alive() && done(undefined)),
      storeCausal: (_groups, done) => this.at(2, () => alive() && done(undefined)),
      keepTentative: (operations, done) =>
        this.at(0.5, () => {
          if (!alive()) return;
          for (const operation of operations) disk.tentative.set(operation.operation?.operationId ?? "", operation);
          done(undefined);
        }),
      dropTentative: (operationIds) => operationIds.forEach((operationId) => disk.tentative.delete(operationId)),
      keepEscrow: (records, done) =>
        this.at(this.escrowNoteMs, () => {
          if (!alive()) return;
          if (this.fullDisks.has(id)) return done(new MeshError("LOG_FULL", "the disk is full"));
          disk.escrows.push(...records);
          done(undefined);
        }),
      fail: (error) => this.failures.push(error instanceof Error ? error : new Error("a node failed", { cause: error })),
    };
    const nodeOptions: NodeOptions = {
      nodeId: id,
      members: this.#joined.has(id) ? [] : this.members,
      versions: this.#versions.get(id) ?? VERSIONS,
      groups: this.groups,
      policy: DEFAULT_POLICY,
      electionTicks: 10,
      heartbeatTicks: 2,
      tickMs: TICK_MS,
      leaseReads: false,
      queueCapacity: 16_384,
      snapshotLogBytes: 1 << 26,
      trailingEntries: 64,
      trailingBytes: 1 << 20,
      decisionWindow: 4_096,
      touchCapacity: 4_096,
      leaseMs: 3_000,
      registrationTtlMs: 10_000,
      materialize: options.store !== undefined,
      balanceTicks: 0,
      clusterId: "test",
      incarnation: ++this.#incarnations,
      ...options.node,
    };
    const restored = new Map(
      [...disk.groups].map(([groupId, group]) => {
        const snapshot = disk.snapshots.get(groupId);
        const state = snapshot === undefined || group.snapshot === undefined ? emptyState(groupId, nodeOptions) : load(snapshot, nodeOptions);
        return [groupId, { hardState: group.hardState, snapshot: group.snapshot, entries: [...group.entries], state, ...(group.loss === undefined ? {} : { loss: group.loss }) }];
      }),
    );
    const node: MeshNode = new MeshNode(nodeOptions, host, restored, [...disk.tentative.values()], [...disk.escrows]);
    this.#nodes.set(id, node);
    node.members.foundedBy(this.members.map((nodeId) => ({ nodeId, address: `node-${nodeId}:1`, folderId: nodeId, state: MemberState.VOTER })));
    node.onMembers = () => {
      const { membership } = node;
      for (const peer of this.#nodes.keys()) {
        if (peer !== id && membership.isOnRecord && peer <= membership.lastNodeId && membership.member(peer) === undefined) node.forget(peer);
      }
    };
    if (!this.#wiped.has(id)) node.allowVotes();
    const tick = (): void => {
      if (!alive()) return;
      node.tick();
      this.at(TICK_MS, () => this.#unlessHeld(id, tick));
    };
    this.at(this.random() * TICK_MS, tick);
    this.#reconnect();
    this.#introduce(id);
  }

  /** What nodes say of their groups when one of them is new to the others. */
  #introduce(id: number): void {
    const said = (from: MeshNode, to: MeshNode): void => to.repairs.peerSaid(from.nodeId, from.repairs.damagedGroups, from.groups.map((group) => group.core.term));
    for (const [peer, other] of this.#nodes) {
      if (peer === id) continue;
      said(this.node(id), other);
      said(other, this.node(id));
    }
  }

  /** A node with an empty folder that founded nothing. */
  join(id: number): void {
    this.#joined.add(id);
    this.#disks.set(id, new Disk());
    this.start(id);
  }

  /** The version that a node speaks from its next start on. */
  speaks(id: number, versions: VersionRange): void {
    this.#versions.set(id, versions);
  }

  /** A command about members, through any node that is up. */
  membership(body: NonNullable<MembershipCommand["command"]>, nodeId = this.#anyNode()): CommandResult {
    return this.#relayed(commandOf({ $case: "membership", value: { command: body, nowMs: 0 } }), nodeId);
  }

  /** The process dies: what was not persisted is gone. */
  kill(id: number): void {
    this.#nodes.delete(id);
    for (const [peer, node] of this.#nodes) if (peer !== id) node.peerDisconnected(id);
  }

  /** The process stops for a while: no timer runs, and what is sent to it waits. Time goes on. */
  hold(id: number): void {
    this.#held.set(id, []);
  }

  release(id: number): void {
    const waiting = this.#held.get(id) ?? [];
    this.#held.delete(id);
    for (const run of waiting) run();
  }

  #unlessHeld(id: number, run: () => void): void {
    const waiting = this.#held.get(id);
    if (waiting === undefined) run();
    else waiting.push(run);
  }

  /** A node that is down comes back with an empty disk, under its old name. */
  wipe(id: number): void {
    this.#disks.set(id, new Disk());
    this.#wiped.add(id);
    this.start(id);
    for (const [peer, node] of this.#nodes) if (peer !== id) node.peerLostData(id);
  }

  /** Lays an operation on the disk of a node that is down, as if it had kept it. */
  keepOnDisk(id: number, record: TentativeOperation): void {
    this.#disks.get(id)?.tentative.set(record.operation?.operationId ?? "", record);
  }

  /** What a node that is down has on its disk of escrows. */
  escrowRecords(id: number): EscrowLogRecord[] {
    return this.#disks.get(id)?.escrows ?? [];
  }

  /** A node's snapshot file is gone; the node does not know. */
  loseSnapshot(id: number, groupId: number): void {
    this.#disks.get(id)?.snapshots.delete(groupId);
  }

  /** A node that is down loses the last entries of a group's log; the log knows that, and of `loss` what it is given. */
  damage(id: number, groupId: number, entries: number, known: Pick<Loss, "isEndKnown" | "isVoteKnown">): void {
    const stored = this.#disks.get(id)?.groups.get(groupId);
    const last = stored?.entries.at(-1);
    if (stored === undefined || last === undefined) throw new Error(`node ${id} holds nothing of group ${groupId}`);
    stored.entries = stored.entries.slice(0, -entries);
    const left = stored.entries.at(-1) ?? { index: stored.snapshot?.index ?? 0, term: stored.snapshot?.term ?? 0 };
    const { index, term } = known.isEndKnown ? last : left;
    stored.loss = { end: { index, term }, ...known };
    const { hardState } = stored;
    stored.hardState = { term: known.isVoteKnown ? hardState.term : left.term, vote: known.isVoteKnown ? hardState.vote : 0, commit: Math.min(hardState.commit, left.index) };
  }

  /** Nothing passes between the two sides any more. */
  cut(left: readonly number[], right: readonly number[]): void {
    for (const a of left) {
      for (const b of right) {
        this.#cut.add(`${a}-${b}`).add(`${b}-${a}`);
        this.#nodes.get(a)?.peerDisconnected(b);
        this.#nodes.get(b)?.peerDisconnected(a);
      }
    }
  }

  /** Frames one way are lost, and neither side notices. */
  loseFrames(from: number, to: number, lost: boolean): void {
    if (lost) this.#cut.add(`${from}-${to}`);
    else this.#cut.delete(`${from}-${to}`);
  }

  heal(): void {
    this.#cut.clear();
    this.#reconnect();
  }

  #reaches(from: number, to: number): boolean {
    return !this.#cut.has(`${from}-${to}`);
  }

  #reconnect(): void {
    for (const [id, node] of this.#nodes) {
      for (const [peer, other] of this.#nodes) {
        if (peer === id || !this.#reaches(id, peer) || node.isConnected(peer)) continue;
        node.members.introduced(peer, other.versions.max);
        node.peerConnected(peer);
      }
    }
  }

  /** Runs virtual time on. */
  run(durationMs: number): void {
    this.runUntil(() => false, durationMs);
  }

  /** Runs until `done` holds; answers whether it came to hold within the limit. */
  runUntil(done: () => boolean, limitMs = 30_000): boolean {
    const endMs = this.nowMs + limitMs;
    while (!done()) {
      let next: { atMs: number; order: number; run: () => void } | undefined;
      for (const event of this.#events) {
        if (next === undefined || event.atMs < next.atMs || (event.atMs === next.atMs && event.order < next.order)) next = event;
      }
      if (next === undefined || next.atMs > endMs) {
        this.nowMs = endMs;
        return done();
      }
      const due = next;
      this.#events = this.#events.filter((event) => event !== due);
      this.nowMs = Math.max(this.nowMs, due.atMs);
      due.run();
      const failure = this.failures[0];
      if (failure !== undefined) throw failure;
    }
    return true;
  }

  leaderOf(groupId: number): number {
    for (const [id, node] of this.#nodes) if (node.group(groupId).serves) return id;
    return 0;
  }

  /** Runs until every group has a leader that serves. */
  settle(): void {
    const ready = this.runUntil(() => Array.from({ length: this.groups + 1 }, (_, g) => this.leaderOf(g)).every((id) => id !== 0));
    if (!ready) throw new Error("no leader within 30 s");
  }

  /** Decides operations through a node; answers by operation id. */
  execute(nodeId: number, operations: readonly Operation[], deadlineMs = 10_000): Map<string, Decision | OperationError> {
    const answers = this.submit(nodeId, operations, deadlineMs);
    this.runUntil(() => answers.size === new Set(operations.map((operation) => operation.operationId)).size, deadlineMs + 1_000);
    return answers;
  }

  /** The same without waiting. */
  submit(nodeId: number, operations: readonly Operation[], deadlineMs = 10_000): Map<string, Decision | OperationError> {
    const answers = new Map<string, Decision | OperationError>();
    const node = this.node(nodeId);
    node.edge.execute(operations, this.nowMs + deadlineMs, {
      decided: (decision) => answers.set(decision.operationId, decision),
      failed: (operationId, error) => answers.set(operationId, error),
    });
    node.dirty();
    return answers;
  }

  transact(nodeId: number, transactionId: string, operations: readonly Operation[]): (Decision | OperationError)[] {
    const answers: (Decision | OperationError)[] = [];
    const node = this.node(nodeId);
    node.edge.transact(transactionId, operations, this.nowMs + 10_000, {
      decided: (decision) => answers.push(decision),
      failed: (_, error) => answers.push(error),
    });
    node.dirty();
    this.runUntil(() => answers.length === operations.length);
    return answers;
  }

  directory(nodeId: number, body: NonNullable<DirectoryCommand["command"]>): CommandResult {
    return this.#relayed(commandOf({ $case: "directory", value: { command: body, nowMs: 0 } }), nodeId);
  }

  #relayed(command: ReturnType<typeof commandOf>, nodeId: number): CommandResult {
    let answer: CommandResult | undefined;
    let failure: MeshError | undefined;
    const node = this.node(nodeId);
    node.relay.command(0, command, this.nowMs + 10_000, (result, error) => {
      answer = result;
      failure = error;
    });
    node.dirty();
    this.runUntil(() => answer !== undefined || failure !== undefined);
    if (failure !== undefined) throw failure;
    if (answer === undefined) throw new Error("no answer of the directory");
    return answer;
  }

  register(...serverIds: number[]): void {
    for (const serverId of serverIds) {
      this.directory(this.#anyNode(), {
        $case: "register",
        value: { server: { serverId, name: `server-${serverId}`, address: "", priority: 0, incarnation: 1, maxRegions: 0 }, ttlMs: 10_000 },
      });
    }
    // Registrations run out in virtual time too: they are renewed while the test goes on.
    const renew = (): void => {
      for (const serverId of serverIds) {
        const node = [...this.#nodes.values()].find((candidate) => candidate.group(0).serves);
        node?.relay.command(
          0,
          commandOf({ $case: "directory", value: { command: { $case: "renew", value: { serverId, leases: [], durationMs: 3_000, ttlMs: 10_000, load: undefined } }, nowMs: 0 } }),
          this.nowMs + 1_000,
          () => undefined,
        );
      }
      this.at(1_000, renew);
    };
    this.at(1_000, renew);
    this.run(300);
  }

  #anyNode(): number {
    const id = [...this.#nodes.keys()][0];
    if (id === undefined) throw new Error("every node is down");
    return id;
  }

  /** A region whose group is `groupId`. */
  regionIn(groupId: number): Region {
    for (let x = 0; x < 10_000; x += 8) if (groupOf({ x, y: 0, z: 0 }, this.groups) === groupId) return { x, y: 0, z: 0 };
    throw new Error(`no region for group ${groupId}`);
  }

  /** All nodes that are up hold the same state of every group. */
  converge(): void {
    const same = this.runUntil(() => {
      for (let groupId = 0; groupId <= this.groups; groupId++) {
        const states = [...this.#nodes.values()].map((node) => node.group(groupId).state);
        if (new Set(states.map((state) => `${state.appliedIndex} ${state.digest}`)).size > 1) return false;
      }
      return true;
    });
    if (!same) throw new Error("the nodes do not come to hold the same state");
  }
}

function emptyState(groupId: number, options: NodeOptions): GroupState {
  return new GroupState(stateOptions(groupId, options));
}

function stateOptions(groupId: number, { decisionWindow, touchCapacity, versions = VERSIONS }: NodeOptions) {
  return { groupId, decisionWindow, touchCapacity, versions };
}

function load(stored: StoredSnapshot, options: NodeOptions): GroupState {
  const loader = new SnapshotLoader(stateOptions(stored.meta.groupId, options));
  for (const chunk of stored.chunks) loader.push(chunk);
  return loader.finish();
}

export function isDecision(answer: Decision | OperationError | undefined): answer is Decision {
  return answer !== undefined && "outcome" in answer;
}
