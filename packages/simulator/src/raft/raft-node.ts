import { RaftMessageType } from "@statemesh/contract";
import type { LogEntry, RaftMessage, SnapshotMeta } from "@statemesh/contract";
import { DiskError } from "@statemesh/ports";
import { EntryKind, RaftCore } from "@statemesh/raft";
import type { QuorumRule, Ready } from "@statemesh/raft";
import { SnapshotStore, WriteAheadLog } from "@statemesh/wal";
import type { GroupUpdate } from "@statemesh/wal";
import type { Recorder } from "../recorder.ts";
import { SimTimers } from "../sim-clock.ts";
import { SimDisk } from "../sim-disk.ts";
import type { SimNetwork } from "../sim-network.ts";
import type { SimRandom } from "../sim-random.ts";
import type { Simulation } from "../simulation.ts";
import { NodeBeats } from "./node-beats.ts";
import type { RaftChecker } from "./raft-checker.ts";
import { RaftLogWriter } from "./raft-log-writer.ts";
import type { RaftSettings } from "./raft-settings.ts";
import { applyWrite, decodeRegisters, encodeRegisters, encodeWrite } from "./register-history.ts";
import type { RegisterCall, RegisterHistory, Registers } from "./register-history.ts";
import { READ_CONTEXTS, ReplicaReads } from "./replica-reads.ts";
import { ReplicaWitness } from "./replica-witness.ts";

export type Packet =
  | { kind: "raft"; message: RaftMessage }
  | { kind: "beat" }
  | { kind: "snapshot"; message: RaftMessage; meta: SnapshotMeta; content: Uint8Array }
  | { kind: "snapshot_done"; index: number }
  | { kind: "read_index"; number: number }
  | { kind: "read_at"; number: number; index: number };

export const TICK_MS = 20;
export const ELECTION_TICKS = 10;
const GROUP = 1;
const SNAPSHOT_TIMEOUT_MS = 300;
/** How long a full disk is left alone before the next snapshot. */
const FULL_DISK_MS = 50;
/** Ticks that a node makes up for after a pause, at most. */
const MISSED_TICKS_MAX = 10 * ELECTION_TICKS;

/** What a replica is part of. */
export interface RaftWorld {
  readonly simulation: Simulation;
  readonly network: SimNetwork<Packet>;
  readonly recorder: Recorder;
  readonly checker: RaftChecker;
  readonly history: RegisterHistory;
  readonly settings: RaftSettings;
  /** Whether a process that ended is started again. */
  mayRun(node: RaftNode): boolean;
  /** A client was just told that its write is committed. */
  acknowledged(node: RaftNode, key: number): void;
}

/** A process that runs one replica: the core over a real log and snapshot files on a simulated disk, with registers for a state machine. */
export class RaftNode {
  readonly id: number;
  readonly disk: SimDisk;
  readonly #world: RaftWorld;
  readonly #random: SimRandom;
  readonly #timers: SimTimers;
  readonly #rule: QuorumRule;
  readonly #quiescence: boolean;
  core: RaftCore | undefined;
  applied = 0;
  registers: Registers = new Map();
  #life = 0;
  #log: RaftLogWriter | undefined;
  #beats: NodeBeats | undefined;
  #snapshots: SnapshotStore | undefined;
  #snapshotIndex = 0;
  #snapshotting = false;
  #received: { meta: SnapshotMeta; registers: Registers } | undefined;
  #unsent: { sequence: number; messages: RaftMessage[] }[] = [];
  /** Milliseconds a tick, as this node's clock runs. */
  tickMs: number;
  #paused = false;
  #missedTicks = 0;
  #inbox: (() => void)[] = [];
  readonly #reads: ReplicaReads;
  #proposed = new Map<number, { term: number; call: RegisterCall }>();
  readonly witness: ReplicaWitness;

