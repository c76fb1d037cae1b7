/** The mesh that a run disturbs: nodes each on a host of its own where the machine allows it, arbiter, region store, PostgreSQL. */
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { credentials } from "@grpc/grpc-js";
import { connect, type MeshClient } from "@statemesh/client";
import { ClusterAdminServiceClient, ClusterAdminServiceService, type GetStatusResponse, MeshError } from "@statemesh/contract";
import { call, clientOptions } from "@statemesh/service";
import { DiskShim } from "../disk-shim.ts";
import { type LocalPostgres, startPostgres } from "../local-postgres.ts";
import { type Mesh, type MeshNode, type Placement, startMesh } from "../mesh-processes.ts";
import { type Machine, mountSmallDisk } from "./machine.ts";
import { Network } from "./network.ts";

/** Consensus nodes. */
export const NODES = 5;
/** Raft groups that hold regions. */
export const GROUPS = 3;
/** Nodes that may be disturbed at a time without taking the majority away. */
export const MINORITY = Math.floor((NODES - 1) / 2);
export const DATABASE = "world";
/** The nodes with a small disk. */
const SMALL_DISKS: ReadonlySet<number> = new Set([4, 5]);
const SMALL_DISK_MIB = 256;
const STATUS_LIMIT_MS = 2_000;
const PROBE_SERVER = 4_000_000_001;
const PROBE_LIMIT_MS = 1_500;

/** Registers of the load are entities of this type of our own. */
export const POLICY = `version: 1
types:
  chaos_register:
    consistency: strong
    chain: [timestamp, server_id]
`;

const NODE_FLAGS = ["--log-level", "info", "--registration-ttl-ms", "3600000", "--snapshot-log-bytes", "2097152", "--trailing-entries", "512", "--decision-window", "1000000"];

/** A mesh of five nodes, and what faults need to know of it. */
export class ChaosMesh {
  readonly mesh: Mesh;
  readonly machine: Machine;
  /** Undefined where the machine has no namespaces: then all listen on 127.0.0.1. */
  readonly network: Network | undefined;
  readonly folder: string;
  /** Of the nodes whose disk can be made false: those without a small disk, where the machine allows it. */
  readonly disks: ReadonlyMap<number, DiskShim>;
  #postgres: LocalPostgres;
  readonly #admins = new Map<number, ClusterAdminServiceClient>();
  /** One that asks each node for something small, to see whether it refuses. */
  readonly #probes = new Map<number, MeshClient>();
  /** Nodes whose end is what a fault is for. */
  readonly #mayEnd = new Set<string>();
  /** Nodes that lost their disk, and with it what they kept for callers while they were cut off. */
  readonly lostDisks: number[] = [];
  /** Processes that ended by themselves, with the end of their log. */
  readonly crashes: string[] = [];

