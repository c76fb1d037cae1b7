import { type Bounds, type Entity, type LoadRegionRequest, type MaterializeRequest, MeshError, type PatchRegionRequest, type Reason, type Region, type StoreRegionRequest } from "@statemesh/contract";
import { expect } from "vitest";
import { type LocalPostgres, startPostgres } from "../../../tools/local-postgres.ts";
import { RegionStore, type StoreSettings } from "../src/index.ts";

/** What tests are short of: requests with every field filled in. */

/** Whose state the stores of these tests hold. */
export const CLUSTER = "test";

export const region = (x: number, y = 0, z = 0): Region => ({ x, y, z });

export function storing(target: Region, more: Partial<StoreRegionRequest> = {}): StoreRegionRequest {
  return { region: target, attributes: new Map([["biome", "ash"]]), layers: [], epoch: 0, requestId: "", ...more };
}

export function patching(target: Region, more: Partial<PatchRegionRequest> = {}): PatchRegionRequest {
  return { region: target, setAttributes: new Map(), removeAttributes: [], setLayers: [], removeLayers: [], epoch: 0, requestId: "", ...more };
}

export function loading(target: Region, more: Partial<LoadRegionRequest> = {}): LoadRegionRequest {
  return { region: target, regionText: "", withoutLayerData: false, withoutEntities: false, bypassCache: false, ...more };
}

export function layer(name: string, text: string) {
  return { name, data: Buffer.from(text), contentType: "text/plain" };
}

export function entity(entityId: string, version: number, more: Partial<Entity> = {}): Entity {
  return {
    entityId, kind: "structure", region: region(0), version, operationId: `op-${version}`, serverId: 3, playerId: "ann", bounds: undefined, label: "wall",
    quantity: 0, attributes: new Map(), state: Buffer.alloc(0), stamp: undefined, epoch: 0, ...more,
  };
}

export function batch(afterIndex: number, throughIndex: number, more: Partial<MaterializeRequest> = {}): MaterializeRequest {
  return { clusterId: CLUSTER, groupId: 1, afterIndex, throughIndex, entities: [], removed: [], balances: [], epochs: [], totals: [], fullCopy: undefined, ...more };
}

export function bounds(minX: number, minY: number, minZ: number, maxX: number, maxY: number, maxZ: number): Bounds {
  return { minX, minY, minZ, maxX, maxY, maxZ };
}

/** The call is refused with the reason; answers the error. */
export async function refusal(call: Promise<unknown>, reason: Reason, field?: string): Promise<MeshError> {
  const error = await call.then(
    (value: unknown) => Promise.reject(new Error(`expected ${reason}, got ${JSON.stringify(value)}`)),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(MeshError);
  if (!(error instanceof MeshError)) throw error;
  expect({ reason: error.reason, message: error.message }).toMatchObject({ reason });
  if (field !== undefined) expect(error.field).toBe(field);
  return error;
}

/** Polls until the condition holds; it has twenty seconds. */
export async function eventually(condition: () => Promise<boolean> | boolean, what: string): Promise<void> {
  const until = performance.now() + 20_000;
  while (!(await condition())) {
    if (performance.now() > until) throw new Error(`never came: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A real PostgreSQL for one test file, and stores over databases of their own in it. */
export class TestWorld {
  readonly postgres: LocalPostgres;
  readonly #stores: RegionStore[] = [];
  #databases = 0;

  private constructor(postgres: LocalPostgres) {
    this.postgres = postgres;
  }

  static async start(): Promise<TestWorld> {
    return new TestWorld(await startPostgres());
  }

  /** A new database; it goes away with the server. */
  async database(): Promise<string> {
    return await this.postgres.createDatabase(`test_${++this.#databases}`);
  }

  /** A store over a database, ready unless told not to wait. */
  async store(databaseUrl: string, more: Partial<StoreSettings> = {}, wait = true): Promise<RegionStore> {
    const settings: StoreSettings = {
      databaseUrl, databasePoolSize: 8, databaseReservedConnections: 1, databaseBulkConnections: 2, databaseWaitingMax: 1_000, databaseConnectTimeoutMs: 1_000, databaseStatementTimeoutMs: 5_000,
      redisUrl: undefined, redisTimeoutMs: 200, redisPrefix: "test:", cacheTtlMs: 300_000, cacheBytes: 67_108_864, requestRetentionMs: 3_600_000, causalRetentionMs: 604_800_000, causalRetentionEvents: 1_000_000, ...more,
    };
    const store = await RegionStore.open(settings, Date.now, {
      databaseChanged: () => undefined,
      migrated: () => undefined,
      wrongSchema: (error) => {
        throw error;
      },
      passedOver: () => undefined,
    });
    this.#stores.push(store);
    if (wait) await eventually(() => store.notReady().length === 0, "a ready store");
    return store;
  }

  async stop(): Promise<void> {
    for (const store of this.#stores) await store.close();
    await this.postgres.stop();
  }
}
