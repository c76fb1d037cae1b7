// What a node asks other nodes about the members: who answers at an address, and how the groups that they lead stand.
import {
  ClusterAdminServiceClient, ClusterAdminServiceService, type GetStatusResponse, type IdentifyResponse, MeshError, RaftPeerServiceClient, RaftPeerServiceService,
} from "@statemesh/contract";
import { call, connect } from "@statemesh/service";

const IDENTIFY_TIMEOUT_MS = 2_000;
const STATUS_TIMEOUT_MS = 1_000;

/** Who answers at an address; UNREACHABLE where nobody does. */
export async function identify(address: string): Promise<IdentifyResponse> {
  const client = connect(RaftPeerServiceClient, address, { ownConnection: true });
  try {
    return await call(client, RaftPeerServiceService.identify, {}, { timeoutMs: IDENTIFY_TIMEOUT_MS, writes: false });
  } catch (error) {
    throw new MeshError("UNREACHABLE", `no node answers at ${address}: start it first, with --join`, { metadata: { address }, cause: error });
  } finally {
    client.close();
  }
}

/** The states of nodes that answer in time. */
export async function statuses(addresses: readonly string[]): Promise<GetStatusResponse[]> {
  const answers = await Promise.all(
    addresses.map(async (address) => {
      // The process's shared connection to that address.
      const client = connect(ClusterAdminServiceClient, address);
      try {
        return await call(client, ClusterAdminServiceService.getStatus, {}, { timeoutMs: STATUS_TIMEOUT_MS, writes: false });
      } catch {
        return undefined;
      } finally {
        client.close();
      }
    }),
  );
  return answers.filter((answer) => answer !== undefined);
}
