// Escrow by real processes: a node is cut off, spends what was set apart, is killed, comes back and is heard again.
import { afterAll, beforeAll, expect, test } from "vitest";
import { ClusterAdminServiceService, EscrowServiceService, EscrowState, MeshError, Outcome, type SpendEscrowResponse } from "@statemesh/contract";
import { call } from "@statemesh/service";
import { type Cluster, regionsOfGroup, startCluster, until } from "./cluster.ts";

let cluster: Cluster;

beforeAll(async () => {
  cluster = await startCluster({ groups: 1 });
});

afterAll(async () => cluster.close());

async function reasonOf(asked: Promise<unknown>): Promise<string> {
  return await asked.then(() => "", (error: unknown) => MeshError.from(error).reason);
}

test("what a node promises while it is cut off counts once after SIGKILL and healing, and never more than was set apart", async () => {
  const shard = await cluster.server(1);
  const [region = { x: 0, y: 0, z: 0 }] = regionsOfGroup(1, 1, 1);
  const leader = await cluster.leaderOf(1);
  await cluster.settled();
  const holder = cluster.nodes.find((node) => node !== leader);
  if (holder === undefined) throw new Error("no node to cut off");
  const others = cluster.nodes.filter((node) => node !== holder);
  const here = { region, epoch: 0 };
  const there = cluster.only(shard, holder);
  await shard.execute(shard.operations.mint(here, { playerId: "shop", itemKind: "gold", quantity: 100 }));
  const { decision, escrow } = await there.escrows.open(here, { playerId: "shop", itemKind: "gold", quantity: 60 });
  expect(decision).toMatchObject({ outcome: Outcome.ACCEPTED });
  if (escrow === undefined) throw new Error("no escrow");
  const { escrowId } = escrow;
  expect(await escrow.spend({ quantity: 5, toPlayerId: "ann", operationId: "before" })).toMatchObject({ left: 55 });
  // Another node says where it is kept.
  const wrong = call(cluster.stubs(leader.clientAddress).escrow, EscrowServiceService.spendEscrow, { operationId: "x", serverId: 1, region, escrowId, quantity: 1, toPlayerId: "", timestampMs: Date.now() }, { timeoutMs: 2_000, writes: true });
  await expect(wrong).rejects.toMatchObject({ reason: "ESCROW_ELSEWHERE", metadata: { node_address: holder.clientAddress } });

  // The holder stands alone: the others do nothing.
  for (const node of others) node.pause();
  const timestampMs = Date.now();
  await until("the node knows that it is cut off", async () => (await reasonOf(call(cluster.stubs(holder.clientAddress).escrow, EscrowServiceService.listEscrows, { region, escrowId: "", serverId: 0, playerId: "", includeClosed: false, stale: false, pageSize: 0, pageToken: "" }, { timeoutMs: 1_000, writes: false }))) === "MINORITY_PARTITION");
  const payments = Array.from({ length: 10 }, (_, i) => ({ quantity: 4, toPlayerId: `player-${i % 3}`, operationId: `cut-${i}`, timestampMs }));
  for (const payment of payments) expect(await escrow.spend(payment)).toMatchObject({ position: undefined, repeated: false });
  expect(await reasonOf(escrow.spend({ quantity: 16, toPlayerId: "ann" }))).toBe("ESCROW_EXHAUSTED");

  await holder.kill();
  holder.launch();
  for (const payment of payments) expect(await escrow.spend(payment, { deadlineMs: 30_000 })).toMatchObject({ left: 15, repeated: true });
  expect(await escrow.spend({ quantity: 10, operationId: "late", timestampMs: Date.now() })).toMatchObject({ left: 5 });
  expect(await escrow.state()).toMatchObject({ state: EscrowState.OPEN, quantity: 60, spentAside: expect.any(Number) });
  expect(await reasonOf(escrow.spend({ quantity: 6 }))).toBe("ESCROW_EXHAUSTED");

  // They meet again, and it is killed once more while it tells.
  for (const node of others) node.resume();
  await holder.kill();
  await holder.start();
  await until("everything that was promised is in the log", async () => {
    const { escrows } = await call(cluster.stubs(leader.clientAddress).escrow, EscrowServiceService.listEscrows, { region, escrowId, serverId: 0, playerId: "", includeClosed: false, stale: false, pageSize: 0, pageToken: "" }, { timeoutMs: 5_000, writes: false });
    return escrows[0]?.spent === 55;
  });
  for (const payment of payments) {
    const again: SpendEscrowResponse = await escrow.spend(payment);
    expect(again).toMatchObject({ left: 5, repeated: true });
  }
  expect(await escrow.close()).toMatchObject({ state: EscrowState.CLOSED, spent: 55, spendings: 12, returned: 5 });
  const accounts = ["shop", "ann", "player-0", "player-1", "player-2"];
  const { balances } = await shard.read({ region, accounts });
  expect(Object.fromEntries(balances.map(({ accountId, quantity }) => [accountId, quantity]))).toEqual({ shop: 45, ann: 5, "player-0": 16, "player-1": 12, "player-2": 12 });
  for (const node of cluster.nodes) {
    const proof = await call(cluster.stubs(node.clientAddress).admin, ClusterAdminServiceService.verifyConservation, { scope: undefined }, { timeoutMs: 10_000, writes: false });
    expect(proof).toMatchObject({ conserved: true, items: [{ itemKind: "gold", minted: 100, burned: 10, held: 90, inEscrow: 0 }] });
  }
  const listed: string[] = [];
  for (const { reportId } of await shard.healing.reports(1)) for await (const page of shard.healing.report(reportId)) for (const { operationId } of page.operations) listed.push(operationId);
  for (const { operationId } of payments) expect(listed).toContain(operationId);
});
