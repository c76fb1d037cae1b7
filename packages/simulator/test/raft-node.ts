import { RaftMessageType } from "@statemesh/contract";
import type { LogEntry, RaftMessage, SnapshotMeta } from "@statemesh/contract";
import { DiskError } from "@statemesh/ports";
import { RaftCore } from "@statemesh/raft";
import type { QuorumRule, Ready } from "@statemesh/raft";
import { SnapshotStore, WriteAheadLog } from "@statemesh/wal";
import { SimDisk, SimTimers } from "../src/index.ts";
import type { SimNetwork, SimRandom, Simulation } from "../src/index.ts";
import type { RaftChecker } from "./raft-checker.ts";

export type Packet =
  | { kind: "raft"; message: RaftMessage }
  | { kind: "snapshot"; message: RaftMessage; meta: SnapshotMeta; content: Uint8Array }
  | { kind: "snapshot_done"; index: number }
  /** The sender lives: for replicas that sleep. */
  | { kind: "beat" };

export const TICK_MS = 20;
export const ELECTION_TICKS = 10;
const GROUP = 1;
/** Applied entries behind the last snapshot before the next one. */
const SNAPSHOT_EVERY = 25;
const SNAPSHOT_TIMEOUT_MS = 300;

export interface NodeSettings {
  maxMessageBytes: number;
  quorum: QuorumRule;
  leaseReads: boolean;
  quiescence: boolean;
}

/** A process that runs one replica: the core over a real log and snapshot files on a simulated disk. Its state machine counts what it applied. */
export class RaftNode {
  readonly id: number;
  readonly disk: SimDisk;
  readonly #network: SimNetwork<Packet>;
  readonly #checker: RaftChecker;
  readonly #voters: readonly number[];
  readonly #everybody: readonly number[];
  readonly #settings: NodeSettings;
  readonly #random: SimRandom;
  readonly #timers: SimTimers;
  core: RaftCore | undefined;
  applied = 0;
  #life = 0;
  #wal: WriteAheadLog | undefined;
  #snapshots: SnapshotStore | undefined;
  #snapshotIndex = 0;
  #snapshotting = false;
  #received: SnapshotMeta | undefined;
  #unsent: { sequence: number; messages: RaftMessage[] }[] = [];
  #writes = 0;
  /** No two clocks run alike. */
  readonly #tickMs: number;
  /** Ticks since another node was heard, by id. */
  readonly #silence = new Map<number, number>();
  #reads = new Map<number, number>();
  #pendingReads: { index: number; floor: number }[] = [];
  #readNumber = 0;
  #proposed = new Set<string>();
  /** A client was just told that its command is committed. */
  onAcknowledged: () => void = () => undefined;
  readsServed = 0;
  snapshotsInstalled = 0;

  /** @param voters The bootstrap configuration; a node that is not in it joins. */
  constructor(id: number, everybody: readonly number[], voters: readonly number[], settings: NodeSettings, simulation: Simulation, network: SimNetwork<Packet>, checker: RaftChecker) {
    this.id = id;
    this.#voters = voters;
    this.#everybody = everybody;
    this.#settings = settings;
    this.#network = network;
    this.#checker = checker;
    this.#random = simulation.random.fork();
    this.#timers = new SimTimers(simulation);
    this.disk = new SimDisk(simulation);
    this.#tickMs = TICK_MS * (0.95 + 0.1 * this.#random.next());
  }

  get isUp(): boolean {
    return this.core !== undefined;
  }

  /** Something was handed to the disk and is not durable. */
  get isWriting(): boolean {
    return this.#writes > 0;
  }

  async start(): Promise<void> {
    const life = ++this.#life;
    const disk = this.disk.mount();
    const { wal, groups } = await WriteAheadLog.open(disk, { segmentBytes: 4000 });
    const snapshots = await SnapshotStore.open(disk);
    const group = groups.get(GROUP);
    if (group?.snapshot !== undefined) {
      // The log names the snapshot that counts; its file is there because older files go only after the log's mark is durable.
      const snapshot = await snapshots.read(GROUP, group.snapshot.index);
      await snapshot.verify();
    }
    if (life !== this.#life) return;
    this.#wal = wal;
    this.#snapshots = snapshots;
    this.applied = group?.snapshot?.index ?? 0;
    this.#snapshotIndex = this.applied;
    this.core = new RaftCore({
      groupId: GROUP, nodeId: this.id, electionTicks: ELECTION_TICKS, heartbeatTicks: 2,
      maxInflightMessages: 8, maxInflightBytes: 4096, maxUncommittedBytes: 4096, ...this.#settings,
      ...(this.#voters.includes(this.id) ? { voters: this.#voters } : { voters: [], joining: true }),
      random: () => this.#random.next(),
      ...(group === undefined ? {} : { restored: { ...group, applied: this.applied } }),
    });
    this.#silence.clear();
    this.#network.attach(this.id, (from, packet) => {
      if ((this.#silence.get(from) ?? 0) >= ELECTION_TICKS) this.core?.nodeHeard(from);
      this.#silence.set(from, 0);
      this.#receive(from, packet);
    });
    let ticks = 0;
    this.#timers.every(this.#tickMs, () => {
      this.#countSilence(++ticks % 2 === 0);
      this.core?.tick();
      this.pump();
    });
  }

