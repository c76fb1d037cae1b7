// A mesh in one process: machines with nodes, arbiters, a store, shards and readers, and everything that watches them.
import type { Entity, Region } from "@statemesh/contract";
import { conservationOf, type GroupReplica, VERSIONS, type VersionRange } from "@statemesh/mesh";
import type { ArbiterPort, NodeRuntime, StorePort } from "@statemesh/node";
import { NewerVersionError, VIEWS_VERSION } from "@statemesh/replica";
import { CorruptionError } from "@statemesh/wal";
import { groupOf, type Policy, sameRegion } from "@statemesh/world";
import type { Recorder } from "../recorder.ts";
import { materializedRows } from "../store/sim-materialization.ts";
import { CALM_SQL, SimSql } from "../store/sim-sql.ts";
import { SimStore } from "../store/sim-store.ts";
import { SimStoreLink, type StoreWeather } from "../store/sim-store-link.ts";
import type { SimRandom } from "../sim-random.ts";
import type { Simulation } from "../simulation.ts";
import { AuthorityBook } from "./authority-book.ts";
import { CallBook } from "./call-book.ts";
import { CausalObserver } from "./causal-observer.ts";
import { EscrowBook } from "./escrow-book.ts";
import { EventualObserver } from "./eventual-observer.ts";
import { HistoryOracle } from "./history-oracle.ts";
import { HistoryReader } from "./history-reader.ts";
import { LeaseBook } from "./lease-book.ts";
import { MemberBook } from "./member-book.ts";
import { MeshRequests } from "./mesh-requests.ts";
import type { MeshSettings } from "./mesh-settings.ts";
import { NodeObserver } from "./node-observer.ts";
import { FootprintBook } from "./footprint-book.ts";
import { MergeBook } from "./merge-book.ts";
import { ReferenceGroup } from "./reference-group.ts";
import { TransactionBook } from "./transaction-book.ts";
import { TravellerBook } from "./traveller-book.ts";
import { ShardNetwork } from "./shard-network.ts";
import { SimArbiter } from "./sim-arbiters.ts";
import { SimMachine } from "./sim-machine.ts";
import { SimOperator } from "./sim-operator.ts";
import { SimRegionStores } from "./sim-region-stores.ts";
import { SimShard } from "./sim-shard.ts";
import { SimSubscriber } from "./sim-subscriber.ts";
import { StoreOracle } from "./store-oracle.ts";
import { policyOfRun } from "./studio-policy.ts";
import { type PathWeather, SimWire } from "./sim-wire.ts";

/** Slow enough that snapshots of a simulated world wait for one another. */
const SNAPSHOT_BYTES_PER_SECOND = 1 << 20;

const CLUSTER = "sim";
/** What the build before members were on record reads and says. */
export const OLD_VERSIONS: VersionRange = { min: 1, max: 1 };
/** Regions whose stored causal events somebody reads. */
const HISTORY_READERS = 2;
/** How long a node waits for the store. */
const STORE_TIMEOUT_MS = 2_000;
const SAMPLE_MS = 1_000;
const REFERENCE_TOUCHES = 16;

/** What nodes say that shows that something rare came about. */
const TELLING: Readonly<Record<string, string>> = {
  "installed a snapshot": "snapshot installed",
  "sending a snapshot": "snapshot sent",
  "a snapshot did not arrive": "snapshot transfer failed",
  "an arbiter did not answer: deciding here": "arbiter fallback",
  "an arbiter goes by another policy: it decides nothing for this node": "arbiter of another policy passed over",
  "region store is far behind: sending a full copy": "materialiser full copy",
  "the log takes no writes: they wait": "log full",
  "cut an unfinished write off the end of the log": "torn tail cut",
  "the snapshot of a group is damaged": "damaged snapshot refused",
  "the cluster is founded": "cluster founded",
  "this node is on another side of a split": "side of a split changed",
  "a group's log lacks what it once held: it is repaired from the other nodes": "damaged group repaired",
  "lost the connection to a peer": "connection lost",
  "a peer came back with an empty data folder: it gets copies, but must be replaced to vote again": "peer came back empty",
};

