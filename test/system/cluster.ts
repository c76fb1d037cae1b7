/** A mesh of real processes for one test file, and questions about it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { credentials } from "@grpc/grpc-js";
import { connect, type MeshClient } from "@statemesh/client";
import {
  AuthorityDirectoryServiceClient, ClusterAdminServiceClient, ClusterAdminServiceService, ConflictArbiterServiceClient, ConsistencyServiceClient, EscrowServiceClient,
  type GetStatusResponse, type GroupStatus, MeshError, type Region, RegionStoreServiceClient,
} from "@statemesh/contract";
import { call, clientOptions } from "@statemesh/service";
import { groupOf } from "@statemesh/world";
import { type Mesh, type MeshNode, type MeshOptions, startMesh } from "../../tools/mesh-processes.ts";

/** Far above what anything takes: reaching it is a failure, not a measurement. */
export const LIMIT_MS = 60_000;

/** Waits until `condition` holds; the error says what was waited for and what `describe` shows then. */
export async function until(what: string, condition: () => Promise<boolean> | boolean, describe: () => string = () => "", limitMs: number = LIMIT_MS): Promise<void> {
  const endMs = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`after ${limitMs} ms still not: ${what}. ${describe()}`);
    await pause(20);
  }
}

export async function pause(ms: number): Promise<void> {
  await new Promise((wake) => setTimeout(wake, ms));
}

/** Stubs of one address. */
export interface Stubs {
  readonly address: string;
  readonly consistency: ConsistencyServiceClient;
  readonly authority: AuthorityDirectoryServiceClient;
  readonly admin: ClusterAdminServiceClient;
  readonly arbiter: ConflictArbiterServiceClient;
  readonly escrow: EscrowServiceClient;
  readonly store: RegionStoreServiceClient;
}

/** A running mesh with its data folder, and every client that a test opened to it. */
export class Cluster {
  readonly mesh: Mesh;
  readonly groups: number;
  readonly #dataDir: string;
  readonly #stubs = new Map<string, Stubs>();
  readonly #clients = new Set<MeshClient>();
  /** Nodes that joined later, started and stopped with the others. */
  readonly #joined: MeshNode[] = [];
  readonly #left = new Set<MeshNode>();

  constructor(mesh: Mesh, groups: number, dataDir: string) {
    this.mesh = mesh;
    this.groups = groups;
    this.#dataDir = dataDir;
  }

