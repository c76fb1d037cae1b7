import type { SqlSession, Statement } from "../sql/database.ts";

const OWNER: Statement = { name: "owning_cluster", text: "SELECT cluster_id FROM owning_cluster WHERE id = 1" };
// Whoever comes second waits for the first to commit or roll back.
const CLAIM: Statement = {
  name: "owning_cluster_claim",
  text: "INSERT INTO owning_cluster (id, cluster_id) VALUES (1, $1) ON CONFLICT (id) DO NOTHING",
};

/** See MaterializationRows.owner. */
export async function findOwner(session: SqlSession): Promise<string | undefined> {
  return (await session.run<{ cluster_id: string }>(OWNER, [])).rows[0]?.cluster_id;
}

/** See MaterializationRows.claim. */
export async function claimOwner(session: SqlSession, clusterId: string): Promise<void> {
  await session.run(CLAIM, [clusterId]);
}