  constructor(id: number, world: RaftWorld) {
    this.id = id;
    this.#world = world;
    const { simulation, settings } = world;
    this.#random = simulation.random.fork();
    this.#reads = new ReplicaReads(id, world, this.#random);
    this.#timers = new SimTimers(simulation);
    this.disk = new SimDisk(simulation, { maxSyncMs: settings.maxSyncMs });
    this.tickMs = TICK_MS * (1 + (settings.driftPercent / 100) * (2 * this.#random.next() - 1));
    this.#rule = settings.quorum === "mixed" ? this.#random.pick<QuorumRule>(["weighted", "majority"]) : settings.quorum === "majority" ? "majority" : "weighted";
    // Replicas with and without it get on.
    this.#quiescence = settings.quiescence && this.#random.chance(0.8);
    const bootstrap = this.#isFounder ? { voters: settings.bootstrap, outgoing: [], learners: [] } : undefined;
    this.witness = new ReplicaWitness(id, bootstrap, world.recorder, world.checker);
  }

  /** The process runs, though it may still read its disk. */
  isRunning = false;

  get isUp(): boolean {
    return this.core !== undefined;
  }

  get isPaused(): boolean {
    return this.#paused;
  }

  get #isFounder(): boolean {
    return this.#world.settings.bootstrap.includes(this.id);
  }

  start(): void {
    const life = ++this.#life;
    this.isRunning = true;
    this.#guarded(life, this.#start(life));
  }

  async #start(life: number): Promise<void> {
    const { settings, network, recorder, history } = this.#world;
    const disk = this.disk.mount();
    const { wal, groups, tornBytes } = await WriteAheadLog.open(disk, { segmentBytes: settings.segmentBytes });
    const snapshots = await SnapshotStore.open(disk);
    const group = groups.get(GROUP);
    let registers: Registers = new Map();
    if (group?.snapshot !== undefined) {
      // The log names the snapshot that counts; its file is there because older files go only after the log's mark is durable.
      const snapshot = await snapshots.read(GROUP, group.snapshot.index);
      const chunks: Uint8Array[] = [];
      for await (const chunk of snapshot.chunks()) chunks.push(chunk);
      registers = decodeRegisters(Buffer.concat(chunks));
    }
    if (life !== this.#life) return;
    if (tornBytes > 0) recorder.sometimes("a torn write was cut off");
    this.witness.recovered(group ?? { hardState: { term: 0, vote: 0, commit: 0 }, entries: [] });
    this.#log = new RaftLogWriter(wal, this.#timers);
    this.#snapshots = snapshots;
    this.applied = group?.snapshot?.index ?? 0;
    this.registers = registers;
    history.checkState(this.id, registers, this.applied);
    this.#snapshotIndex = this.applied;
    this.core = new RaftCore({
      groupId: GROUP, nodeId: this.id, electionTicks: ELECTION_TICKS, heartbeatTicks: 2, quorum: this.#rule,
      checkQuorum: settings.checkQuorum, leaseReads: settings.leaseReads, maxMessageBytes: settings.maxMessageBytes,
      maxInflightMessages: settings.maxInflightMessages, maxInflightBytes: 4096, maxUncommittedBytes: 4096, maxPendingReads: READ_CONTEXTS,
      quiescence: this.#quiescence,
      ...(this.#isFounder ? { voters: settings.bootstrap } : { voters: [], joining: true }),
      random: () => this.#random.next(),
      ...(group === undefined ? {} : { restored: { ...group, applied: this.applied } }),
    });
    recorder.note("started", this.id, this.core.term, this.core.lastIndex);
    const others = Array.from({ length: settings.nodes }, (_, n) => n + 1).filter((id) => id !== this.id);
    this.#beats = settings.quiescence ? new NodeBeats(others, ELECTION_TICKS, (peer) => network.send(this.id, peer, { kind: "beat" })) : undefined;
    network.attach(this.id, (from, packet) => {
      this.#do(life, () => this.#receive(from, packet));
    });
    this.#scheduleTick(life);
  }

  /** The power is cut (what was not synced may be lost), or the process killed (it is not). */
  stop(powerCut: boolean): void {
    this.#life++;
    this.isRunning = false;
    this.core = undefined;
    this.#timers.cancelAll();
    this.#world.network.detach(this.id);
    if (powerCut) this.disk.crash();
    else this.disk.kill();
    this.#world.checker.restarted(this.id);
    this.#log = undefined;
    this.#unsent = [];
    this.#reads.clear();
    this.#proposed.clear();
    this.#snapshotting = false;
    this.#received = undefined;
    this.#paused = false;
    this.#missedTicks = 0;
    this.#inbox = [];
    this.disk.heldUntilMs = 0;
  }

  /** The process stands still: what reaches it waits. */
  pause(ms: number): void {
    const life = this.#life;
    this.#paused = true;
    const { simulation } = this.#world;
    this.disk.heldUntilMs = Math.max(this.disk.heldUntilMs, simulation.nowMs + ms);
    simulation.after(ms, () => {
      if (life === this.#life) this.resume();
    });
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    const life = this.#life;
    // First of all the clock: who was away must know for how long before it answers anybody.
    const missed = Math.min(this.#missedTicks, MISSED_TICKS_MAX);
    this.#missedTicks = 0;
    this.#do(life, () => this.core?.missedTicks(missed));
    const inbox = this.#inbox;
    this.#inbox = [];
    for (const work of inbox) this.#do(life, work);
  }

  write(key: number, value: number): void {
    const { history, settings } = this.#world;
    if (this.core === undefined) return;
    const call = history.beginWrite(this.id, key, value);
    this.#do(this.#life, () => {
      const result = this.core?.propose(encodeWrite(key, value, settings.valueBytes));
      if (result?.ok === true) this.#proposed.set(result.index, { term: result.term, call });
      else history.refusedWrite(call);
    });
  }

  read(key: number): void {
    const call = this.#world.history.beginRead(this.id, key);
    this.call((core) => this.#reads.begin(core, call));
  }

  /** Any call of the core, with what follows from it. */
  call(work: (core: RaftCore) => void): void {
    this.#do(this.#life, () => {
      if (this.core !== undefined) work(this.core);
    });
  }

  /** Everything that happens to the process goes through here: later while it is paused, never after its life. */
  #do(life: number, work: () => void): void {
    if (life !== this.#life || this.core === undefined) return;
    if (this.#paused) {
      this.#inbox.push(work);
      return;
    }
    try {
      work();
      this.#pump();
    } catch (error) {
      this.#broken(error);
    }
  }

  /** Asynchronous work of the process. A failure of its disk ends the process; a supervisor starts it again. */
  #guarded(life: number, work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (life === this.#life) this.#broken(error);
    });
  }

  #broken(error: unknown): void {
    const cause = error instanceof Error && error.cause instanceof DiskError ? error.cause : error;
    if (cause instanceof DiskError && (cause.code === "EIO" || cause.code === "ENOSPC")) {
      this.#world.recorder.sometimes("a process ended because its disk failed");
      this.stop(false);
      this.#world.simulation.after(this.#random.between(1, 200), () => {
        if (!this.isRunning && this.#world.mayRun(this)) this.start();
      });
      return;
    }
    const { name, message } = error instanceof Error ? error : new Error(String(error));
    this.#world.checker.fail(name, `${this.id}: ${message}`);
  }

  #scheduleTick(life: number): void {
    this.#timers.after(this.tickMs, () => {
      if (this.#paused) this.#missedTicks++;
      else this.#do(life, () => this.#tick());
      if (life === this.#life) this.#scheduleTick(life);
    });
  }

  #tick(): void {
    const core = this.core!;
    this.#beats?.tick(core);
    core.tick();
    if (core.isQuiescent) this.#world.recorder.sometimes("a replica slept");
  }

  #pump(): void {
    const { core } = this;
    if (core === undefined) return;
    while (core.hasReady()) this.#process(core, core.ready());
    this.#world.checker.observe(this.witness, core);
    if (this.applied - this.#snapshotIndex >= this.#world.settings.snapshotEvery && !this.#snapshotting) this.#guarded(this.#life, this.#takeSnapshot(core));
  }

  #process(core: RaftCore, ready: Ready): void {
    const { recorder, checker, history } = this.#world;
    for (const message of ready.messages) this.#send(message);
    if (ready.mustSync) {
      const { hardState, snapshot, entries } = ready;
      this.#persist({ groupId: GROUP, hardState, snapshot, entries }, () => {
        core.persisted(ready.sequence);
        if (snapshot !== undefined) this.#guarded(this.#life, this.#snapshots!.removeOlder(GROUP, snapshot.index));
        this.#sendDurable(ready.sequence);
      });
    }
    if (ready.messagesAfterPersist.length > 0) this.#unsent.push({ sequence: ready.sequence, messages: ready.messagesAfterPersist });
    if (!this.witness.isWriting) this.#sendDurable(ready.sequence);
    if (ready.snapshot !== undefined) {
      if (this.#received?.meta.index !== ready.snapshot.index) return checker.fail("snapshots", `${this.id} installs a snapshot that it has not received`);
      this.applied = ready.snapshot.index;
      this.registers = this.#received.registers;
      this.#snapshotIndex = ready.snapshot.index;
      history.checkState(this.id, this.registers, this.applied);
      recorder.sometimes("a snapshot was installed");
      recorder.note("installed", this.id, this.applied);
    }
    for (const entry of ready.committed) this.#apply(entry);
    core.applied(this.applied);
    this.#reads.take(ready, core.role);
    this.#serveReads();
  }

  #persist(update: GroupUpdate, then: () => void): void {
    this.witness.hand(update, this.core);
    const life = this.#life;
    this.#guarded(life, this.#log!.append(update).then(() => {
      if (life !== this.#life) return;
      this.witness.stored();
      this.#do(life, then);
    }));
  }

  #apply(entry: LogEntry): void {
    const { recorder, checker, history } = this.#world;
    const isFirst = checker.appliedEntry(this.id, entry, this.applied);
    this.applied = entry.index;
    recorder.note("applied", this.id, entry.index, entry.term);
    if (entry.kind !== EntryKind.COMMAND) return;
    const { key, value } = applyWrite(this.registers, entry.data, entry.index);
    if (isFirst) history.applied(key, value, entry.index);
    const proposed = this.#proposed.get(entry.index);
    this.#proposed.delete(entry.index);
    if (proposed?.term !== entry.term) return;
    history.acknowledgedWrite(this.id, proposed.call, entry.index);
    this.#world.acknowledged(this, key);
  }

  #serveReads(): void {
    this.#reads.serve(this.registers, this.applied, this.core?.role);
  }

  #sendDurable(sequence: number): void {
    while (this.#unsent.length > 0 && this.#unsent[0]!.sequence <= sequence) for (const message of this.#unsent.shift()!.messages) this.#send(message);
  }

  #send(message: RaftMessage): void {
    const { recorder, checker, network } = this.#world;
    checker.sent(this.witness, message);
    recorder.note("sends", message.type, message.from, message.to, message.term, message.logIndex, message.reject ? "refuses" : "", message.entries.length);
    if (message.type === RaftMessageType.SNAPSHOT) this.#guarded(this.#life, this.#sendSnapshot(message));
    else network.send(this.id, message.to, { kind: "raft", message });
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
      if (!(error instanceof DiskError && error.code === "ENOENT") || (life === this.#life && this.#snapshotIndex <= message.logIndex)) throw error;
      this.#world.recorder.sometimes("a snapshot was gone when it was to be sent");
    }
    if (life !== this.#life) return;
    if (meta !== undefined) this.#world.network.send(this.id, message.to, { kind: "snapshot", message, meta, content: Buffer.concat(chunks) });
    this.#timers.after(meta === undefined ? 1 : SNAPSHOT_TIMEOUT_MS, () => {
      this.#do(life, () => this.core?.reportSnapshot(message.to, false));
    });
  }

  #receive(from: number, packet: Packet): void {
    const core = this.core!;
    this.#beats?.heard(from, core);
    switch (packet.kind) {
      case "beat":
        return;
      case "raft":
        return core.step(packet.message);
      case "snapshot_done":
        return core.reportSnapshot(from, true);
      case "snapshot":
        return this.#guarded(this.#life, this.#receiveSnapshot(core, packet.message, packet.meta, packet.content));
      case "read_index":
        return this.#reads.askFor(core, from, packet.number);
      case "read_at":
        this.#reads.answered(packet.number, packet.index);
        return this.#serveReads();
    }
  }

  async #receiveSnapshot(core: RaftCore, message: RaftMessage, meta: SnapshotMeta, content: Uint8Array): Promise<void> {
    const life = this.#life;
    if (meta.index <= core.commitIndex) {
      // Not needed, but the leader wants to hear so: else it sends another one.
      this.#world.recorder.sometimes("a snapshot was not needed");
      core.stepSnapshot(meta, message);
      return;
    }
    if (this.#snapshotting) return;
    this.#snapshotting = true;
    const written = await this.#storeSnapshot(meta, content, meta);
    if (life !== this.#life) return;
    this.#snapshotting = false;
    if (written === undefined) return;
    this.#do(life, () => {
      const registers = decodeRegisters(content);
      this.#received = { meta, registers };
      core.stepSnapshot(meta, message);
      this.#world.network.send(this.id, message.from, { kind: "snapshot_done", index: meta.index });
    });
  }

  /** Undefined where the disk is full: later there is another one. */
  async #storeSnapshot(heading: Omit<SnapshotMeta, "size" | "crc32c">, content: Uint8Array, expected?: SnapshotMeta): Promise<SnapshotMeta | undefined> {
    try {
      const writer = await this.#snapshots!.create(heading);
      await writer.write(content);
      return await writer.finish(expected);
    } catch (error) {
      if (!(error instanceof DiskError && error.code === "ENOSPC")) throw error;
      this.#world.recorder.sometimes("a snapshot found the disk full");
      await new Promise<void>((resolve) => {
        this.#timers.after(FULL_DISK_MS, resolve);
      });
      return undefined;
    }
  }

  async #takeSnapshot(core: RaftCore): Promise<void> {
    const life = this.#life;
    const index = this.applied;
    const configuration = core.snapshotConfiguration(index);
    // In the middle of a change: a few entries further on it is over.
    if (configuration === undefined) return;
    this.#snapshotting = true;
    const term = core.termOf(index)!;
    const meta = await this.#storeSnapshot({ groupId: GROUP, index, term, voters: [...configuration.voters], learners: [...configuration.learners] }, encodeRegisters(this.registers));
    if (life !== this.#life) return;
    // A snapshot from the leader may have overtaken this one.
    if (meta !== undefined && index > this.#snapshotIndex) {
      await new Promise<void>((resolve) => this.#persist({ groupId: GROUP, snapshot: meta }, resolve));
      if (life !== this.#life) return;
      this.#snapshotIndex = Math.max(index, this.#snapshotIndex);
      // Some entries stay for followers that are a little behind.
      const through = Math.max(0, index - this.#random.between(0, this.#world.settings.trailing));
      core.compact(through, meta);
      await this.#log!.compact(GROUP, through);
      if (life !== this.#life) return;
      await this.#snapshots!.removeOlder(GROUP, this.#snapshotIndex);
      if (life !== this.#life) return;
    }
    this.#snapshotting = false;
    this.#do(life, () => undefined);
  }
}
