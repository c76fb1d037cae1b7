// Nodes and arbiters that were given different policy files: seen, said, and nothing is decided by the wrong one.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConflictArbiterServiceService, Outcome } from "@statemesh/contract";
import { call } from "@statemesh/service";
import { parsePolicy } from "@statemesh/world";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Cluster, regionsOfGroup, startCluster, until } from "./cluster.ts";

/** Under it the server with the lower id wins, whenever it came. */
const POLICY = "version: 1\ntypes:\n  resource_claim:\n    chain: [server_id, operation_id]\n";

let folder = "";
let cluster: Cluster;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "statemesh-policy-"));
  const file = join(folder, "policy.yaml");
  writeFileSync(file, POLICY);
  cluster = await startCluster({ groups: 1, extraFlags: { "consensus-node": ["--policy-file", file] } });
});

afterAll(async () => {
  await cluster.close();
  rmSync(folder, { recursive: true, force: true });
});

test("an arbiter of another policy decides nothing: leaders do, by their own, and status, log and metrics say so", async () => {
  const { digest } = parsePolicy(POLICY, "policy.yaml");
  const arbiter = cluster.mesh.arbiter ?? expect.fail("no arbiter");
  const shard = await cluster.server(7);
  const [region = { x: 0, y: 0, z: 0 }] = regionsOfGroup(1, 1, 1);
  expect(await shard.execute(shard.operations.resourceClaim({ region, epoch: 0 }, { resourceId: "ore", playerId: "ada" }))).toMatchObject({ outcome: Outcome.ACCEPTED });
  // Only where there is something to compare is an arbiter asked.
  const rival = await cluster.server(8);
  expect(await rival.execute(rival.operations.resourceClaim({ region, epoch: 0 }, { resourceId: "ore", playerId: "bob" }))).toMatchObject({ outcome: Outcome.REJECTED, rule: "incumbent" });

  const leader = await cluster.leaderOf(1);
  await until("the leader says whom it does not ask", async () => (await cluster.status(leader)).arbitersOfOtherPolicy.join() === arbiter.address);
  const { policyDigest, peers, arbiterFallbacks } = await cluster.status(leader);
  expect([policyDigest, ...peers.map((peer) => peer.policyDigest)]).toEqual([digest, digest, digest]);
  expect(arbiterFallbacks).toBeGreaterThan(0);
  const statistics = await call(cluster.stubs(arbiter.address).arbiter, ConflictArbiterServiceService.getStatistics, {}, { timeoutMs: 5_000, writes: false });
  expect(statistics.batches).toBe(0);
  expect(statistics.policyRefusals).toBeGreaterThan(0);
  expect(statistics.policyDigest).not.toBe(digest);
  expect(readFileSync(leader.spec.logFile, "utf8")).toContain("an arbiter goes by another policy: it decides nothing for this node");
  const metrics = await (await fetch(`http://${leader.metricsAddress}/metrics`)).text();
  expect(metrics).toContain(`statemesh_policy_info{digest="${digest}"} 1`);
  expect(metrics).toContain("statemesh_arbiters_of_other_policy 1");
  expect(metrics).toContain("statemesh_peers_of_other_policy 0");
});
