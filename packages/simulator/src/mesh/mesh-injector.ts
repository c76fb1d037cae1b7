// Makes the faults of a plan happen, and takes all of them back.
import { CALM_SQL } from "../store/sim-sql.ts";
import { VERSIONS } from "@statemesh/mesh";
import type { Fault, PlainRecord } from "../tier.ts";
import { openIdleStreams } from "./idle-streams.ts";
import type { ArbiterMood } from "./sim-arbiters.ts";
import { injectShardFault } from "./shard-faults.ts";
import type { SimMachine } from "./sim-machine.ts";
import { type MeshWorld, OLD_VERSIONS } from "./mesh-world.ts";
import type { PathWeather } from "./sim-wire.ts";
import { injectStoreFault } from "./store-faults.ts";

/** How far ahead of its own clock a node takes eventual values of others. */
const PEER_OFFSET_MS = 60_000;

/** What a write that goes astray takes with it. */
const SECTOR_BYTES = 512;

/** As long as the administration drains a node. */
const DRAIN_MS = 60_000;

const ARBITER_MOODS: Readonly<Record<string, ArbiterMood>> = {
  "arbiter away": "away", "arbiter silent": "silent", "arbiter slow": "slow", "arbiter of another version": "other", "arbiter of another policy": "mismatched",
};

export class MeshInjector {
  readonly #world: MeshWorld;
  #healed = false;
  /** Nodes whose clocks were further ahead than peers bear. */
  readonly #ranAhead = new Set<number>();
  readonly #drained = new Set<number>();

  constructor(world: MeshWorld) {
    this.#world = world;
  }

  inject(fault: Fault): void {
    if (this.#healed) return;
    const { kind, args } = fault;
    const done = this.#network(kind, args) || this.#weather(kind, args) || this.#process(kind, args) || this.#disk(kind, args) || this.#clock(kind, args) || injectStoreFault(this.#world, kind, args, (run) => this.#later(args, run)) || this.#members(kind, args) || this.#versions(kind, args) || injectShardFault(this.#world.shards, kind, args, (ms, run) => this.#later({ ms }, run)) || this.#others(kind, args);
    if (done) this.#world.recorder.fault(kind, ...Object.values(args).map((value) => (typeof value === "object" ? value.join(",") : String(value))));
  }

  /** Everything that goes on is taken back; machines that are down start. */
  heal(): void {
    this.#healed = true;
    const { wire, machines, arbiters, store, network } = this.#world;
    for (const path of wire.paths) {
      wire.unblock(path.from, path.to);
      path.weather = this.#world.fairWeather();
    }
    for (const arbiter of arbiters) arbiter.mood = "well";
    if (store !== undefined) {
      Object.assign(store.sql.weather, CALM_SQL);
      store.weather.cut = false;
      store.weather.loss = 0;
      store.process.start();
    }
    this.#world.regionStores?.heal();
    network.cut.clear();
    for (const shard of this.#world.shards) shard.heal();
    for (const machine of machines.values()) {
      this.#healDisk(machine);
      machine.clock.rate = 1;
      machine.clock.skewMs = 0;
      // As the operators' page says: what was published through a node far ahead is taken by nobody, and goes with its process.
      if (this.#ranAhead.has(machine.id) || this.#drained.has(machine.id)) machine.kill();
      this.#upgrade(machine);
      machine.gate.resume();
      machine.supervised = true;
      machine.start();
    }
    if (this.#world.changesMembers) this.#world.operator.mend();
  }

  #healDisk({ disks }: SimMachine): void {
    for (const disk of Object.values(disks)) {
      const { behaviour } = disk;
      behaviour.fault = () => undefined;
      behaviour.capacityBytes = Infinity;
      behaviour.maxSyncMs = this.#world.settings.maxSyncMs;
      disk.heldUntilMs = 0;
    }
  }

  #later(args: PlainRecord, run: () => void): void {
    this.#world.simulation.after(numberOf(args, "ms"), () => {
      if (!this.#healed) run();
    });
  }

  #machine(args: PlainRecord): SimMachine | undefined {
    return this.#world.machines.get(numberOf(args, "node"));
  }

