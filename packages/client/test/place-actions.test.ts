import { type Decision, Entity, type ExecuteRequest, Outcome, type Operation } from "@statemesh/contract";
import { afterEach, describe, expect, it } from "vitest";
import { connect, isInForce, type MeshClient, OperationBuilder, strongType } from "../src/index.ts";
import { accepted, FakeNode } from "./fake-node.ts";

const place = { region: { x: 0, y: 0, z: 0 }, epoch: 3 };
const closing: (() => void)[] = [];

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function recording(): Promise<{ client: MeshClient; seen: Operation[] }> {
  const seen: Operation[] = [];
  const node = await FakeNode.start({ unary: { execute: ({ operation }: ExecuteRequest) => {
    if (operation !== undefined) seen.push(operation);
    return { decision: accepted(operation?.operationId ?? "") };
  } } });
  const client = connect({ endpoints: [node.address], serverId: 7, name: "seven" });
  closing.push(() => client.close(), () => node.kill());
  return { client, seen };
}

describe("what is done at a place", () => {
  it("is built and decided in one call, also of a studio's own types", async () => {
    const { client, seen } = await recording();
    const here = client.at(place);
    expect(isInForce(await here.itemPickup({ itemId: "sword", playerId: "ann" }))).toBe(true);
    await here.transfer({ playerId: "ann", counterpartyId: "ben", itemKind: "gold", quantity: 2 }, { operationId: "chosen" });
    const carts = strongType<{ driver: string }>("cart");
    await here.put(carts, { entityId: "cart-3", state: { driver: "ann" } });
    await here.remove(carts, { entityId: "cart-3" });
    await here.create(carts, { entityId: "cart-4", state: { driver: "ben" } });
    await here.save(carts, { entityId: "cart-4", state: { driver: "ann" } });
    expect(seen.map(({ type, authorityEpoch }) => [type, authorityEpoch])).toEqual([["item_pickup", 3], ["player_inventory", 3], ["cart", 3], ["cart", 3], ["cart", 3], ["cart", 3]]);
    expect(seen[1]?.operationId).toBe("chosen");
  });

  it("is every operation that there is a builder for", async () => {
    const { client } = await recording();
    const builders = Object.getOwnPropertyNames(OperationBuilder.prototype).filter((name) => name !== "constructor" && name !== "custom");
    expect(Object.keys(client.at(place)).sort()).toEqual(builders.sort());
  });

  it("goes on a stream where one is given", async () => {
    const { client } = await recording();
    const seen: Operation[] = [];
    const via = { execute: async (operation: Operation): Promise<Decision> => (seen.push(operation), await Promise.resolve({ ...accepted(operation.operationId), outcome: Outcome.REJECTED })) };
    expect(isInForce(await client.at(place, via).mint({ playerId: "ann", itemKind: "gold", quantity: 1 }))).toBe(false);
    expect(seen).toHaveLength(1);
  });

  it("lists a player's containers page by page", async () => {
    const asked: string[] = [];
    const node = await FakeNode.start({ unary: { listContainers: ({ playerId, pageToken }: { playerId: string; pageToken: string }) => {
      asked.push(`${playerId} ${pageToken}`);
      return { containers: [Entity.fromPartial({ kind: "container", entityId: pageToken === "" ? "bag" : "chest" })], nextPageToken: pageToken === "" ? "more" : "", positions: [] };
    } } });
    const client = connect({ endpoints: [node.address], serverId: 7, name: "seven" });
    closing.push(() => client.close(), () => node.kill());
    const ids: string[] = [];
    for await (const { entityId } of client.containersOf("ann")) ids.push(entityId);
    expect([ids, asked]).toEqual([["bag", "chest"], ["ann ", "ann more"]]);
  });
});
