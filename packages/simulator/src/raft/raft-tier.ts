import { isJoint, isMember } from "@statemesh/raft";
import type { Configuration } from "@statemesh/raft";
import { Recorder } from "../recorder.ts";
import { SimNetwork } from "../sim-network.ts";
import type { SimRandom } from "../sim-random.ts";
import { Simulation } from "../simulation.ts";
import type { Fault, Outcome, PlainRecord, Plan, RunOptions, Tier } from "../tier.ts";
import { surelyDecides } from "./quorum-oracle.ts";
import { RaftChecker } from "./raft-checker.ts";
import { ELECTION_TICKS, RaftNode, TICK_MS } from "./raft-node.ts";
import type { Packet, RaftWorld } from "./raft-node.ts";
import { drawPlan } from "./raft-plan.ts";
import { RAFT_FAULTS } from "./raft-settings.ts";
import type { RaftSettings } from "./raft-settings.ts";
import { RegisterHistory } from "./register-history.ts";

/** An election timeout is at most this many ticks. A healed group must commit within ten of them. */
const PROGRESS_TICKS = 10 * 2 * ELECTION_TICKS;
/** Healed, it must agree within this. */
const CONVERGENCE_MS = 30_000;
/** Events of a run, at most: a tenth of it is much. Messages that bring forth each other go on for ever in no time. */
const EVENTS_MAX = 500_000;
/** What a packet weighs beside its entries and content, bytes. */
const PACKET_BYTES = 40;

/** One Raft group of the production core over the production log and snapshot files, under every fault that a node, disk, clock or network has. */
export const raftTier: Tier<RaftSettings> = {
  name: "raft",
  faultKinds: RAFT_FAULTS,
  sometimes: [
    "a leader stepped down", "a term passed without a commit", "a read was aborted", "a follower answered a read", "conflicting entries were cut off",
    "a snapshot was installed", "a snapshot was not needed", "a snapshot found the disk full",
    "a configuration was applied", "a joint configuration was applied", "a joint configuration decided", "half of the voters decided",
    "a torn write was cut off", "a write under way was lost in a crash", "a write under way survived a crash", "a process ended because its disk failed",
    "a replica slept", "a node crashed while it started", "two nodes led at once", "only a core came back",
  ],
  plan: (seed: number, hints?: PlainRecord) => drawPlan(seed, hints),
  run: (seed: number, plan: Plan<RaftSettings>, options?: RunOptions) => new RaftRun(seed, plan, options).run(),
};

class RaftRun implements RaftWorld {
  readonly simulation: Simulation;
  readonly network: SimNetwork<Packet>;
  readonly recorder: Recorder;
  readonly checker: RaftChecker;
  readonly history: RegisterHistory;
  readonly settings: RaftSettings;
  readonly #plan: Plan<RaftSettings>;
  readonly #random: SimRandom;
  readonly #nodes: RaftNode[];
  /** Packets above this many bytes vanish. */
  #bytesMax = Infinity;
  #value = 0;
  #calm = false;
  /** Whom clients call. */
  #serving: RaftNode[];