export const TELLING_NAMES: readonly string[] = Object.values(TELLING);

export class MeshWorld {
  readonly settings: MeshSettings;
  readonly policy: Policy;
  readonly simulation: Simulation;
  readonly recorder: Recorder;
  readonly random: SimRandom;
  readonly transactions: TransactionBook;
  readonly footprints: FootprintBook;
  readonly escrows: EscrowBook;
  readonly merges: MergeBook;
  readonly travellers: TravellerBook;
  readonly references: readonly ReferenceGroup[];
  readonly observer: NodeObserver;
  readonly causal: CausalObserver;
  readonly eventual: EventualObserver;
  /** What the store must hold; undefined where there is none. */
  readonly oracle: StoreOracle | undefined;
  readonly history: HistoryOracle | undefined;
  readonly book: CallBook;
  readonly wire: SimWire;
  readonly arbiters: readonly SimArbiter[];
  /** The region store's process, its database, and the way to it; undefined where nothing is materialised. */
  readonly store: { readonly process: SimStore; readonly sql: SimSql; readonly weather: StoreWeather } | undefined;
  /** Region stores with caches and a Redis, whose answers are read; undefined where there are none. */
  readonly regionStores: SimRegionStores | undefined;
  readonly machines = new Map<number, SimMachine>();
  readonly network: ShardNetwork;
  readonly shards: SimShard[] = [];
  readonly subscribers: SimSubscriber[] = [];
  readonly regions: readonly Region[];
  readonly members: MemberBook;
  readonly operator: SimOperator;