  #countSilence(beats: boolean): void {
    for (const id of this.#everybody) {
      if (id === this.id) continue;
      if (beats) this.#network.send(this.id, id, { kind: "beat" });
      const ticks = (this.#silence.get(id) ?? 0) + 1;
      this.#silence.set(id, ticks);
      if (ticks === ELECTION_TICKS) this.core?.nodeSilent(id, ticks);
    }
  }

  /** The power is cut (what was not synced may be lost), or the process killed (it is not). */
  stop(powerCut: boolean): void {
    this.#life++;
    this.core = undefined;
    this.#timers.cancelAll();
    this.#network.detach(this.id);
    if (powerCut) this.disk.crash();
    else this.disk.kill();
    this.#checker.restarted(this.id);
    this.#unsent = [];
    this.#writes = 0;
    this.#reads.clear();
    this.#pendingReads = [];
    this.#proposed.clear();
    this.#snapshotting = false;
    this.#received = undefined;
  }

  propose(data: string): void {
    const result = this.core?.propose(Buffer.from(data, "latin1"));
    if (result?.ok !== true) return;
    this.#proposed.add(`${result.index}/${result.term}`);
    this.pump();
  }

  /** Proposes to make `voters` and `learners` the members. True where the change began. */
  reconfigure(voters: readonly number[], learners: readonly number[]): boolean {
    const began = this.core?.proposeConfiguration({ voters, learners }).ok === true;
    if (began) this.pump();
    return began;
  }

  /** A read must show everything that any client was told before it began. */
  read(): void {
    if (this.core?.readIndex(++this.#readNumber) !== "ok") return;
    this.#reads.set(this.#readNumber, this.#checker.acknowledged);
    this.pump();
  }

  pump(): void {
    const { core } = this;
    if (core === undefined) return;
    while (core.hasReady()) this.#process(core, core.ready());
    this.#checker.observe(core);
    if (this.applied - this.#snapshotIndex >= SNAPSHOT_EVERY && !this.#snapshotting) void this.#takeSnapshot(core);
  }

  #process(core: RaftCore, ready: Ready): void {
    for (const message of ready.messages) this.#send(message);
    if (ready.mustSync) {
      const life = this.#life;
      this.#writes++;
      const { hardState, snapshot, entries } = ready;
      void this.#wal!.append([{ groupId: GROUP, hardState, snapshot, entries }]).then(() => {
        if (life !== this.#life) return;
        this.#writes--;
        core.persisted(ready.sequence);
        if (snapshot !== undefined) void this.#snapshots!.removeOlder(GROUP, snapshot.index);
        this.#sendDurable(ready.sequence);
        this.pump();
      });
    }
    if (ready.messagesAfterPersist.length > 0) this.#unsent.push({ sequence: ready.sequence, messages: ready.messagesAfterPersist });
    if (this.#writes === 0) this.#sendDurable(ready.sequence);
    if (ready.snapshot !== undefined) {
      if (this.#received?.index !== ready.snapshot.index) this.#checker.fail("a snapshot is installed that was not received");
      this.applied = ready.snapshot.index;
      this.#snapshotIndex = ready.snapshot.index;
      this.snapshotsInstalled++;
    }
    for (const entry of ready.committed) this.#apply(entry);
    core.applied(this.applied);
    for (const { context, index } of ready.readStates) {
      this.#pendingReads.push({ index, floor: this.#reads.get(context)! });
      this.#reads.delete(context);
    }
    for (const context of ready.abortedReads) this.#reads.delete(context);
    this.#serveReads();
  }

  #apply(entry: LogEntry): void {
    this.#checker.appliedEntry(this.id, entry, this.applied);
    this.applied = entry.index;
    if (!this.#proposed.delete(`${entry.index}/${entry.term}`)) return;
    this.#checker.acknowledged = Math.max(this.#checker.acknowledged, entry.index);
    this.onAcknowledged();
  }

  #serveReads(): void {
    this.#pendingReads = this.#pendingReads.filter(({ index, floor }) => {
      if (this.applied < index) return true;
      if (index < floor) this.#checker.fail(`stale read on ${this.id}: index ${index}, but ${floor} was acknowledged before it began`);
      this.readsServed++;
      return false;
    });
  }

