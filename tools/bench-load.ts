// Load for benchmarks: operations that a world would see, and two ways to send them.
import { randomUUID } from "node:crypto";
import {
  ConsistencyServiceClient,
  type ExecuteStreamResponse,
  type Operation,
  Operation as Operations,
  PlayerInventory_Action,
  ReadLevel,
  ReadRequest,
  type Region,
  TerrainModification_Mode,
} from "@statemesh/contract";
import { clientOptions } from "@statemesh/service";
import { credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { build, type Histogram } from "hdr-histogram-js";

/** What one measurement came to. */
export interface LoadResult {
  readonly name: string;
  readonly operations: number;
  readonly seconds: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** Operations that were answered with an error, by reason. */
  readonly errors: Readonly<Record<string, number>>;
  /** Decisions that refused. */
  readonly rejected: number;
}

/** Where operations come from; undefined: there are no more. */
export interface OperationSource {
  next(regions: readonly Region[]): Operation | undefined;
}

/** A node and the regions whose groups it leads. */
export interface LoadTarget {
  readonly address: string;
  readonly regions: readonly Region[];
}

/**
 * A mix of strong operations: four structures, three inventory changes, two claims and one dig of ten, each in a
 * place or on a player of its own, as in a world where most players are not in each other's way.
 */
export class OperationMix {
  readonly #run = randomUUID().slice(0, 8);
  readonly #serverId: number;
  #next = 0;

  constructor(serverId: number) {
    this.#serverId = serverId;
  }

  next(regions: readonly Region[]): Operation {
    const n = this.#next++;
    const homeRegion = regions[n % regions.length];
    if (homeRegion === undefined) throw new Error("bench: a target without regions");
    const operation = Operations.fromPartial({ operationId: `${this.#run}-${n.toString(36)}`, serverId: this.#serverId, homeRegion });
    const kind = n % 10;
    const place = Math.floor(n / regions.length);
    const minX = homeRegion.x * 2_000 + (place % 180) * 11;
    const minZ = homeRegion.z * 2_000 + (Math.floor(place / 180) % 180) * 11;
    const minY = homeRegion.y * 2_000 + (Math.floor(place / 32_400) % 180) * 11;
    const bounds = { minX, minY, minZ, maxX: minX + 8, maxY: minY + 8, maxZ: minZ + 8 };
    if (kind < 4) {
      operation.type = "structure_placement";
      operation.body = { $case: "structurePlacement", value: { structureId: `${this.#run}-s${n}`, kind: "wall", bounds, playerId: `player-${n % 1_000}`, attributes: new Map() } };
    } else if (kind < 7) {
      operation.type = "player_inventory";
      const value = { action: PlayerInventory_Action.MINT, playerId: `${this.#run}-p${n % 10_007}`, itemKind: "ore", quantity: 1, counterpartyId: "", itemId: "", position: undefined, counterpartyRegion: undefined, containerId: "", counterpartyContainerId: "" };
      operation.body = { $case: "playerInventory", value };
    } else if (kind < 9) {
      operation.type = "resource_claim";
      operation.body = { $case: "resourceClaim", value: { resourceId: `${this.#run}-r${n}`, playerId: `player-${n % 1_000}`, release: false } };
    } else {
      operation.type = "terrain_modification";
      const value = { mode: TerrainModification_Mode.DIG, bounds, material: "", playerId: "", observedVersion: 0, brush: new Uint8Array(0) };
      operation.body = { $case: "terrainModification", value };
    }
    return operation;
  }
}

class Measure {
  readonly histogram: Histogram = build({ lowestDiscernibleValue: 1, highestTrackableValue: 60_000_000, numberOfSignificantValueDigits: 3 });
  readonly errors: Record<string, number> = {};
  rejected = 0;
  answered = 0;

  /** @param operations that were done in the call */
  took(startMs: number, operations = 1): void {
    this.answered += operations;
    this.histogram.recordValue(Math.max(1, Math.round((performance.now() - startMs) * 1_000)));
  }

  failed(reason: string): void {
    this.errors[reason] = (this.errors[reason] ?? 0) + 1;
  }

  result(name: string, seconds: number): LoadResult {
    const ms = (percentile: number): number => this.histogram.getValueAtPercentile(percentile) / 1_000;
    return {
      name,
      operations: this.answered,
      seconds,
      perSecond: this.answered / seconds,
      p50Ms: ms(50),
      p99Ms: ms(99),
      maxMs: this.histogram.maxValue / 1_000,
      errors: this.errors,
      rejected: this.rejected,
    };
  }
}

const REJECTED = 3;

function clientOf(address: string): ConsistencyServiceClient {
  return new ConsistencyServiceClient(address, credentials.createInsecure(), clientOptions({ ownConnection: true }));
}

/** Any calls, `inFlight` at a time, for `seconds`; each does so many operations. */
export async function callLoad(name: string, inFlight: number, seconds: number, operations: number, call: (done: (error: ServiceError | null) => void, worker: number) => void): Promise<LoadResult> {
  const measure = new Measure();
  const startMs = performance.now();
  const endMs = startMs + seconds * 1_000;
  await Promise.all(
    Array.from({ length: inFlight }, async (_, worker) => {
      while (performance.now() < endMs) {
        const sentMs = performance.now();
        await new Promise<void>((resolve) => {
          call((error) => {
            if (error === null) measure.took(sentMs, operations);
            else measure.failed(error.details);
            resolve();
          }, worker);
        });
      }
    }),
  );
  return measure.result(name, (performance.now() - startMs) / 1_000);
}

/** Linearizable reads of one account's balances, `inFlight` at a time over all targets, for `seconds`. */
export async function readLoad(targets: readonly LoadTarget[], inFlight: number, seconds: number): Promise<LoadResult> {
  const clients = targets.map(({ address, regions }) => ({ client: clientOf(address), regions }));
  let next = 0;
  const result = await callLoad(`linearizable reads, ${inFlight} in flight`, inFlight, seconds, 1, (done, worker) => {
    const target = clients[worker % clients.length];
    const region = target?.regions[next++ % target.regions.length];
    const request = ReadRequest.fromPartial({ region, level: ReadLevel.LINEARIZABLE, accounts: [`player-${next % 1_000}`] });
    target?.client.read(request, new Metadata(), { deadline: Date.now() + 10_000 }, done);
  });
  for (const { client } of clients) client.close();
  return result;
}

/** Unary calls, `inFlight` at a time over all targets, for `seconds`. */
export async function unaryLoad(targets: readonly LoadTarget[], mix: OperationMix, inFlight: number, seconds: number): Promise<LoadResult> {
  const measure = new Measure();
  const clients = targets.map(({ address, regions }) => ({ client: clientOf(address), regions }));
  const startMs = performance.now();
  const endMs = startMs + seconds * 1_000;
  await Promise.all(
    Array.from({ length: inFlight }, async (_, worker) => {
      const target = clients[worker % clients.length];
      if (target === undefined) return;
      while (performance.now() < endMs) {
        const operation = mix.next(target.regions);
        const sentMs = performance.now();
        await new Promise<void>((resolve) => {
          target.client.execute({ operation }, new Metadata(), { deadline: Date.now() + 10_000 }, (error, response) => {
            if (error !== null) measure.failed(error.details);
            else {
              measure.took(sentMs);
              if (response.decision?.outcome === REJECTED) measure.rejected++;
            }
            resolve();
          });
        });
      }
    }),
  );
  const result = measure.result(`unary, ${inFlight} in flight`, (performance.now() - startMs) / 1_000);
  for (const { client } of clients) client.close();
  return result;
}

/** One stream a target, `window` operations in flight on each, `batch` in a message, for `seconds`. */
export async function streamLoad(targets: readonly LoadTarget[], mix: OperationSource, window: number, batch: number, seconds: number): Promise<LoadResult> {
  const measure = new Measure();
  const startMs = performance.now();
  const endMs = startMs + seconds * 1_000;
  await Promise.all(targets.map(async ({ address, regions }) => {
    const client = clientOf(address);
    const stream = client.executeStream();
    const sent = new Map<string, number>();
    let isOver = false;
    const send = (): void => {
      while (!isOver && performance.now() < endMs && sent.size + batch <= window) {
        const operations: Operation[] = [];
        const nowMs = performance.now();
        for (let i = 0; i < batch; i++) {
          const operation = mix.next(regions);
          isOver ||= operation === undefined;
          if (operation === undefined) break;
          sent.set(operation.operationId, nowMs);
          operations.push(operation);
        }
        if (operations.length > 0) stream.write({ operations });
      }
      if ((isOver || performance.now() >= endMs) && sent.size === 0) stream.end();
    };
    await new Promise<void>((resolve, reject) => {
      stream.on("data", ({ results }: ExecuteStreamResponse) => {
        for (const { operationId, result } of results) {
          const sentMs = sent.get(operationId);
          sent.delete(operationId);
          if (result?.$case === "decision") {
            if (sentMs !== undefined) measure.took(sentMs);
            if (result.value.outcome === REJECTED) measure.rejected++;
          } else measure.failed(result?.value.reason ?? "no result");
        }
        send();
      });
      stream.on("end", resolve);
      stream.on("error", reject);
      send();
    });
    client.close();
  }));
  return measure.result(`streamed, ${window} in flight a stream, ${batch} a message`, (performance.now() - startMs) / 1_000);
}