  constructor(simulation: Simulation, recorder: Recorder, settings: MeshSettings) {
    this.settings = settings;
    this.policy = policyOfRun(settings.policy);
    this.simulation = simulation;
    this.recorder = recorder;
    this.random = simulation.random.fork();
    const ids = Array.from({ length: settings.nodes + settings.spares }, (_, at) => at + 1);
    const founders = ids.slice(0, settings.nodes);
    const fail = (kind: string, message: string): void => recorder.violation(kind, message);
    this.transactions = new TransactionBook(fail, (what) => recorder.sometimes(what));
    this.footprints = new FootprintBook(settings.groups, fail, (what) => recorder.sometimes(what));
    this.escrows = new EscrowBook(fail, (what) => recorder.sometimes(what));
    const requests = new MeshRequests(() => simulation.nowMs, settings.groups);
    this.merges = new MergeBook(this.policy, (operationId) => requests.sentOf(operationId), fail);
    this.travellers = new TravellerBook((operationId) => requests.operationOf(operationId), (groupId, name) => this.transactions.isHeld(groupId, name), fail);
    this.references = Array.from({ length: settings.groups + 1 }, (_, groupId) => new ReferenceGroup({ groupId, decisionWindow: settings.decisionWindow, touchCapacity: REFERENCE_TOUCHES }, this, fail));
    const authority = new AuthorityBook(recorder);
    this.#directory.watch = (index, change) => authority.committed(index, change);
    this.members = new MemberBook(recorder, this.#directory, founders);
    this.observer = new NodeObserver(recorder, this.references, this.members, () => simulation.nowMs);
    this.causal = new CausalObserver(recorder);
    this.eventual = new EventualObserver(recorder);
    this.book = new CallBook(recorder, this.references, requests);
    this.wire = new SimWire(simulation, recorder, ids, this.fairWeather(), settings.keepaliveMs);
    this.wire.watch = (from, _, frame) => this.observer.sent(this.machines.get(from)?.nodeId ?? 0, frame);
    this.arbiters = Array.from({ length: settings.arbiters }, () => new SimArbiter(simulation, this.policy));
    this.regions = regionsOf(settings);
    const sql = new SimSql(simulation, { ...CALM_SQL });
    this.regionStores = settings.hasStore && settings.hasRedis ? new SimRegionStores({ simulation, recorder, sql, references: this.references, groups: settings.groups, regions: this.regions }) : undefined;
    this.store = settings.hasStore ? { sql, process: new SimStore(simulation, sql, this.regionStores?.invalidations), weather: { minDelayMs: 0.2, maxDelayMs: 1, loss: 0, cut: false } } : undefined;
    this.oracle = this.store === undefined ? undefined : new StoreOracle(this.store.sql, this.references, settings.decisionWindow, recorder);
    this.history = this.store === undefined ? undefined : new HistoryOracle(this.store.sql, this.causal, settings.groups, recorder);
    if (this.store !== undefined) this.store.process.watch = (groupId, watermark) => this.regionStores?.taken(groupId, watermark);
    for (const id of ids) this.machines.set(id, this.#machine(id, founders));
    this.network = new ShardNetwork(simulation, this.machines, settings.leaseMs, settings.registrationTtlMs);
    this.operator = new SimOperator({ simulation, recorder, network: this.network, wire: this.wire, machines: this.machines, members: this.members });
    this.#people();
  }

  fairWeather(): PathWeather {
    return { minDelayMs: 0.2, maxDelayMs: this.settings.maxDelayMs, meanStraggleMs: 0, loss: 0, duplication: 0, maxBytes: Infinity, bandwidth: 50_000 };
  }

  get #directory(): ReferenceGroup {
    const [directory] = this.references;
    if (directory === undefined) throw new RangeError("a mesh has a directory");
    return directory;
  }

  #machine(id: number, founders: readonly number[]): SimMachine {
    const { settings, simulation, recorder } = this;
    const enter = (): ((run: () => void) => void) => {
      const gate = machine.gate;
      return (run) => gate.enter(run);
    };
    const arbiters: ArbiterPort[] = this.arbiters.map((arbiter, at) => arbiter.port(`arbiter-${at}`, enter));
    const machine: SimMachine = new SimMachine(id, {
      simulation,
      recorder,
      wire: this.wire,
      founders,
      options: {
        clusterId: CLUSTER,
        clientAddress: `node-${id}`,
        policy: this.policy,
        groups: settings.groups,
        tickMs: settings.tickMs,
        electionTicks: settings.electionTicks,
        heartbeatTicks: settings.heartbeatTicks,
        balanceTicks: settings.balanceTicks,
        leaseReads: settings.leaseReads,
        queueCapacity: settings.queueCapacity,
        snapshotLogBytes: settings.snapshotLogBytes,
        trailingEntries: settings.trailingEntries,
        // Where little is kept by count, little is kept by bytes.
        trailingBytes: settings.trailingEntries * 256,
        snapshotBytesPerSecond: SNAPSHOT_BYTES_PER_SECOND,
        decisionWindow: settings.decisionWindow,
        touchCapacity: settings.touchCapacity,
        leaseMs: settings.leaseMs,
        registrationTtlMs: settings.registrationTtlMs,
        arbiterTimeoutMs: settings.arbiterTimeoutMs,
        wal: { segmentBytes: settings.segmentBytes },
      },
      disk: { maxSyncMs: settings.maxSyncMs },
      arbiters,
      store: this.#storePort(enter),
      restartMs: settings.restartMs,
      events: {
        stepped: (_, runtime) => this.observer.stepped(runtime.mesh.nodeId, runtime),
        started: (_, runtime) => this.#started(id, runtime),
        ended: (_, runtime) => this.#ended(runtime),
        failed: (_, error) => this.#failed(machine, error),
        said: (_, message) => {
          recorder.note("said", id, message);
          const telling = TELLING[message];
          if (telling !== undefined) recorder.sometimes(telling);
          if (telling === "snapshot installed" && this.members.isJoining(machine.nodeId)) recorder.sometimes("learner caught up by snapshot");
        },
      },
    });
    if (id <= settings.oldNodes) machine.versions = OLD_VERSIONS;
    return machine;
  }