  /** The nodes that are members, as far as the test says. */
  get nodes(): readonly MeshNode[] {
    return [...this.mesh.nodes, ...this.#joined].filter((node) => !this.#left.has(node));
  }

  /** From now on a node is one of the cluster's. */
  joins(node: MeshNode): void {
    this.#joined.push(node);
  }

  /** From now on a node is none of the cluster's. */
  leaves(node: MeshNode): void {
    this.#left.add(node);
  }

  get dataDir(): string {
    return this.#dataDir;
  }

  /** Node `id`. */
  node(id: number): MeshNode {
    const node = this.nodes.find((each) => each.nodeId === id);
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  /** Stubs for an address, a connection each. */
  stubs(address: string): Stubs {
    const known = this.#stubs.get(address);
    if (known !== undefined) return known;
    const options = clientOptions({ ownConnection: true, reconnectMaxMs: 200 });
    const insecure = credentials.createInsecure();
    const consistency = new ConsistencyServiceClient(address, insecure, options);
    const channelOverride = consistency.getChannel();
    const made: Stubs = {
      address,
      consistency,
      authority: new AuthorityDirectoryServiceClient(address, insecure, { channelOverride }),
      admin: new ClusterAdminServiceClient(address, insecure, { channelOverride }),
      arbiter: new ConflictArbiterServiceClient(address, insecure, { channelOverride }),
      escrow: new EscrowServiceClient(address, insecure, { channelOverride }),
      store: new RegionStoreServiceClient(address, insecure, { channelOverride }),
    };
    this.#stubs.set(address, made);
    return made;
  }

  /** A registered game server, which asks node `first` (from 0) before the others, wherever the leader is. */
  async server(serverId: number, first = 0, attemptTimeoutMs = 2_000): Promise<MeshClient> {
    const all = this.mesh.endpoints;
    const endpoints = all.map((_, at) => all[(at + first) % all.length] ?? "");
    const store = this.mesh.regionStore?.address;
    const client = connect({ endpoints, ...(store === undefined ? {} : { storeEndpoints: [store] }), serverId, name: `shard-${serverId}`, deadlineMs: LIMIT_MS, attemptTimeoutMs, routing: "any" });
    this.#clients.add(client);
    await client.authority.register();
    return client;
  }

  /** A client of a game server that registers itself elsewhere, or not at all. */
  stranger(serverId: number): MeshClient {
    const client = connect({ endpoints: this.mesh.endpoints, serverId, name: `shard-${serverId}`, deadlineMs: LIMIT_MS });
    this.#clients.add(client);
    return client;
  }

  /** A client of one node only. */
  only(client: MeshClient, node: MeshNode): MeshClient {
    const made = connect({ endpoints: [node.clientAddress], serverId: client.serverId, name: `shard-${client.serverId}`, deadlineMs: LIMIT_MS });
    this.#clients.add(made);
    return made;
  }

  async status(node: MeshNode): Promise<GetStatusResponse> {
    return await call(this.stubs(node.clientAddress).admin, ClusterAdminServiceService.getStatus, {}, { timeoutMs: 5_000, writes: false });
  }

  /** Undefined while the node does not answer: it starts, or goes. */
  async statusNow(node: MeshNode): Promise<GetStatusResponse | undefined> {
    try {
      return await this.status(node);
    } catch (error) {
      if (MeshError.from(error).reason === "INTERNAL") throw error;
      return undefined;
    }
  }

  /** The node that leads a group and has committed in its term. */
  async leaderOf(groupId: number): Promise<MeshNode> {
    let leader: MeshNode | undefined;
    await until(`group ${groupId} has a leader`, async () => {
      for (const node of this.nodes.filter((each) => each.running)) {
        const group = (await this.statusNow(node))?.groups.find((each) => each.groupId === groupId);
        if (group?.role === "leader" && group.commitIndex > 0) leader = node;
      }
      return leader !== undefined;
    });
    if (leader === undefined) throw new Error("no leader");
    return leader;
  }

  /**
   * Waits until all running nodes have applied the same of every group, and answers the digests by group. Fails where
   * two nodes that stand at the same index hold different state.
   */
  async settled(): Promise<Map<number, string>> {
    const digests = new Map<number, string>();
    let seen = "";
    await until("all nodes have applied the same", async () => {
      const all = await Promise.all(this.nodes.filter((each) => each.running).map((node) => this.statusNow(node)));
      seen = all.map((each) => each?.groups.map((group) => `${group.groupId}:${group.role}@${group.appliedIndex}/${group.commitIndex}`).join(" ") ?? "silent").join(" | ");
      digests.clear();
      for (let groupId = 0; groupId <= this.groups; groupId++) {
        const here = all.map((each) => each?.groups.find((group) => group.groupId === groupId));
        expectEqualDigests(here);
        const first = here[0];
        if (first === undefined || !here.every((group) => group !== undefined && group.appliedIndex === first.appliedIndex && group.commitIndex === first.appliedIndex && group.pending === 0)) return false;
        if (!here.some((group) => group?.role === "leader")) return false;
        digests.set(groupId, first.stateDigest);
      }
      return true;
    }, () => seen);
    return digests;
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.close();
    for (const { consistency } of this.#stubs.values()) consistency.close();
    await Promise.all(this.#joined.map((node) => node.stop()));
    await this.mesh.stop();
    rmSync(this.#dataDir, { recursive: true, force: true });
  }
}

function expectEqualDigests(groups: readonly (GroupStatus | undefined)[]): void {
  for (const a of groups) {
    for (const b of groups) {
      if (a === undefined || b === undefined || a.appliedIndex !== b.appliedIndex || a.stateDigest === b.stateDigest) continue;
      throw new Error(`group ${a.groupId} diverged at index ${a.appliedIndex}: ${a.stateDigest} and ${b.stateDigest}`);
    }
  }
}

/** Starts a mesh with quiet logs in a folder of its own. */
export async function startCluster(options: Omit<MeshOptions, "dataDir" | "groups"> & { readonly groups?: number } = {}): Promise<Cluster> {
  const dataDir = mkdtempSync(join(tmpdir(), "statemesh-system-"));
  const groups = options.groups ?? 4;
  const quiet = ["--log-level", "warn"];
  const more = options.extraFlags ?? {};
  const services = ["consensus-node", "conflict-arbiter", "region-store"];
  const extraFlags = Object.fromEntries(services.map((service) => [service, [...quiet, ...(more[service] ?? [])]]));
  const mesh = await startMesh({ nodes: 3, ...options, groups, dataDir, extraFlags });
  return new Cluster(mesh, groups, dataDir);
}

/** Regions of a group, each in a sector of its own. */
export function regionsOfGroup(groupId: number, groups: number, count: number): Region[] {
  const found: Region[] = [];
  for (let x = 0; found.length < count; x += 8) {
    const region = { x, y: 0, z: 0 };
    if (groupOf(region, groups) === groupId) found.push(region);
  }
  return found;
}
