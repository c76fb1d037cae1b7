// A machine with a node on it: disks, clocks, a process that comes and goes.
import { type IdentifyResponse, MeshError } from "@statemesh/contract";
import { type NodePorts, NodeRuntime, type PeerTransport, type RuntimeOptions, WaitingRoom, claimFolder } from "@statemesh/node";
import { type Log, VERSIONS, type VersionRange } from "@statemesh/mesh";
import type { DiskBehaviour } from "../sim-disk.ts";
import { SimDisk } from "../sim-disk.ts";
import { SimClock, SimTimers } from "../sim-clock.ts";
import type { Recorder } from "../recorder.ts";
import type { Simulation } from "../simulation.ts";
import { ProcessGate } from "./process-gate.ts";
import type { SimWire } from "./sim-wire.ts";

export interface MachineEvents {
  /** After every step of the node. */
  stepped(machine: SimMachine, runtime: NodeRuntime): void;
  /** The node is up, or its process ended. */
  started(machine: SimMachine, runtime: NodeRuntime): void;
  ended(machine: SimMachine, runtime: NodeRuntime | undefined): void;
  /** The node stopped by itself, or did not start. */
  failed(machine: SimMachine, error: unknown): void;
  /** What the node told its operators. */
  said(machine: SimMachine, message: string): void;
}

export interface MachineParts {
  readonly simulation: Simulation;
  readonly recorder: Recorder;
  readonly wire: SimWire;
  /** Machines of the nodes that found the cluster. */
  readonly founders: readonly number[];
  readonly options: Omit<RuntimeOptions, "incarnation" | "nodeId" | "versions">;
  readonly disk: Partial<DiskBehaviour>;
  readonly arbiters: NodePorts["arbiters"];
  readonly store: NodePorts["store"];
  readonly events: MachineEvents;
  /** How long the supervisor waits before it starts a process again, milliseconds. */
  readonly restartMs: number;
}

export class SimMachine {
  readonly id: number;
  readonly clock: SimClock;
  readonly #parts: MachineParts;
  #disks: { folder: SimDisk; wal: SimDisk; snapshots: SimDisk };
  #gate: ProcessGate;
  #timers: SimTimers;
  #runtime: NodeRuntime | undefined;
  /** Counts processes: what an earlier one began never comes back. */
  #life = 0;
  /** The disk failed, or was damaged, by a fault: the node may stop for it. */
  diskSuspect = false;
  /** What its build reads and says, from its next start on. */
  versions: VersionRange = VERSIONS;
  /** The node waits to be taken into the cluster, instead of founding it. */
  #joins: boolean;
  /** The node that its folder is, as far as that is known; 0: nobody yet. */
  #nodeId: number;
  #room: WaitingRoom | undefined;
  /** A supervisor starts it again when it ends. */
  supervised = true;

  constructor(id: number, parts: MachineParts) {
    this.id = id;
    this.#parts = parts;
    this.#joins = !parts.founders.includes(id);
    this.#nodeId = this.#joins ? 0 : id;
    this.clock = new SimClock(parts.simulation);
    this.#gate = new ProcessGate(parts.simulation);
    this.#timers = new SimTimers(parts.simulation);
    this.#disks = this.#newDisks();
  }

  #newDisks(): { folder: SimDisk; wal: SimDisk; snapshots: SimDisk } {
    const disk = (): SimDisk => new SimDisk(this.#parts.simulation, { ...this.#parts.disk, deliver: (settle) => this.#gate.enter(settle) });
    return { folder: disk(), wal: disk(), snapshots: disk() };
  }

  get disks(): Readonly<{ folder: SimDisk; wal: SimDisk; snapshots: SimDisk }> {
    return this.#disks;
  }

  get runtime(): NodeRuntime | undefined {
    return this.#runtime;
  }

  /** Where the node on it is reached. */
  get address(): string {
    return `node-${this.id}`;
  }

  get nodeId(): number {
    return this.#nodeId;
  }

  /** Who answers here; undefined while nobody does. */
  identify(): IdentifyResponse | undefined {
    return this.#runtime?.identify() ?? this.#room?.identify();
  }

  get gate(): ProcessGate {
    return this.#gate;
  }

  get timers(): SimTimers {
    return this.#timers;
  }

  /** A process runs, or is starting. */
  get isUp(): boolean {
    return this.#life % 2 === 1;
  }