  constructor(seed: number, plan: Plan<RaftSettings>, options: RunOptions = {}) {
    this.#plan = plan;
    this.settings = plan.settings;
    this.simulation = new Simulation(seed);
    this.recorder = new Recorder(this.simulation, options);
    const { minDelayMs, maxDelayMs, loss, duplication, straggling, maxStraggleMs, ordered, bootstrap, nodes } = plan.settings;
    this.network = new SimNetwork<Packet>(this.simulation, { minDelayMs, maxDelayMs, loss, duplication, straggling, maxStraggleMs, ordered });
    this.network.passes = (packet) => bytesOf(packet) <= this.#bytesMax;
    this.#random = this.simulation.random.fork();
    this.checker = new RaftChecker(this.recorder, { voters: bootstrap, outgoing: [], learners: [] });
    this.history = new RegisterHistory(this.recorder, () => this.simulation.nowMs);
    this.#nodes = Array.from({ length: nodes }, (_, n) => new RaftNode(n + 1, this));
    this.#serving = this.#nodes;
    for (const node of this.#nodes) this.checker.watch(node.witness);
  }

  async run(): Promise<Outcome> {
    for (const node of this.#nodes) node.start();
    for (const fault of this.#plan.faults) this.simulation.after(fault.atMs, () => this.#strike(fault));
    this.#request();
    try {
      await this.#until(() => this.simulation.nowMs >= this.settings.troubleMs, this.settings.troubleMs);
      if (!this.recorder.isOver) await this.#recover();
    } catch (error) {
      // Thrown where an event has no node to blame: a defect of the simulator, to be seen as such.
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      this.recorder.violation("simulator", `${name}: ${message}`);
    }
    return this.recorder.outcome();
  }

  /** Whoever else takes itself for the leader at that moment is asked at once: an answer must show what was just acknowledged. */
  acknowledged(node: RaftNode, key: number): void {
    for (const other of this.#nodes) {
      if (other === node || other.core?.role !== "leader") continue;
      this.recorder.sometimes("two nodes led at once");
      // Not within this step: the other's answer comes after the acknowledgement.
      this.simulation.after(0, () => other.read(key));
    }
  }

  mayRun(node: RaftNode): boolean {
    return this.#serving.includes(node);
  }

  async #until(holds: () => boolean, limitMs: number): Promise<boolean> {
    const reached = await this.simulation.runUntilHolds(() => {
      if (this.simulation.eventsRun > EVENTS_MAX) this.recorder.violation("liveness", `more than ${EVENTS_MAX} events`);
      return this.recorder.isOver || holds();
    }, limitMs);
    return reached && !this.recorder.isOver;
  }

  #request(): void {
    const { keys, requestEveryMs, restMs, readShare } = this.settings;
    // Most clients know who leads, or led.
    const node = this.#random.chance(0.6) ? (this.#leader() ?? this.#random.pick(this.#serving)) : this.#random.pick(this.#serving);
    const key = this.#random.between(1, keys);
    if (this.#random.chance(readShare)) node.read(key);
    else for (let n = this.#random.between(1, 3); n > 0; n--) node.write(key, ++this.#value);
    const rests = restMs > 0 && this.#random.chance(0.05);
    this.simulation.after(rests ? restMs : this.#random.between(1, requestEveryMs), () => this.#request());
  }

  // --- Faults ---

  #strike({ kind, args }: Fault): void {
    if (this.#calm || this.recorder.isOver) return;
    const target = this.#target(args);
    const ids = this.#nodes.map(({ id }) => id);
    if (!this.#inflict(kind, args, target, ids)) return;
    this.recorder.fault(kind, target.id);
  }

  /** False where the fault finds nothing to hit. */
  #inflict(kind: string, args: PlainRecord, target: RaftNode, ids: readonly number[]): boolean {
    const { network, simulation } = this;
    const side = list(args["side"]);
    const ms = number(args["ms"]);
    switch (kind) {
      case "partition":
        network.partition([...side], ids.filter((id) => !side.includes(id)));
        return true;
      case "isolate":
        network.partition([target.id], ids.filter((id) => id !== target.id));
        return true;
      case "one way":
        network.block(number(args["from"]), number(args["to"]));
        return true;
      case "mute":
        for (const id of ids) if (id !== target.id) network.block(target.id, id);
        return true;
      case "late":
        network.delay(target.id, ms);
        return true;
      case "bridge":
        network.heal();
        for (const a of side) for (const b of ids) if (!side.includes(b) && a !== target.id && b !== target.id) for (const [from, to] of [[a, b], [b, a]] as const) network.block(from, to);
        return true;
      case "heal":
        network.heal();
        return true;
      case "weather":
        network.weather = { ...network.weather, loss: number(args["loss"]), maxDelayMs: number(args["maxDelayMs"]), straggling: number(args["straggling"]) };
        return true;
      case "large messages lost":
        this.#bytesMax = number(args["bytes"]);
        simulation.after(ms, () => {
          this.#bytesMax = Infinity;
        });
        return true;
      case "crash":
        return this.#crash(target, args["powerCut"] === true, number(args["downMs"]));
      case "crash of all":
        return this.#nodes.map((node) => this.#crash(node, args["powerCut"] === true, number(args["downMs"]) + node.id)).includes(true);
      case "pause":
        if (!target.isUp || target.isPaused) return false;
        target.pause(ms);
        return true;
      case "clock rate":
        target.tickMs = TICK_MS * (1 + number(args["percent"]) / 100);
        return true;
      case "transfer":
        this.#leader()?.call((core) => core.transferLeadership(number(args["to"])));
        return this.#leader() !== undefined;
      case "campaign":
        if (!target.isUp || target.core?.role === "leader") return false;
        target.call((replica) => replica.campaign());
        return true;
      case "slow disk":
        for (const { disk } of args["at"] === "all" ? this.#nodes : [target]) disk.behaviour.maxSyncMs = number(args["maxSyncMs"]);
        return true;
      case "stuck disk":
        target.disk.heldUntilMs = Math.max(target.disk.heldUntilMs, simulation.nowMs + ms);
        return true;
      case "disk full":
        target.disk.behaviour.capacityBytes = target.disk.usedBytes + 30;
        simulation.after(ms, () => {
          target.disk.behaviour.capacityBytes = Infinity;
        });
        return true;
      case "sync fails":
        if (!target.isUp) return false;
        target.disk.behaviour.fault = (operation) => {
          if (operation !== "sync") return undefined;
          target.disk.behaviour.fault = () => undefined;
          return "EIO";
        };
        return true;
      case "unreachable":
        this.#leader()?.call((core) => core.reportUnreachable(number(args["node"])));
        return this.#leader() !== undefined;
      case "reconfigure": {
        let began = false;
        this.#leader()?.call((core) => {
          began = core.proposeConfiguration({ voters: list(args["voters"]), learners: list(args["learners"]) }).ok;
        });
        return began;
      }
      default:
        throw new Error(`no fault is called ${kind}`);
    }
  }

  #leader(): RaftNode | undefined {
    // Of several, the one that knows least: what it begins must not hold.
    const leaders = this.#nodes.filter(({ core }) => core?.role === "leader");
    return leaders.length > 1 && this.#random.chance(0.5) ? leaders.at(-1) : leaders[0];
  }

  #target(args: PlainRecord): RaftNode {
    const node = this.#nodes[number(args["node"]) - 1] ?? this.#nodes[0]!;
    if (args["at"] === "leader") return this.#leader() ?? node;
    if (args["at"] === "writer") return this.#nodes.find((candidate) => candidate.witness.isWriting && candidate.core?.role !== "leader") ?? node;
    return node;
  }

  #crash(node: RaftNode, powerCut: boolean, downMs: number): boolean {
    if (!node.isRunning) return false;
    if (!node.isUp) this.recorder.sometimes("a node crashed while it started");
    node.stop(powerCut);
    this.simulation.after(downMs, () => {
      if (!this.#calm && !node.isRunning) node.start();
    });
    return true;
  }

  // --- After the faults ---

  async #recover(): Promise<void> {
    const { network, checker, settings } = this;
    this.#calm = true;
    network.heal();
    network.weather = { ...network.weather, loss: 0, straggling: 0, maxDelayMs: 5 };
    this.#bytesMax = Infinity;
    for (const node of this.#nodes) {
      const { behaviour } = node.disk;
      behaviour.maxSyncMs = 1;
      behaviour.capacityBytes = Infinity;
      behaviour.fault = () => undefined;
      node.disk.heldUntilMs = 0;
      // Before anybody is left out: what waited for a node that stood still may be a change of the members.
      node.resume();
    }
    const core = this.#pickCore();
    this.#serving = core;
    for (const node of this.#nodes) {
      if (!core.includes(node)) node.stop(true);
      else if (!node.isRunning) node.start();
    }
    this.recorder.note("healed", core.map(({ id }) => id).join());
    const slowest = TICK_MS * (1 + settings.driftPercent / 100);
    // What is still under way from before may arrive first.
    const within = PROGRESS_TICKS * slowest + settings.maxStraggleMs;
    const before = checker.committed;
    const commits = await this.#until(() => core.some((node) => node.applied > before), within);
    if (!commits) return this.recorder.violation("progress", `nothing is committed in ${within} ms after healing; ${this.#describe(core)}`);
    const target = checker.committed;
    const agrees = await this.#until(
      () =>
        !isJoint(checker.configuration) && checker.committed > target &&
        core.every(({ id, applied }) => !isMember(checker.configuration, id) || applied >= target) &&
        // Who is no voter any more does not lead on.
        core.every(({ id, core: replica }) => replica?.role !== "leader" || replica.configuration.voters.includes(id)),
      CONVERGENCE_MS,
    );
    if (!agrees) return this.recorder.violation("convergence", `the replicas do not agree ${CONVERGENCE_MS} ms after healing; ${this.#describe(core)}`);
    for (const node of core) this.history.checkState(node.id, node.registers, node.applied);
    this.history.checkFinal();
  }

  /** Nodes that decide whatever configuration counts: of every node the latest that it holds, and the one before. Sometimes all, sometimes no more than needed. */
  #pickCore(): RaftNode[] {
    let core = this.#nodes;
    if (!this.settings.coreOnly) return core;
    const configurations = this.#nodes.flatMap(({ witness: { handed, stable } }) =>
      [handed, stable].flatMap((log): Configuration[] => [log.configuration, log.previousConfiguration?.configuration].filter((configuration) => configuration !== undefined)),
    );
    configurations.push(this.checker.configuration);
    for (const node of this.#nodes) {
      if (!this.#random.chance(0.7)) continue;
      const rest = core.filter((other) => other !== node);
      if (configurations.every((configuration) => surelyDecides(configuration, (voter) => rest.some(({ id }) => id === voter)))) core = rest;
    }
    if (core.length === this.#nodes.length) return core;
    this.recorder.sometimes("only a core came back");
    // What is under way may bring a configuration that is in no log any more, and needs who is left out.
    this.network.drop();
    return core;
  }

  #describe(core: readonly RaftNode[]): string {
    return `configured ${JSON.stringify(this.checker.configuration)}: ${core
      .map(({ id, applied, core: replica }) => (replica === undefined ? `${id} is down` : `${id} is ${replica.role} of ${replica.term} with ${applied} of ${replica.commitIndex} of ${replica.lastIndex} by ${JSON.stringify(replica.configuration)}`))
      .join("; ")}`;
  }
}

function bytesOf(packet: Packet): number {
  if (packet.kind === "snapshot") return PACKET_BYTES + packet.content.length;
  if (packet.kind !== "raft") return PACKET_BYTES;
  return packet.message.entries.reduce((bytes, entry) => bytes + entry.data.length, PACKET_BYTES);
}

function number(value: PlainRecord[string] | undefined): number {
  return typeof value === "number" ? value : 0;
}

function list(value: PlainRecord[string] | undefined): readonly number[] {
  return Array.isArray(value) ? (value as readonly number[]) : [];
}