  #storePort(enter: () => (run: () => void) => void): StorePort | undefined {
    if (this.store === undefined) return undefined;
    const link = new SimStoreLink(this.simulation, this.store.process, { clusterId: CLUSTER, timeoutMs: STORE_TIMEOUT_MS, weather: this.store.weather });
    const into = <Answer>(done: (answer: Answer) => void): ((answer: Answer) => void) => {
      const process = enter();
      return (answer) => process(() => done(answer));
    };
    return {
      get isRefused() {
        return link.isRefused;
      },
      materialize: (request, done) => link.materialize(request, into(done)),
      watermarks: (done) => link.watermarks(into(done)),
      storeEventual: (values, forgetDeletedBeforeMs, done) => link.storeEventual(values, forgetDeletedBeforeMs, into(done)),
      loadEventual: (pageToken, done) => link.loadEventual(pageToken, into(done)),
      storeCausal: (groups, done) => link.storeCausal(groups, into(done)),
      // The way stays for the next process.
      close: () => undefined,
    };
  }

  #started(machineId: number, runtime: NodeRuntime): void {
    this.observer.started(runtime.mesh.nodeId, runtime);
    runtime.mesh.onReadable = (subscriberId) => {
      // In the middle of a change: the reader comes later.
      for (const subscriber of this.subscribers) subscriber.readable(runtime, subscriberId);
    };
    this.causal.watch(runtime.mesh.nodeId, runtime);
    this.eventual.watch(machineId, runtime);
  }

  #ended(runtime: NodeRuntime | undefined): void {
    if (runtime === undefined) return;
    this.network.ended(runtime);
    for (const subscriber of this.subscribers) subscriber.ended(runtime);
  }

  /** A node may give up where its disk was made to fail, and nowhere else. */
  #failed(machine: SimMachine, error: unknown): void {
    // Where an entry cannot be applied, the log itself is looked at first.
    if (machine.runtime !== undefined) this.observer.stepped(machine.runtime.mesh.nodeId, machine.runtime);
    this.recorder.note("gave up", machine.id, error instanceof Error ? error.message : "unknown");
    if (error instanceof CorruptionError && this.members.damaged.has(machine.nodeId)) {
      this.recorder.sometimes("damaged log refused");
      this.reformat(machine);
      return;
    }
    if (error instanceof NewerVersionError && machine.versions.max < VERSIONS.max) {
      this.recorder.sometimes("older build stopped");
      return;
    }
    if (machine.diskSuspect) {
      this.recorder.sometimes("node stopped by its disk");
      return;
    }
    const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.recorder.violation("nodes go on", `node ${machine.id} gave up: ${reason}`);
  }

  #people(): void {
    const { settings, simulation, recorder, references, machines } = this;
    const leases = new LeaseBook(recorder, () => simulation.nowMs, (region) => references[groupOf(region, settings.groups)]?.state.fence(region)?.epoch ?? 0);
    const servers = Array.from({ length: settings.shards }, (_, at) => at + 1);
    for (const serverId of servers) {
      this.shards.push(
        new SimShard(serverId, {
          simulation, recorder, network: this.network, book: this.book, leases, nodes: [...machines.keys()], groups: settings.groups, leaseMs: settings.leaseMs,
          regions: this.regions, paceMs: settings.paceMs, mischief: settings.mischief, leasing: settings.leasing, handoffs: settings.handoffs, maxRegions: settings.maxRegions, tentative: settings.tentative, servers, names: settings.names, borders: settings.borders, plots: settings.plots, containers: settings.containers, travellers: settings.travellers, escrows: settings.escrows, escrowBook: this.escrows, policy: this.policy, ownTypes: settings.ownTypes,
        }),
      );
    }
    for (let at = 1; at <= settings.subscribers; at++) {
      const regions = this.regions.filter(() => this.random.chance(0.6));
      const paceMs = at === 1 ? settings.slowReaderMs : 1;
      const walks = this.random.chance(settings.walking);
      const eventualIntervalMs = this.random.pick([0, 0, 200]);
      this.subscribers.push(new SimSubscriber(`reader ${at}`, { simulation, recorder, machines, references, groups: settings.groups, regions: regions.length === 0 ? this.regions : regions, paceMs, walks, eventualIntervalMs }));
    }
  }

  start(): void {
    for (const machine of this.machines.values()) machine.start();
    for (const shard of this.shards) shard.start();
    for (const subscriber of this.subscribers) this.simulation.after(500, () => subscriber.start());
    const { store, history } = this;
    if (store !== undefined && history !== undefined) for (const region of this.regions.slice(0, HISTORY_READERS)) new HistoryReader(this.simulation, store.process, history, region, this.recorder).start();
    this.regionStores?.start();
    this.#sample();
  }

  #sample(): void {
    this.simulation.after(SAMPLE_MS, () => {
      for (const { runtime } of this.machines.values()) if (runtime !== undefined) this.observer.sample(runtime.mesh.nodeId, runtime);
      this.oracle?.check();
      this.history?.check();
      this.#sample();
    });
  }

  /** The folder is emptied; the node that it was never votes again. */
  reformat(machine: SimMachine, anew = false): void {
    if (machine.nodeId !== 0) {
      this.members.lost.add(machine.nodeId);
      this.members.damaged.add(machine.nodeId);
    }
    if (anew) machine.reinstall();
    else machine.reformat();
  }

  /** Entities of all groups as the store has them; undefined: there is none. */
  get stored(): readonly Entity[] | undefined {
    return this.store === undefined ? undefined : materializedRows(this.store.sql).entities;
  }

  /** Who comes and goes is changed in this run: all of it has to have ended at the end. */
  get changesMembers(): boolean {
    return this.settings.spares > 0;
  }

  /** Machines whose nodes are members; those that wait, or were removed, are not. */
  get #memberMachines(): SimMachine[] {
    return [...this.machines.values()].filter(({ nodeId }) => this.members.isMember(nodeId));
  }

  /** The machine on which a group is led; 0: none is. */
  leaderOf(groupId: number): number {
    for (const [id, { runtime }] of this.machines) if (runtime?.mesh.group(groupId).serves === true) return id;
    return 0;
  }

  get isServing(): boolean {
    return this.references.every((_, groupId) => this.leaderOf(groupId) !== 0);
  }

  get isConnected(): boolean {
    const machines = this.#memberMachines;
    const nodeIds = new Set(machines.map(({ nodeId }) => nodeId));
    return machines.every(({ runtime }) => runtime !== undefined && [...runtime.links.keys()].every((peer) => !nodeIds.has(peer) || runtime.mesh.isConnected(peer)));
  }

  /** Why the mesh has not come to rest; undefined where it has. */
  get unrest(): string | undefined {
    for (const shard of this.shards) if (!shard.isQuiet) return `shard ${shard.serverId} waits for answers`;
    const handoff = this.#directory.state.directory.tables.handoffs.running().next().value;
    if (handoff !== undefined) return `handoff ${handoff.handoffId} has not ended`;
    if (this.changesMembers && this.operator.unrest !== undefined) return this.operator.unrest;
    const machines = this.#memberMachines;
    const absent = this.members.nodeIds.find((nodeId) => machines.every((machine) => machine.nodeId !== nodeId));
    if (absent !== undefined) return `node ${absent} is a member, and runs nowhere`;
    for (const { nodeId: id, runtime } of machines) {
      if (runtime === undefined) return `node ${id} is down`;
      const kept = runtime.mesh.cutOff.tentative.size;
      if (kept > 0) return `node ${id} keeps ${kept} operations that are not decided`;
      const aside = runtime.mesh.escrows.spendingsAside;
      if (aside > 0) return `node ${id} has promised ${aside} spendings that are not in the log`;
      for (const group of runtime.mesh.groups) {
        const last = this.references[group.groupId]?.last ?? 0;
        if (group.state.appliedIndex !== last) return `node ${id} has applied ${group.state.appliedIndex} of group ${group.groupId}, committed is ${last}`;
        const astray = this.#astray(group);
        if (astray !== undefined) return `node ${id}: ${astray}`;
      }
    }
    const clearing = this.references.find(({ state }) => !state.transactions.isQuiet);
    if (clearing !== undefined) return `a transaction of group ${clearing.state.groupId} has not ended`;
    return this.transactions.unrest ?? this.#ledgerUnrest ?? this.#viewUnrest ?? this.#eventualUnrest ?? this.#storeUnrest ?? this.regionStores?.unrest ?? this.subscribers.map((subscriber) => subscriber.checkFinal()).find((problem) => problem !== undefined);
  }

  /** What one group sent, another received. */
  get #ledgerUnrest(): string | undefined {
    const { addsUp, isExplained } = conservationOf(this.references.map(({ state }) => state));
    return addsUp && isExplained ? undefined : "what groups sent one another is not what they received, and nothing is under way";
  }

  /** Every group has the voters that are on record. */
  #astray({ groupId, core }: GroupReplica): string | undefined {
    const { record } = this.members;
    const { voters, outgoing, learners } = core.configuration;
    if (!record.isOnRecord || (voters.join() === record.voters().join() && outgoing.length === 0 && learners.length === 0)) return undefined;
    return `group ${groupId} has the voters ${voters.join()}, outgoing ${outgoing.join()}, learners ${learners.join()}; on record are ${record.voters().join()}`;
  }

  /** Everybody hears everybody, and all agree that they are there. */
  get #viewUnrest(): string | undefined {
    const { views, membership } = this.#directory.state;
    const { epoch, alive } = views.view;
    const { nodeIds } = this.members;
    if (epoch > 0 && alive.join() !== nodeIds.join()) return `view ${epoch} has ${alive.join()}, members are ${nodeIds.join()}`;
    if (membership.version < VIEWS_VERSION) return undefined;
    const cut = this.#memberMachines.find(({ runtime }) => runtime?.mesh.views.side !== "whole");
    return cut === undefined ? undefined : `node ${cut.nodeId} takes itself for cut off, though nothing is: ${cut.runtime?.mesh.views.side}, without ${cut.runtime?.mesh.views.suspected.join()}`;
  }

  get #eventualUnrest(): string | undefined {
    for (const region of this.regions) {
      const digests = new Set(this.#memberMachines.map(({ runtime }) => JSON.stringify(runtime?.mesh.eventual.digestOf(region))));
      if (digests.size > 1) return `the eventual values of region ${region.x} ${region.y} ${region.z} differ: ${[...digests].join(" ")}`;
    }
    return undefined;
  }

  get #storeUnrest(): string | undefined {
    if (this.store === undefined) return undefined;
    for (const { state, last } of this.references) {
      const watermark = materializedRows(this.store.sql, state.groupId).watermarks.get(state.groupId) ?? 0;
      if (watermark !== last) return `the store stands at ${watermark} of group ${state.groupId}, committed is ${last}`;
    }
    this.history?.check();
    return this.#memberMachines.map(({ runtime }) => (runtime === undefined ? undefined : this.history?.lacks(runtime))).find((lacking) => lacking !== undefined);
  }
}

/** Regions of every group: two of one sector, then others; where shards face each other, also what lies across the border of two groups. */
function regionsOf({ groups, regionsPerGroup, facing, borders }: MeshSettings): Region[] {
  const found = new Map<number, Region[]>();
  for (let x = 0; x < 100_000; x += found.size < groups ? 8 : 1) {
    const region = { x, y: 0, z: 0 };
    const list = found.get(groupOf(region, groups)) ?? [];
    if (list.length < regionsPerGroup) list.push(region);
    found.set(groupOf(region, groups), list);
    if (found.size === groups && [...found.values()].every(({ length }) => length >= regionsPerGroup)) break;
  }
  const regions = [...found.values()].flat();
  if (!facing || borders === 0) return regions;
  const across = regions.filter(({ x }) => x % 8 === 0).map((region) => ({ ...region, x: region.x - 1 }));
  return [...regions, ...across.filter((region) => !regions.some((known) => sameRegion(known, region)))];
}
