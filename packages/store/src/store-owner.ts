// Whose state a store holds: the first cluster that writes makes it its own.
import { MeshError } from "@statemesh/contract";
import { WorkConflict } from "./work-runner.ts";

/** The row that says whose a store is, in a transaction. */
export interface StoreOwnerRows {
  /** The cluster whose state is here; undefined: nobody's yet. */
  owner(): Promise<string | undefined>;
  /** Makes the store this cluster's where it is nobody's. */
  claim(clusterId: string): Promise<void>;
}

/** Makes the store this cluster's where it is nobody's. Throws CLUSTER_MISMATCH where it is another's. */
export async function claimStore(rows: StoreOwnerRows, clusterId: string): Promise<void> {
  let owner = await rows.owner();
  if (owner === undefined) {
    await rows.claim(clusterId);
    owner = await rows.owner();
    if (owner === undefined) throw new WorkConflict("the row of the owning cluster cannot be seen yet");
  }
  checkOwner(owner, clusterId);
}

/** Throws CLUSTER_MISMATCH. */
export function checkOwner(owner: string | undefined, clusterId: string): void {
  if (owner === undefined || owner === clusterId) return;
  throw new MeshError("CLUSTER_MISMATCH", `this region store holds the state of cluster ${owner}, not of ${clusterId}`, { metadata: { stored_cluster_id: owner } });
}
