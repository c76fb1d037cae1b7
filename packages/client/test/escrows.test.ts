import { type CloseEscrowRequest, Escrow, EscrowState, GetStatusResponse, type ExecuteRequest, type ListEscrowsRequest, MeshError, Outcome, type SpendEscrowRequest } from "@statemesh/contract";
import { afterEach, describe, expect, test } from "vitest";
import { connect, type MeshClient } from "../src/index.ts";
import { accepted, type Answers, FakeNode } from "./fake-node.ts";

const REGION = { x: 1, y: 0, z: 0 };
let nodes: FakeNode[] = [];
let client: MeshClient | undefined;

afterEach(() => {
  client?.close();
  for (const node of nodes) node.kill();
  nodes = [];
});

async function start(...answers: Answers[]): Promise<MeshClient> {
  nodes = await Promise.all(answers.map((each) => FakeNode.start(each)));
  client = connect({ endpoints: nodes.map(({ address }) => address), serverId: 7, name: "shard-7", backoffMinMs: 1, backoffMaxMs: 20 });
  return client;
}

describe("escrows", () => {
  test("are opened with the node that the server talks to, and spent from there, whoever leads", async () => {
    const spent: SpendEscrowRequest[] = [];
    let opened: ExecuteRequest | undefined;
    const mesh = await start(
      {
        unary: {
          getStatus: () => GetStatusResponse.fromPartial({ nodeId: 4 }),
          execute: (request: ExecuteRequest) => {
            opened = request;
            return { decision: accepted(request.operation?.operationId ?? "") };
          },
          spendEscrow: (request: SpendEscrowRequest) => {
            spent.push(request);
            return { left: 40, position: undefined, repeated: false };
          },
        },
      },
      {},
    );
    const { decision, escrow } = await mesh.escrows.open({ region: REGION, epoch: 3 }, { playerId: "ann", itemKind: "gold", quantity: 50, lastsMs: 60_000 });
    expect(decision.outcome).toBe(Outcome.ACCEPTED);
    expect(opened?.operation).toMatchObject({ type: "escrow_opening", authorityEpoch: 3, body: { value: { playerId: "ann", itemKind: "gold", quantity: 50, nodeId: 4, spenderServerId: 7 } } });
    expect(await escrow?.spend({ quantity: 10, toPlayerId: "bob" })).toMatchObject({ left: 40 });
    expect(spent).toMatchObject([{ serverId: 7, region: REGION, escrowId: escrow?.escrowId, quantity: 10, toPlayerId: "bob" }]);
    expect(spent[0]?.timestampMs).toBeGreaterThan(0);
  });

  test("that are rejected have no handle", async () => {
    const mesh = await start({
      unary: { getStatus: () => GetStatusResponse.fromPartial({ nodeId: 1 }), execute: ({ operation }: ExecuteRequest) => ({ decision: { ...accepted(operation?.operationId ?? ""), outcome: Outcome.REJECTED, reason: "INSUFFICIENT_ITEMS" } }) },
    });
    const { decision, escrow } = await mesh.escrows.open({ region: REGION, epoch: 0 }, { playerId: "ann", itemKind: "gold", quantity: 50 });
    expect([decision.reason, escrow]).toEqual(["INSUFFICIENT_ITEMS", undefined]);
  });

  test("of an earlier process are found at the node that keeps them, wherever that is, and an answer that was lost is asked for again there", async () => {
    const elsewhere = (): never => {
      throw new MeshError("ESCROW_ELSEWHERE", "node 3 keeps it", { metadata: { node_id: "3", node_address: "unknown:1" } });
    };
    const ids: string[] = [];
    const keeper: Answers = {
      unary: {
        spendEscrow: ({ operationId }: SpendEscrowRequest) => {
          ids.push(operationId);
          if (ids.length === 1) throw new MeshError("OUTCOME_UNKNOWN", "lost");
          return { left: 1, position: undefined, repeated: ids.length > 1 };
        },
        closeEscrow: ({ escrowId }: CloseEscrowRequest) => ({ escrow: Escrow.fromPartial({ escrowId, state: EscrowState.CLOSING }) }),
        listEscrows: ({ escrowId, stale }: ListEscrowsRequest) => ({ escrows: [Escrow.fromPartial({ escrowId, spentAside: stale ? 2 : 0 })], nextPageToken: "" }),
      },
    };
    const mesh = await start({ unary: { spendEscrow: elsewhere } }, { unary: { spendEscrow: elsewhere } }, keeper);
    const escrow = mesh.escrows.at(REGION, "shop");
    expect(await escrow.spend({ quantity: 1 })).toMatchObject({ left: 1, repeated: true });
    expect(new Set(ids).size).toBe(1);
    expect((await escrow.close()).state).toBe(EscrowState.CLOSING);
    expect(await escrow.state()).toMatchObject({ escrowId: "shop", spentAside: 2 });
  });

  test("are asked for again at their node also where that let the first attempt run out and another one said that it keeps nothing", async () => {
    const ids: string[] = [];
    let at = "";
    const keeper: Answers = {
      unary: {
        spendEscrow: ({ operationId, timestampMs }: SpendEscrowRequest) => {
          ids.push(`${operationId} ${timestampMs}`);
          if (ids.length === 1) throw new MeshError("OUTCOME_UNKNOWN", "it hung");
          return { left: 1, position: undefined, repeated: true };
        },
      },
    };
    const other: Answers = {
      unary: {
        spendEscrow: () => {
          throw new MeshError("ESCROW_ELSEWHERE", "node 1 keeps it", { metadata: { node_id: "1", node_address: at } });
        },
      },
    };
    const mesh = await start(keeper, other);
    at = nodes[0]?.address ?? "";
    expect(await mesh.escrows.at(REGION, "shop").spend({ quantity: 1 })).toMatchObject({ left: 1, repeated: true });
    expect(ids).toEqual([ids[0], ids[0]]);
  });

  test("that have not enough left say so, and are not asked again", async () => {
    let asked = 0;
    const mesh = await start({
      unary: {
        spendEscrow: () => {
          asked++;
          throw new MeshError("ESCROW_EXHAUSTED", "3 left", { metadata: { left: "3" } });
        },
      },
    });
    await expect(mesh.escrows.at(REGION, "shop").spend({ quantity: 4 })).rejects.toMatchObject({ reason: "ESCROW_EXHAUSTED", metadata: { left: "3" } });
    expect(asked).toBe(1);
  });
});
