import { Server, ServerCredentials } from "@grpc/grpc-js";
import { type GetWatermarksResponse, RegionStoreServiceService } from "@statemesh/contract";
import type { Logger } from "@statemesh/service";
import { afterEach, expect, it } from "vitest";
import { StoreLink } from "../src/store-link.ts";

const closing: (() => void)[] = [];

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

it("an older region store, which takes strong state only, is named once for each thing that it does not take, and goes on being used", async () => {
  const server = new Server();
  // What a region store knew before eventual values and causal events.
  server.addService({ getWatermarks: RegionStoreServiceService.getWatermarks }, {
    getWatermarks: (_call: unknown, answer: (error: null, response: GetWatermarksResponse) => void) => answer(null, { watermarks: new Map([[1, 7]]) }),
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  const said: string[] = [];
  const log = { error: (message: string) => said.push(message), warn: (_fields: object, message: string) => said.push(message), info: (message: string) => said.push(message) } as unknown as Logger;
  const link = new StoreLink(`127.0.0.1:${port}`, "cluster", 5_000, log);
  closing.push(() => link.close(), () => server.forceShutdown());

  const group = { groupId: 1, term: 1, origins: [], events: [] };
  for (let time = 0; time < 2; time += 1) {
    expect(await new Promise((done) => link.storeCausal([group], done))).toBeUndefined();
    expect(await new Promise((done) => link.storeEventual([], 0, done))).toBe(false);
  }
  expect(await new Promise((done) => link.watermarks(done))).toEqual(new Map([[1, 7]]));
  expect(said).toEqual([expect.stringContaining("too old to keep causal events"), expect.stringContaining("too old to keep eventual values")]);
});
