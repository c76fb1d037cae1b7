import { MeshError } from "@statemesh/contract";
import { type SqlSession, type Statement, WorkConflict } from "../sql/database.ts";

export const OWNER: Statement = { name: "owning_cluster", text: "SELECT cluster_id FROM owning_cluster WHERE id = 1" };
// Whoever comes second waits for the first to commit or roll back.
const CLAIM: Statement = {
  name: "owning_cluster_claim",
  text: "INSERT INTO owning_cluster (id, cluster_id) VALUES (1, $1) ON CONFLICT (id) DO NOTHING",
};

/** Makes the store this cluster's where it is nobody's. Throws CLUSTER_MISMATCH where it is another's. */
export async function claimStore(session: SqlSession, clusterId: string): Promise<void> {
  let owner = await find(session);
  if (owner === undefined) {
    await session.run(CLAIM, [clusterId]);
    owner = await find(session);
    if (owner === undefined) throw new WorkConflict("the row of the owning cluster cannot be seen yet");
  }
  checkOwner(owner, clusterId);
}

/** The cluster whose state is here, of what `OWNER` found; undefined: nobody's yet. */
export function ownerOf(rows: readonly { cluster_id: string }[]): string | undefined {
  return rows[0]?.cluster_id;
}

async function find(session: SqlSession): Promise<string | undefined> {
  return ownerOf((await session.run<{ cluster_id: string }>(OWNER, [])).rows);
}

/** Throws CLUSTER_MISMATCH. */
export function checkOwner(owner: string | undefined, clusterId: string): void {
  if (owner === undefined || owner === clusterId) return;
  throw new MeshError("CLUSTER_MISMATCH", `this region store holds the state of cluster ${owner}, not of ${clusterId}`, { metadata: { stored_cluster_id: owner } });
}