  /** Cuts ways for a while. A way that two faults cut opens with the first that ends: nothing depends on which. */
  #cut(ways: readonly (readonly [number, number])[], args: PlainRecord): true {
    const { wire } = this.#world;
    for (const [from, to] of ways) wire.block(from, to);
    this.#later(args, () => {
      for (const [from, to] of ways) wire.unblock(from, to);
    });
    return true;
  }

  #network(kind: string, args: PlainRecord): boolean {
    const { wire, machines, simulation } = this.#world;
    const ids = [...machines.keys()];
    const ways = (cuts: (from: number, to: number) => boolean): [number, number][] => ids.flatMap((from) => ids.filter((to) => to !== from && cuts(from, to)).map((to): [number, number] => [from, to]));
    switch (kind) {
      case "one-way cut":
        return this.#cut([[numberOf(args, "from"), numberOf(args, "to")]], args);
      case "isolate":
        return this.#cut(ways((from, to) => from === args["node"] || to === args["node"]), args);
      case "partition": {
        const side = listOf(args, "side");
        return this.#cut(ways((from, to) => side.includes(from) !== side.includes(to)), args);
      }
      case "three-way partition": {
        const sides = listOf(args, "sides");
        return this.#cut(ways((from, to) => sides[from - 1] !== sides[to - 1]), args);
      }
      case "bridge": {
        // One node reaches both sides, which do not reach each other.
        const side = listOf(args, "side");
        return this.#cut(ways((from, to) => from !== args["node"] && to !== args["node"] && side.includes(from) !== side.includes(to)), args);
      }
      case "ring":
        return this.#cut(ways((from, to) => Math.abs(from - to) !== 1 && Math.abs(from - to) !== ids.length - 1), args);
      case "flapping": {
        const [from, to] = [numberOf(args, "from"), numberOf(args, "to")];
        for (let time = 0; time < numberOf(args, "times") * 2; time++) {
          simulation.after(time * numberOf(args, "everyMs"), () => {
            if (time % 2 === 0 && !this.#healed) wire.block(from, to);
            else wire.unblock(from, to);
          });
        }
        return true;
      }
      case "reset":
        wire.reset(numberOf(args, "from"), numberOf(args, "to"), args["halfOpen"] === true);
        return true;
      default:
        return false;
    }
  }

  #weather(kind: string, args: PlainRecord): boolean {
    const { wire } = this.#world;
    const all = [...wire.paths];
    const [from, to] = [args["from"], args["to"]];
    const change = (paths: typeof all, weather: Partial<PathWeather>): true => {
      for (const path of paths) Object.assign(path.weather, weather);
      this.#later(args, () => {
        const fair = this.#world.fairWeather();
        for (const path of paths) for (const name of Object.keys(weather)) Object.assign(path.weather, { [name]: fair[name as keyof PathWeather] });
      });
      return true;
    };
    switch (kind) {
      case "lossy":
        return change(all, { loss: numberOf(args, "loss") });
      case "doubling":
        return change(all, { duplication: numberOf(args, "duplication") });
      case "straggling":
        return change(all, { meanStraggleMs: numberOf(args, "meanMs") });
      case "clogged path":
        return change(all.filter((path) => path.from === from && path.to === to), { bandwidth: numberOf(args, "bandwidth") });
      case "slow peer":
        return change(all.filter((path) => path.from === args["node"] || path.to === args["node"]), { minDelayMs: numberOf(args, "delayMs") / 2, maxDelayMs: numberOf(args, "delayMs") });
      case "large frames stuck":
        return change(all, { maxBytes: numberOf(args, "bytes") });
      default:
        return false;
    }
  }

  #process(kind: string, args: PlainRecord): boolean {
    const { machines, simulation, random } = this.#world;
    const machine = this.#machine(args);
    switch (kind) {
      case "kill":
        machine?.kill();
        return true;
      case "power cut":
        machine?.cutPower();
        return true;
      case "power cut for all":
        for (const each of machines.values()) each.cutPower();
        return true;
      case "crash loop":
        for (let time = 0; time < numberOf(args, "times"); time++) {
          simulation.after(time * numberOf(args, "everyMs"), () => {
            if (this.#healed) return;
            if (random.chance(0.5)) machine?.kill();
            else machine?.cutPower();
          });
        }
        return true;
      case "pause":
        machine?.pause(numberOf(args, "ms"));
        return true;
      case "pause of the leader":
        machines.get(this.#someLeader())?.pause(numberOf(args, "ms"));
        return true;
      case "kill of the leader":
        machines.get(this.#someLeader())?.kill();
        return true;
      case "reformat":
        if (machine === undefined || !this.#world.members.mayDamage(machine.nodeId)) return false;
        this.#setUpAnew(machine, false);
        return true;
      default:
        return false;
    }
  }

  /** A machine that was down stays so no longer: it was set up anew. */
  #setUpAnew(machine: SimMachine, joins: boolean): void {
    this.#world.reformat(machine, joins);
    this.#world.simulation.after(this.#world.settings.restartMs, () => machine.start());
  }

  #members(kind: string, args: PlainRecord): boolean {
    const { members, operator } = this.#world;
    const named = args["named"] === true;
    switch (kind) {
      case "node added": {
        const machine = this.#freeMachine();
        if (machine === undefined) return false;
        operator.add(machine, named);
        return true;
      }
      case "node removed":
      case "leader removed": {
        const machine = kind === "node removed" ? this.#machine(args) : this.#world.machines.get(this.#world.leaderOf(this.#group(args)));
        if (machine === undefined || !members.isMember(machine.nodeId) || !members.mayRemove(machine.nodeId)) return false;
        operator.remove(machine.nodeId, named);
        return true;
      }
      case "node replaced": {
        const machine = this.#machine(args);
        const by = this.#freeMachine();
        if (machine === undefined || by === undefined || !members.isMember(machine.nodeId) || !members.mayRemove(machine.nodeId)) return false;
        operator.replace(machine.nodeId, by, named);
        return true;
      }
      case "wiped node replaced": {
        const machine = this.#machine(args);
        if (machine === undefined || !members.isMember(machine.nodeId) || !members.mayDamage(machine.nodeId)) return false;
        const { nodeId } = machine;
        this.#setUpAnew(machine, false);
        operator.replace(nodeId, undefined, named);
        return true;
      }
      case "change cancelled": {
        const { running } = members.record;
        if (running === undefined) return false;
        operator.cancel(running.changeId);
        return true;
      }
      case "node drained": {
        const machine = this.#machine(args);
        if (machine?.runtime === undefined) return false;
        machine.runtime.mesh.leadership.drain(DRAIN_MS);
        // It is drained to be restarted.
        this.#drained.add(machine.id);
        this.#later(args, () => {
          this.#drained.delete(machine.id);
          machine.kill();
        });
        return true;
      }
      default:
        return false;
    }
  }

  #group(args: PlainRecord): number {
    return numberOf(args, "group") % (this.#world.settings.groups + 1);
  }

  /** A machine whose node waits for a place. Where there is none, one whose node was removed is set up anew, for the next time. */
  #freeMachine(): SimMachine | undefined {
    const { machines, members } = this.#world;
    const all = [...machines.values()];
    const removed = all.find(({ nodeId }) => members.removed.has(nodeId) && !members.lost.has(nodeId));
    const free = all.find(({ nodeId, address }) => nodeId === 0 && !members.record.members().some((member) => member.address === address));
    if (free === undefined && removed !== undefined) this.#setUpAnew(removed, true);
    return free;
  }

  #versions(kind: string, args: PlainRecord): boolean {
    const machine = this.#machine(args);
    if (machine === undefined) return false;
    switch (kind) {
      case "upgrade":
        return this.#upgrade(machine);
      case "older build":
        if (machine.versions === OLD_VERSIONS) return false;
        machine.versions = OLD_VERSIONS;
        machine.kill();
        this.#later(args, () => this.#upgrade(machine));
        return true;
      default:
        return false;
    }
  }

  /** The node comes back with the newest build. */
  #upgrade(machine: SimMachine): boolean {
    if (machine.versions === VERSIONS) return false;
    machine.versions = VERSIONS;
    machine.kill();
    return true;
  }

  #someLeader(): number {
    const { references, random } = this.#world;
    return this.#world.leaderOf(random.between(0, references.length - 1));
  }

  #disk(kind: string, args: PlainRecord): boolean {
    const machine = this.#machine(args);
    if (machine === undefined) return false;
    const { wal, snapshots } = machine.disks;
    const once = (code: string, operations: readonly string[]): true => {
      machine.diskSuspect = true;
      let armed = true;
      wal.behaviour.fault = (operation) => {
        if (!armed || !operations.includes(operation)) return undefined;
        armed = false;
        return code;
      };
      return true;
    };
    switch (kind) {
      case "disk full":
        for (const disk of [wal, snapshots]) disk.behaviour.capacityBytes = disk.usedBytes + numberOf(args, "leftBytes");
        // A start writes too, and says so where it cannot.
        machine.diskSuspect = true;
        this.#later(args, () => {
          for (const disk of [wal, snapshots]) disk.behaviour.capacityBytes = Infinity;
        });
        return true;
      case "slow disk":
        for (const disk of [wal, snapshots]) disk.behaviour.maxSyncMs = numberOf(args, "maxSyncMs");
        this.#later(args, () => {
          for (const disk of [wal, snapshots]) disk.behaviour.maxSyncMs = this.#world.settings.maxSyncMs;
        });
        return true;
      case "stuck disk":
        for (const disk of [wal, snapshots]) disk.heldUntilMs = this.#world.simulation.nowMs + numberOf(args, "ms");
        return true;
      case "sync fails":
        return once("EIO", ["sync"]);
      case "write fails":
        return once("EIO", ["append"]);
      case "read fails":
        machine.diskSuspect = true;
        for (const disk of [wal, snapshots]) disk.behaviour.fault = (operation) => (operation === "read" ? "EIO" : undefined);
        this.#later(args, () => {
          for (const disk of [wal, snapshots]) disk.behaviour.fault = () => undefined;
        });
        return true;
      case "bit rot":
      case "misdirected write":
        return this.#rot(machine, kind, args);
      case "snapshot rot":
        return this.#rotSnapshot(machine, args);
      default:
        return false;
    }
  }

  /** One bit of a log turns over, or a sector goes to another place, in what a power cut could not take; what the last write holds may be cut, so it is spared. */
  #rot(machine: SimMachine, kind: string, args: PlainRecord): boolean {
    if (!this.#world.members.mayDamage(machine.nodeId)) return false;
    const { wal } = machine.disks;
    const [name] = wal.names;
    if (name === undefined || wal.names.length < 2) return false;
    const bytes = wal.durableBytes(name);
    if (bytes === 0) return false;
    this.#world.members.damaged.add(machine.nodeId);
    const placeOf = (share: string): number => Math.floor(numberOf(args, share) * bytes);
    if (kind === "bit rot") wal.flipBit(name, placeOf("place"), numberOf(args, "bit"));
    else wal.misdirect(name, placeOf("from"), placeOf("to"), Math.min(SECTOR_BYTES, bytes - placeOf("to")));
    return true;
  }

  /** One bit of a snapshot turns over; it is read when the node starts, or when it is sent to another. */
  #rotSnapshot(machine: SimMachine, args: PlainRecord): boolean {
    if (!this.#world.members.mayDamage(machine.nodeId)) return false;
    const { snapshots } = machine.disks;
    const whole = snapshots.names.filter((name) => !name.endsWith(".tmp") && snapshots.durableBytes(name) > 0);
    const name = whole[Math.floor(numberOf(args, "place") * whole.length)];
    if (name === undefined) return false;
    this.#world.members.damaged.add(machine.nodeId);
    snapshots.flipBit(name, Math.floor(numberOf(args, "place") * snapshots.durableBytes(name)), numberOf(args, "bit"));
    machine.kill();
    return true;
  }

  #clock(kind: string, args: PlainRecord): boolean {
    const machine = this.#machine(args);
    if (machine === undefined) return false;
    const { clock } = machine;
    if (kind === "clock jump" && clock.skewMs + numberOf(args, "ms") > PEER_OFFSET_MS) this.#ranAhead.add(machine.id);
    // What it forgets while it is far ahead, it may forget: deletions are kept for a time of the wall clock.
    if (kind === "clock jump") this.#world.eventual.leave(machine.id);
    switch (kind) {
      case "clock jump":
        clock.skewMs += numberOf(args, "ms");
        return true;
      case "clock skew":
        clock.skewMs = numberOf(args, "ms");
        return true;
      case "clock drift":
        // Leases bear a tenth of the election timeout; what is beyond is the operator's to keep.
        clock.rate = 1 + numberOf(args, "permille") / 1_000;
        return true;
      case "clock strobe":
        for (let time = 0; time < numberOf(args, "times") * 2; time++) {
          this.#world.simulation.after(time * numberOf(args, "everyMs"), () => {
            clock.skewMs += time % 2 === 0 ? numberOf(args, "ms") : -numberOf(args, "ms");
          });
        }
        return true;
      default:
        return false;
    }
  }

  #others(kind: string, args: PlainRecord): boolean {
    const { arbiters, network, subscribers } = this.#world;
    const machine = this.#machine(args);
    const arbiterMood = ARBITER_MOODS[kind];
    if (arbiterMood !== undefined) {
      const arbiter = arbiters[numberOf(args, "arbiter") % arbiters.length];
      if (arbiter === undefined) return false;
      arbiter.mood = arbiterMood;
      this.#later(args, () => {
        arbiter.mood = "well";
      });
      return true;
    }
    const mesh = machine?.runtime?.mesh;
    switch (kind) {
      case "shards cut off":
        network.cut.add(numberOf(args, "node"));
        this.#later(args, () => network.cut.delete(numberOf(args, "node")));
        return true;
      case "readers move":
        for (const subscriber of subscribers) subscriber.move();
        return true;
      case "idle streams": {
        const runtime = machine?.runtime;
        if (runtime === undefined) return false;
        const close = openIdleStreams(runtime, this.#world.regions, numberOf(args, "count"), this.#world.recorder);
        this.#world.simulation.after(numberOf(args, "ms"), close);
        return true;
      }
      case "leadership transfer": {
        const leader = this.#world.machines.get(this.#world.leaderOf(this.#group(args)))?.runtime?.mesh;
        leader?.group(this.#group(args)).transferLeadership(machine?.nodeId ?? 0);
        leader?.dirty();
        return leader !== undefined;
      }
      case "step down":
        mesh?.leadership.stepDown();
        return mesh !== undefined;
      case "snapshot now":
        mesh?.group(this.#group(args)).snapshot();
        return mesh !== undefined;
      default:
        return false;
    }
  }
}

function numberOf(args: PlainRecord, name: string): number {
  const value = args[name];
  return typeof value === "number" ? value : 0;
}

function listOf(args: PlainRecord, name: string): readonly number[] {
  const value = args[name];
  return Array.isArray(value) ? value : [];
}