  #sendDurable(sequence: number): void {
    while (this.#unsent.length > 0 && this.#unsent[0]!.sequence <= sequence) for (const message of this.#unsent.shift()!.messages) this.#send(message);
  }

  #send(message: RaftMessage): void {
    this.#checker.sent(message);
    if (message.type === RaftMessageType.SNAPSHOT) void this.#sendSnapshot(message);
    else this.#network.send(this.id, message.to, { kind: "raft", message });
  }

  async #sendSnapshot(message: RaftMessage): Promise<void> {
    const life = this.#life;
    const chunks: Uint8Array[] = [];
    let meta: SnapshotMeta | undefined;
    try {
      const reader = await this.#snapshots!.read(GROUP, message.logIndex);
      for await (const chunk of reader.chunks(64)) chunks.push(chunk);
      meta = reader.meta;
    } catch (error) {
      // A newer snapshot of this node took its place meanwhile, and the file is gone.
      if (!(error instanceof DiskError) || (life === this.#life && this.#snapshotIndex <= message.logIndex)) throw error;
    }
    if (life !== this.#life) return;
    if (meta !== undefined) this.#network.send(this.id, message.to, { kind: "snapshot", message, meta, content: Buffer.concat(chunks) });
    this.#timers.after(meta === undefined ? 1 : SNAPSHOT_TIMEOUT_MS, () => {
      this.core?.reportSnapshot(message.to, false);
      this.pump();
    });
  }

  #receive(from: number, packet: Packet): void {
    const { core } = this;
    if (core === undefined) return;
    if (packet.kind === "beat") return;
    if (packet.kind === "raft") core.step(packet.message);
    else if (packet.kind === "snapshot_done") core.reportSnapshot(from, true);
    else {
      void this.#receiveSnapshot(core, packet.message, packet.meta, packet.content);
      return;
    }
    this.pump();
  }

  async #receiveSnapshot(core: RaftCore, message: RaftMessage, meta: SnapshotMeta, content: Uint8Array): Promise<void> {
    const life = this.#life;
    if (meta.index <= core.commitIndex) {
      // Not needed, but the leader wants to hear so: else it sends another one.
      core.stepSnapshot(meta, message);
      this.pump();
      return;
    }
    if (this.#snapshotting) return;
    this.#snapshotting = true;
    const writer = await this.#snapshots!.create(meta);
    await writer.write(content);
    await writer.finish(meta);
    if (life !== this.#life) return;
    this.#snapshotting = false;
    this.#received = meta;
    core.stepSnapshot(meta, message);
    this.#network.send(this.id, message.from, { kind: "snapshot_done", index: meta.index });
    this.pump();
  }

  async #takeSnapshot(core: RaftCore): Promise<void> {
    const life = this.#life;
    const index = this.applied;
    const configuration = core.snapshotConfiguration(index);
    // In the middle of a change: a few entries further on it is over.
    if (configuration === undefined) return;
    this.#snapshotting = true;
    const term = core.termOf(index)!;
    const writer = await this.#snapshots!.create({ groupId: GROUP, index, term, voters: [...configuration.voters], learners: [...configuration.learners] });
    await writer.write(Buffer.from(`state at ${index}`));
    const meta = await writer.finish();
    if (life !== this.#life) return;
    // A snapshot from the leader may have overtaken this one.
    if (index > this.#snapshotIndex) {
      await this.#wal!.append([{ groupId: GROUP, snapshot: meta }]);
      if (life !== this.#life) return;
      this.#snapshotIndex = index;
      // Some entries stay for followers that are a little behind.
      const through = Math.max(0, index - this.#random.between(0, 10));
      core.compact(through, meta);
      await this.#wal!.compact(GROUP, through);
      if (life !== this.#life) return;
      await this.#snapshots!.removeOlder(GROUP, this.#snapshotIndex);
      if (life !== this.#life) return;
    }
    this.#snapshotting = false;
    this.pump();
  }
}