  private constructor(mesh: Mesh, machine: Machine, network: Network | undefined, folder: string, disks: ReadonlyMap<number, DiskShim>, postgres: LocalPostgres) {
    this.mesh = mesh;
    this.machine = machine;
    this.network = network;
    this.folder = folder;
    this.disks = disks;
    this.#postgres = postgres;
    for (const node of mesh.nodes) {
      this.#admins.set(node.nodeId, new ClusterAdminServiceClient(node.clientAddress, credentials.createInsecure(), clientOptions({ ownConnection: true, reconnectMaxMs: 200 })));
      this.#probes.set(node.nodeId, connect({ endpoints: [node.clientAddress], serverId: PROBE_SERVER, name: "probe", backoffMaxMs: 200 }));
    }
    for (const each of mesh.processes) each.onCrash((text) => !this.#mayEnd.has(each.spec.name) && this.crashes.push(text));
  }

  static async start(machine: Machine, folder: string, onProgress: (text: string) => void): Promise<ChaosMesh> {
    const network = machine.missing.has("namespaces") ? undefined : await Network.create(NODES);
    const disks = new Map<number, DiskShim>();
    let postgres: LocalPostgres | undefined;
    try {
      onProgress("starting PostgreSQL");
      postgres = await startPostgres({ dataDir: join(folder, "postgres"), databases: [DATABASE] });
      const policyFile = join(folder, "policy.yaml");
      writeFileSync(policyFile, POLICY);
      const place = (name: string): Placement | undefined => {
        const id = /^node-(\d)$/.exec(name)?.[1];
        if (id === undefined) return network === undefined ? undefined : { host: network.gateway };
        return placeNode(Number(id), machine, folder, network, disks.get(Number(id)));
      };
      for (const id of SMALL_DISKS) if (!machine.missing.has("mount")) await mountSmallDisk(smallDisk(folder, id), SMALL_DISK_MIB);
      for (let id = 1; id <= NODES; id++) {
        setClock(folder, id, 0);
        if (!SMALL_DISKS.has(id) && !machine.missing.has("disk")) disks.set(id, await DiskShim.of(dataFolder(folder, id, machine), { holdBack: true }));
      }
      const policy = ["--policy-file", policyFile];
      const mesh = await startMesh({
        nodes: NODES, groups: GROUPS, dataDir: folder, postgres: postgres.urlOf(DATABASE), place, onProgress,
        extraFlags: { "consensus-node": [...NODE_FLAGS, ...policy], "conflict-arbiter": ["--log-level", "warn", ...policy], "region-store": ["--log-level", "warn"] },
      });
      return new ChaosMesh(mesh, machine, network, folder, disks, postgres);
    } catch (error) {
      await postgres?.stop();
      await network?.close();
      throw error;
    }
  }

  get nodes(): readonly MeshNode[] {
    return this.mesh.nodes;
  }

  get postgres(): LocalPostgres {
    return this.#postgres;
  }

  node(id: number): MeshNode {
    const node = this.nodes.find((each) => each.nodeId === id);
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  /** Whether the node's data folder is a small disk of its own. */
  smallDiskOf(id: number): string | undefined {
    return SMALL_DISKS.has(id) && !this.machine.missing.has("mount") ? smallDisk(this.folder, id) : undefined;
  }

  /** The node's data folder. */
  dataFolder(id: number): string {
    return dataFolder(this.folder, id, this.machine);
  }

  /** Groups whose log on the node lacks what it once held; undefined where the node does not answer. */
  async damagedGroups(id: number): Promise<number | undefined> {
    try {
      const answer = await fetch(`http://${this.node(id).metricsAddress}/metrics`, { signal: AbortSignal.timeout(STATUS_LIMIT_MS) });
      return [...(await answer.text()).matchAll(/^statemesh_group_damaged(?:\{[^}]*\})? 1$/gm)].length;
    } catch {
      return undefined; // It does not answer: what it lacks can't be told.
    }
  }

  /**
   * Makes the process of node `id`, which lost its folder, a new member in the old one's place, and waits until it votes in every group.
   *
   * @returns the id of the new member
   */
  async replaceMember(id: number, limitMs: number): Promise<number> {
    const endMs = performance.now() + limitMs;
    let before = 0;
    let said = "";
    for (;;) {
      const status = await this.status(id);
      if (before === 0 && status !== undefined) before = status.nodeId;
      if (status !== undefined && status.nodeId !== before && status.groups.every((group) => group.voters.includes(status.nodeId))) return status.nodeId;
      if (before > 0 && status?.nodeId === before) said = await this.#askToReplace(id, before);
      if (performance.now() > endMs) throw new Error(`node ${id} is no new member after ${limitMs} ms: ${said}`);
      await new Promise((wake) => setTimeout(wake, 500));
    }
  }

  /** Asking again is harmless: the change has a name. */
  async #askToReplace(id: number, member: number): Promise<string> {
    const admin = this.#admins.get(this.nodes.find((node) => node.nodeId !== id && node.running)?.nodeId ?? 0);
    if (admin === undefined) return "no other node runs";
    const request = { nodeId: member, address: "", newNodeId: 0, changeId: `chaos-${member}`, dryRun: false };
    try {
      await call(admin, ClusterAdminServiceService.replaceMember, request, { timeoutMs: STATUS_LIMIT_MS, writes: true });
      return "the change is on record";
    } catch (error) {
      return MeshError.from(error).message;
    }
  }

  /** Undefined where the node does not answer. */
  async status(id: number): Promise<GetStatusResponse | undefined> {
    const admin = this.#admins.get(id);
    if (admin === undefined) throw new Error(`no node ${id}`);
    try {
      return await call(admin, ClusterAdminServiceService.getStatus, {}, { timeoutMs: STATUS_LIMIT_MS, writes: false });
    } catch (error) {
      if (MeshError.from(error).reason === "INTERNAL") throw error;
      return undefined;
    }
  }

  /** Who leads each group, as the leaders themselves say; the one of the highest term where two do. */
  async leaders(): Promise<Map<number, number>> {
    const found = new Map<number, { node: number; term: number }>();
    const all = await Promise.all(this.nodes.filter((node) => node.running).map(async (node) => ({ id: node.nodeId, status: await this.status(node.nodeId) })));
    for (const { id, status } of all) {
      for (const group of status?.groups ?? []) {
        if (group.role !== "leader" || (found.get(group.groupId)?.term ?? -1) >= group.term) continue;
        found.set(group.groupId, { node: id, term: group.term });
      }
    }
    return new Map([...found].map(([group, { node }]) => [group, node]));
  }

