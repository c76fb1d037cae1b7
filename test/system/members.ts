/** More nodes for a mesh that runs, and calls about its members. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import {
  ClusterAdminServiceService, type GroupChangeProgress, type ListMemberChangesResponse, type MemberChange, MemberChangeState, MeshError,
} from "@statemesh/contract";
import { call } from "@statemesh/service";
import { LOCAL_CLUSTER, NodeProcess } from "../../tools/mesh-processes.ts";
import { StablePorts } from "../../tools/stable-ports.ts";
import { type Cluster, LIMIT_MS, until } from "./cluster.ts";

const TIMEOUT_MS = 15_000;
const ports = new StablePorts();

type Admin = typeof ClusterAdminServiceService;

/** A node that founds nothing and is expected to become node `nodeId`; not started. */
export async function newcomer(cluster: Cluster, nodeId: number, flags: readonly string[]): Promise<NodeProcess> {
  const name = `node-${nodeId}`;
  const address = `127.0.0.1:${await ports.take(undefined)}`;
  const metricsAddress = `127.0.0.1:${await ports.take(undefined)}`;
  const own = [
    "--cluster-id", LOCAL_CLUSTER, "--listen-address", address, "--advertise-address", address, "--metrics-address", metricsAddress, "--groups", String(cluster.groups),
    "--data-dir", join(cluster.dataDir, name), "--log-level", "info", ...flags,
  ];
  const spec = { name, service: "consensus-node" as const, flags: own, address, metricsAddress, logFile: join(cluster.dataDir, "logs", `${name}.log`) };
  return new NodeProcess(nodeId, spec);
}

/** The data folder of a node is gone. */
export function wipe(cluster: Cluster, name: string): void {
  rmSync(join(cluster.dataDir, name), { recursive: true, force: true });
}

/** Calls about members, to one address. */
export class MemberCalls {
  readonly #cluster: Cluster;
  readonly #address: string;

  constructor(cluster: Cluster, address: string) {
    this.#cluster = cluster;
    this.#address = address;
  }

  async add(request: Partial<Parameters<Admin["addMember"]["requestSerialize"]>[0]>): Promise<MemberChange> {
    return changed(await this.#call("addMember", { address: "", nodeId: 0, changeId: "", dryRun: false, ...request }));
  }

  async remove(nodeId: number, dryRun = false): Promise<MemberChange> {
    return changed(await this.#call("removeMember", { nodeId, changeId: "", dryRun }));
  }

  async replace(request: Partial<Parameters<Admin["replaceMember"]["requestSerialize"]>[0]>): Promise<MemberChange> {
    return changed(await this.#call("replaceMember", { nodeId: 0, address: "", newNodeId: 0, changeId: "", dryRun: false, ...request }));
  }

  async cancel(changeId: string): Promise<MemberChange> {
    return changed(await this.#call("cancelMemberChange", { changeId, dryRun: false }));
  }

  /** Groups that the node still leads. */
  async drain(): Promise<readonly number[]> {
    return (await this.#call("drainNode", { dryRun: false })).keptGroupIds;
  }

  async changes(): Promise<ListMemberChangesResponse> {
    return this.#call("listMemberChanges", {});
  }

  async members(): Promise<number[]> {
    return (await this.#call("listMembers", {})).members.map(({ nodeId }) => nodeId);
  }

  /** The members are on record: the cluster works at a version that keeps them. */
  async onRecord(): Promise<void> {
    await until("the members are on record", async () => (await this.members()).length > 0);
  }

  /** Waits until a change has ended; answers the progress that was seen on the way. */
  async ended(changeId: string, state: MemberChangeState = MemberChangeState.DONE): Promise<GroupChangeProgress[]> {
    const seen: GroupChangeProgress[] = [];
    let last: ListMemberChangesResponse | undefined;
    await until(
      `${changeId} has ended`,
      async () => {
        try {
          last = await this.changes();
        } catch (error) {
          if (MeshError.from(error).reason === "INTERNAL") throw error;
          return false;
        }
        seen.push(...last.progress);
        return last.changes.find((change) => change.changeId === changeId)?.state === state;
      },
      () => JSON.stringify(last),
      LIMIT_MS,
    );
    return seen;
  }

  async #call<K extends keyof Admin>(method: K, request: Parameters<Admin[K]["requestSerialize"]>[0]): Promise<ReturnType<Admin[K]["responseDeserialize"]>> {
    const { admin } = this.#cluster.stubs(this.#address);
    const definition = ClusterAdminServiceService[method] as unknown as Parameters<typeof call<typeof request, ReturnType<Admin[K]["responseDeserialize"]>>>[1];
    return call(admin, definition, request, { timeoutMs: TIMEOUT_MS, writes: true });
  }
}

function changed({ change }: { change: MemberChange | undefined }): MemberChange {
  if (change === undefined) throw new Error("an answer without a change");
  return change;
}
