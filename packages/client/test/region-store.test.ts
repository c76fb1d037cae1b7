import {
  LoadRegionResponse, MeshError, QueryEntitiesResponse, type QueryEntitiesRequest, type ReadCausalHistoryRequest, ReadCausalHistoryResponse, type Region, type StoreRegionRequest, StoreRegionResponse,
} from "@statemesh/contract";
import { afterEach, describe, expect, it } from "vitest";
import { connect, type MeshClient } from "../src/index.ts";
import { FakeNode } from "./fake-node.ts";

const region: Region = { x: 0, y: 0, z: 0 };
const closing: (() => void)[] = [];

async function clientOf(...answers: Record<string, (request: never) => unknown>[]): Promise<MeshClient> {
  const stores = await Promise.all(answers.map(async (unary) => FakeNode.start({ unary })));
  const client = connect({
    endpoints: ["127.0.0.1:1"], storeEndpoints: stores.map(({ address }) => address), serverId: 7, name: "seven", backoffMinMs: 1, backoffMaxMs: 5, hedgePercent: 0,
  });
  closing.push(() => client.close(), ...stores.map((store) => () => store.kill()));
  return client;
}

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

describe("the region store of a client", () => {
  it("stores once under one id, however often it is sent, with the epoch of the lease", async () => {
    const seen: StoreRegionRequest[] = [];
    const lost = (request: StoreRegionRequest): never => {
      seen.push(request);
      throw new MeshError("OUTCOME_UNKNOWN", "the connection broke at COMMIT");
    };
    const client = await clientOf({ storeRegion: lost }, {
      storeRegion: (request: StoreRegionRequest) => {
        seen.push(request);
        return StoreRegionResponse.fromPartial({ version: 4 });
      },
    });
    const layers = [{ name: "terrain", data: Uint8Array.of(1, 2), contentType: "" }];
    expect((await client.store.store({ region, epoch: 9 }, { layers }, { expectedVersion: 3 })).version).toBe(4);
    expect(seen).toHaveLength(2);
    expect(seen[0]?.requestId).not.toBe("");
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[0]).toMatchObject({ epoch: 9, expectedVersion: 3, region });
  });

  it("hands a refusal to the caller", async () => {
    const client = await clientOf({
      deleteRegion: () => {
        throw new MeshError("FENCED", "stale", { metadata: { current_epoch: "10" } });
      },
      patchRegion: () => {
        throw new MeshError("NOT_FOUND", "not stored");
      },
    });
    await expect(client.store.remove({ region, epoch: 9 })).rejects.toMatchObject({ reason: "FENCED" });
    await expect(client.store.patch({ region, epoch: 9 }, { removeLayers: ["terrain"] })).rejects.toMatchObject({ reason: "NOT_FOUND" });
  });

  it("loads, and reads pages one after the other", async () => {
    const asked: string[] = [];
    const client = await clientOf({
      loadRegion: () => LoadRegionResponse.fromPartial({ tier: "memory" }),
      queryEntities: ({ pageToken, kinds }: QueryEntitiesRequest) => {
        asked.push(pageToken);
        expect(kinds).toEqual(["cart"]);
        return QueryEntitiesResponse.fromPartial(pageToken === "" ? { entities: [{ entityId: "a" }], nextPageToken: "two" } : { entities: [{ entityId: "b" }] });
      },
    });
    expect((await client.store.load(region)).tier).toBe("memory");
    const found: string[] = [];
    for await (const { entityId } of client.store.entities({ $case: "position", value: { x: 1, y: 1, z: 1 } }, ["cart"])) found.push(entityId);
    expect([found, asked]).toEqual([["a", "b"], ["", "two"]]);
  });

  it("reads the history of a region to its end, or a page of it with what to go on with", async () => {
    const client = await clientOf({
      readCausalHistory: ({ pageToken }: ReadCausalHistoryRequest) => {
        if (pageToken === "gone") throw new MeshError("HISTORY_TRIMMED", "kept no more");
        const stored = (sequence: number) => ({ event: { id: { origin: 1, sequence } }, storedAtMs: 5 });
        return ReadCausalHistoryResponse.fromPartial(pageToken === "" ? { events: [stored(1), stored(2)], nextPageToken: "two", resumeToken: "two" } : { events: [stored(3)], resumeToken: "three" });
      },
    });
    const seen: number[] = [];
    for await (const { event } of client.store.history(region)) seen.push(event?.id?.sequence ?? 0);
    expect(seen).toEqual([1, 2, 3]);
    expect((await client.store.historyPage(region, { pageToken: "two" })).resumeToken).toBe("three");
    await expect(client.store.history(region, "gone").next()).rejects.toMatchObject({ reason: "HISTORY_TRIMMED" });
  });

  it("says what is missing where the client knows of no region store", async () => {
    const client = connect({ endpoints: ["127.0.0.1:1"], serverId: 7, name: "seven" });
    closing.push(() => client.close());
    await expect(client.store.load(region)).rejects.toThrow("storeEndpoints");
    expect(() => connect({ endpoints: ["a:1"], storeEndpoints: ["nowhere"], serverId: 1, name: "x" })).toThrow("storeEndpoints");
  });
});