  /** Moves the node's wall clock; 0: the true time. It takes a second at most until the node sees it. */
  setClock(id: number, offsetSeconds: number): void {
    setClock(this.folder, id, offsetSeconds);
  }

  /** The node's wall clock, as the dates of its HTTP answers show it, to the second; undefined where it does not answer. */
  async clockOf(id: number): Promise<number | undefined> {
    try {
      const { headers } = await fetch(`http://${this.node(id).metricsAddress}/healthz`, { signal: AbortSignal.timeout(STATUS_LIMIT_MS) });
      return Date.parse(headers.get("date") ?? "");
    } catch {
      return undefined; // It does not answer: what its clock shows can't be told.
    }
  }

  /** Asks a node for a strong operation, and answers the reason why there is no decision; undefined where there is one. */
  async refusal(id: number): Promise<string | undefined> {
    const probe = this.#probes.get(id);
    if (probe === undefined) throw new Error(`no node ${id}`);
    try {
      await probe.execute(probe.operations.mint({ region: { x: 0, y: 0, z: 0 }, epoch: 0 }, { playerId: "probe", itemKind: "probe", quantity: 1 }), { deadlineMs: PROBE_LIMIT_MS });
      return undefined;
    } catch (error) {
      return MeshError.from(error).reason;
    }
  }

  /** Makes the probes' server known. */
  async registerProbe(): Promise<void> {
    await this.#probes.get(1)?.authority.register({ deadlineMs: 60_000 });
  }

  /** From now on the node's process may end by itself, until it is revived. */
  expectEnd(id: number): void {
    this.#mayEnd.add(this.node(id).spec.name);
  }

  /** Starts the node where it does not run. What it had written is on its disk, unless a power cut took it back before. */
  revive(id: number): Promise<void> {
    const node = this.node(id);
    this.#mayEnd.delete(node.spec.name);
    if (!node.running) {
      this.disks.get(id)?.forget();
      node.launch();
    }
    return Promise.resolve();
  }

  killPostgres(): void {
    this.#postgres.kill();
  }

  async restartPostgres(): Promise<void> {
    this.#postgres = await startPostgres({ dataDir: join(this.folder, "postgres"), databases: [DATABASE], port: this.#postgres.port });
  }

  async stop(): Promise<void> {
    for (const admin of this.#admins.values()) admin.close();
    for (const probe of this.#probes.values()) probe.close();
    await this.mesh.stop();
    await this.#postgres.stop();
    await this.network?.close();
  }
}

function smallDisk(folder: string, id: number): string {
  return join(folder, `small-disk-${id}`);
}

function clockFile(folder: string, id: number): string {
  return join(folder, "clocks", `node-${id}`);
}

/** In one step: a clock that is read while it is written would be nonsense. */
function setClock(folder: string, id: number, offsetSeconds: number): void {
  const file = clockFile(folder, id);
  mkdirSync(join(folder, "clocks"), { recursive: true });
  writeFileSync(`${file}.new`, `${offsetSeconds < 0 ? "-" : "+"}${Math.abs(offsetSeconds)}\n`);
  renameSync(`${file}.new`, file);
}

function dataFolder(folder: string, id: number, machine: Machine): string {
  return SMALL_DISKS.has(id) && !machine.missing.has("mount") ? join(smallDisk(folder, id), "data") : join(folder, `node-${id}`);
}

function placeNode(id: number, machine: Machine, folder: string, network: Network | undefined, disk: DiskShim | undefined): Placement {
  const environment: { [name: string]: string } = { ...disk?.environment };
  if (machine.clockLibrary !== undefined) {
    environment["LD_PRELOAD"] = [disk?.environment["LD_PRELOAD"], machine.clockLibrary].filter((library) => library !== undefined).join(":");
    // Monotonic time never jumps, and files keep their true times.
    Object.assign(environment, { FAKETIME_TIMESTAMP_FILE: clockFile(folder, id), FAKETIME_DONT_FAKE_MONOTONIC: "1", NO_FAKE_STAT: "1", FAKETIME_CACHE_DURATION: "1" });
  }
  return { host: network?.address(id) ?? "127.0.0.1", ...(network === undefined ? {} : { launcher: network.launcher(id) }), environment, dataDir: dataFolder(folder, id, machine) };
}