  start(): void {
    if (this.isUp) return;
    const life = ++this.#life;
    const { simulation, wire, events, recorder } = this.#parts;
    const gate = new ProcessGate(simulation);
    this.#gate = gate;
    this.#timers = new SimTimers(simulation, (run) => gate.enter(run));
    let runtime: NodeRuntime | undefined;
    const isAlive = (): boolean => life === this.#life;
    const say = (message: string): void => {
      if (isAlive()) events.said(this, message);
    };
    const log: Log = { debug: () => undefined, info: say, warn: say, error: say };
    const ports: Omit<NodePorts, "peers"> = {
      clock: this.clock,
      timers: this.#timers,
      random: simulation.random.fork(),
      log,
      disks: { folder: this.#disks.folder.mount(), wal: this.#disks.wal.mount(), snapshots: this.#disks.snapshots.mount() },
      defer: (task) => {
        simulation.after(0, () => {
          gate.enter(() => {
            if (!isAlive()) return;
            task();
            if (runtime !== undefined && isAlive()) events.stepped(this, runtime);
          });
        });
      },
      // Addresses are `node-ID` here.
      connect: (address) => wire.transport(this.id, Number(address.split("-")[1]), () => gate),
      arbiters: this.#parts.arbiters,
      store: this.#parts.store,
      placed: () => {
        if (isAlive()) this.kill();
      },
      fail: (error) => {
        if (!isAlive()) return;
        events.failed(this, error);
        this.kill();
      },
    };
    // Seconds of virtual time are no start number: two starts may fall into one.
    this.#open(ports, (life + 1) / 2).then(
      (opened) => {
        if (!isAlive()) return;
        if (opened instanceof WaitingRoom) return this.#wait(opened, gate);
        runtime = opened;
        this.#nodeId = opened.mesh.nodeId;
        this.#runtime = opened;
        events.started(this, opened);
        wire.listen(this.id, { gate, stream: () => opened.stream(), receiveSnapshot: async (parts) => opened.receiveSnapshot(parts), identify: () => opened.identify() });
        opened.start();
        recorder.note("up", this.id);
      },
      (error: unknown) => {
        if (!isAlive()) return;
        events.failed(this, error);
        this.kill();
      },
    );
  }

  /** As a process begins: by what stands in its folder, it is a node, or waits to become one. */
  async #open(ports: Omit<NodePorts, "peers">, incarnation: number): Promise<NodeRuntime | WaitingRoom> {
    const { options, wire, founders } = this.#parts;
    const { clusterId, groups, decisionWindow, leaseReads } = options;
    const { versions } = this;
    const gate = this.#gate;
    const own = this.#joins ? { nodeId: 0, founders: [] } : { nodeId: this.id, founders };
    const record = await claimFolder(ports.disks.folder, { clusterId, nodeId: own.nodeId, groups, decisionWindow }, own.founders, ports.random);
    if (record.nodeId === 0) return new WaitingRoom(ports.disks.folder, record, { leaseReads, versions }, { placed: () => ports.placed?.(0), failed: (error) => ports.fail(error) });
    const named = own.founders.filter((peer) => peer !== record.nodeId);
    const peers = new Map(named.map((peer): [number, PeerTransport] => [peer, wire.transport(this.id, peer, () => gate)]));
    return NodeRuntime.open({ ...options, nodeId: record.nodeId, versions, incarnation }, { ...ports, peers });
  }

  #wait(room: WaitingRoom, gate: ProcessGate): void {
    this.#room = room;
    const refuse = async (): Promise<void> => Promise.reject(new MeshError("PEER_REFUSED", "this node has no place in the cluster yet"));
    this.#parts.wire.listen(this.id, { gate, stream: () => room.stream(), receiveSnapshot: refuse, identify: () => room.identify() });
    this.#parts.recorder.note("waits", this.id);
  }

  #end(silently: boolean): void {
    if (!this.isUp) return;
    this.#life++;
    this.#gate.close();
    this.#timers.cancelAll();
    const runtime = this.#runtime;
    this.#runtime = undefined;
    this.#room = undefined;
    this.#parts.wire.leave(this.id, silently);
    this.#parts.events.ended(this, runtime);
    this.#parts.recorder.note("down", this.id);
    this.#parts.simulation.after(this.#parts.restartMs, () => {
      if (this.supervised) this.start();
    });
  }

  /** The process ends: what it wrote is in the page cache still. */
  kill(): void {
    if (!this.isUp) return;
    for (const disk of Object.values(this.#disks)) disk.kill();
    this.#end(false);
  }

  /** The power is cut: of what was not synced some is gone. */
  cutPower(): void {
    if (!this.isUp) return;
    for (const disk of Object.values(this.#disks)) disk.crash();
    this.#end(true);
  }

  /** The data is gone: the node comes back empty, started as before. */
  reformat(): void {
    this.kill();
    this.#disks = this.#newDisks();
    this.#nodeId = this.#joins ? 0 : this.id;
    this.diskSuspect = false;
  }

  /** Set up anew, as one that waits to be taken in. */
  reinstall(): void {
    this.#joins = true;
    this.reformat();
  }

  /** The process stands still for a while. */
  pause(durationMs: number): void {
    const gate = this.#gate;
    if (!this.isUp || gate.isPaused) return;
    gate.pause();
    this.#parts.simulation.after(durationMs, () => gate.resume());
  }
}
