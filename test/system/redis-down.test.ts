import { connect } from "node:net";
import { LoadRegionResponse, type LoadRegionRequest, RegionStoreServiceClient, RegionStoreServiceService } from "@statemesh/contract";
import { call, clientOptions } from "@statemesh/service";
import { credentials } from "@grpc/grpc-js";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LocalPostgres, startPostgres } from "../../tools/local-postgres.ts";
import { type LocalRedis, startRedis } from "../../tools/local-redis.ts";
import { ServiceProcess } from "../../tools/service-process.ts";
import { StablePorts } from "../../tools/stable-ports.ts";
import { until } from "./cluster.ts";

const DATABASE = "world";

/** A replica of the region store. */
interface Replica {
  readonly process: ServiceProcess;
  readonly client: RegionStoreServiceClient;
}

describe("two replicas of the region store with Redis", () => {
  let folder: string;
  let postgres: LocalPostgres;
  let redis: LocalRedis;
  let one: Replica;
  let two: Replica;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "statemesh-redis-"));
    postgres = await startPostgres({ dataDir: join(folder, "data"), databases: [DATABASE] });
    redis = await startRedis();
    const ports = new StablePorts();
    const start = async (name: string): Promise<Replica> => {
      const address = `127.0.0.1:${await ports.take()}`;
      const metricsAddress = `127.0.0.1:${await ports.take()}`;
      const flags = ["--listen-address", address, "--metrics-address", metricsAddress, "--database-url", postgres.urlOf(DATABASE), "--redis-url", redis.url, "--log-level", "warn"];
      const process = new ServiceProcess({ name, service: "region-store", flags, address, metricsAddress, logFile: join(folder, `${name}.log`) });
      await process.start();
      return { process, client: new RegionStoreServiceClient(address, credentials.createInsecure(), clientOptions({ ownConnection: true })) };
    };
    one = await start("store-1");
    two = await start("store-2");
  });

  afterAll(async () => {
    for (const { client, process } of [one, two]) {
      client.close();
      await process.stop();
    }
    await redis.stop();
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const region = (x: number) => ({ x, y: 0, z: 0 });

  async function store(replica: Replica, x: number, value: string): Promise<number> {
    const request = { region: region(x), attributes: new Map([["value", value]]), layers: [], epoch: 0, expectedVersion: undefined, requestId: "" };
    return (await call(replica.client, RegionStoreServiceService.storeRegion, request, { timeoutMs: 10_000, writes: true })).version;
  }

  async function load(replica: Replica, x: number): Promise<{ value: string | undefined; tier: string; version: number | undefined }> {
    const request: LoadRegionRequest = { region: region(x), regionText: "", withoutLayerData: false, withoutEntities: false, bypassCache: false };
    const { record, tier } = LoadRegionResponse.fromPartial(await call(replica.client, RegionStoreServiceService.loadRegion, request, { timeoutMs: 10_000, writes: false }));
    return { value: record?.attributes.get("value"), tier, version: record?.version };
  }

  /** Loads until the answer comes out of this replica's memory. */
  async function warm(replica: Replica, x: number): Promise<void> {
    await until("the region is in memory", async () => (await load(replica, x)).tier === "memory");
  }

  /** Writes through one replica are what the other answers, also where it had something else in its memory. */
  async function expectCoherent(x: number, rounds: number, warmed: boolean): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      const [writer, reader] = round % 2 === 0 ? [one, two] : [two, one];
      if (warmed) {
        await warm(reader, x);
        await warm(writer, x);
      }
      const value = `${x}-${round}`;
      const version = await store(writer, x, value);
      // Who wrote sees it at once; the other as soon as it has heard, and never goes back afterwards.
      expect(await load(writer, x)).toMatchObject({ value, version });
      await until("the other replica answers what was written", async () => (await load(reader, x)).value === value);
      for (let again = 0; again < 5; again++) expect(await load(reader, x)).toMatchObject({ value, version });
    }
  }

  test("share what one loaded, and forget what the other changed", async () => {
    await store(one, 1, "first");
    await load(one, 1);
    await until("the other replica finds it in Redis", async () => {
      await load(one, 1);
      return (await load(two, 1)).tier !== "sql";
    });
    await expectCoherent(2, 20, false);
    await store(one, 3, "warm");
    await expectCoherent(3, 20, true);
  });

  test("without Redis: loads are correct, writes are visible at once on both; with it again they are cached again", async () => {
    await store(one, 4, "before");
    await warm(one, 4);
    await warm(two, 4);
    const { port } = redis;
    redis.kill();
    await until("Redis is gone", async () => await new Promise((done) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => {
        socket.destroy();
        done(false);
      });
      socket.once("error", () => done(true));
    }));
    await until("the replicas have noticed", async () => (await load(one, 4)).tier === "sql" && (await load(two, 4)).tier === "sql");
    for (let round = 0; round < 10; round++) {
      const [writer, reader] = round % 2 === 0 ? [one, two] : [two, one];
      const version = await store(writer, 4, `down-${round}`);
      // Nobody tells the other what changed, so it believes no copy of its own.
      for (const replica of [writer, reader]) expect(await load(replica, 4)).toEqual({ value: `down-${round}`, tier: "sql", version });
    }
    await until("the replicas still serve", async () => {
      await Promise.all([one.process.waitUntilServing(), two.process.waitUntilServing()]);
      return true;
    });

    redis = await startRedis({ port });
    await warm(one, 4);
    await warm(two, 4);
    expect((await load(one, 4)).value).toBe("down-9");
    expect((await load(two, 4)).value).toBe("down-9");
    await expectCoherent(4, 20, true);
  });

  test("a Redis that hangs is passed over, and what was written meanwhile is not answered with its old copies", async () => {
    await store(one, 5, "before");
    await warm(one, 5);
    await warm(two, 5);
    redis.pause();
    const version = await store(one, 5, "while it hung");
    expect(await load(one, 5)).toMatchObject({ value: "while it hung", version });
    redis.resume();
    await until("the other replica answers what was written", async () => (await load(two, 5)).value === "while it hung");
    for (let again = 0; again < 20; again++) {
      expect(await load(one, 5)).toMatchObject({ value: "while it hung", version });
      expect(await load(two, 5)).toMatchObject({ value: "while it hung", version });
    }
    await expectCoherent(5, 6, true);
  });
});
