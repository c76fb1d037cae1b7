import { type GetWatermarksRequest, type GetWatermarksResponse, MeshError, type MaterializeRequest, type MaterializeResponse } from "@statemesh/contract";
import { mortonKey } from "@statemesh/world";
import type { MaterializationRows, MaterializationStore, WatermarkRow } from "./materialization-store.ts";
import { checkClusterId, checkMaterialize } from "./materialize-rules.ts";
import { entitiesKey } from "./region-cache.ts";
import { checkOwner, claimStore } from "./store-owner.ts";
import type { Caller } from "./work-runner.ts";

/** What forgets regions that changed: the caches. */
export interface Invalidations {
  /** Never throws. */
  invalidate(keys: readonly string[]): Promise<void>;
}

const NO_WATERMARK: WatermarkRow = { logIndex: 0, afterIndex: 0, copyId: 0, copyNextPart: 0, copyThroughIndex: 0 };

/** Takes the state of Raft groups into SQL, each batch exactly once, in the transaction that moves the group's watermark. */
export class Materializer {
  readonly #store: MaterializationStore;
  readonly #caches: Invalidations;

  constructor(store: MaterializationStore, caches: Invalidations) {
    this.#store = store;
    this.#caches = caches;
  }

  async materialize(request: MaterializeRequest, caller?: Caller): Promise<MaterializeResponse> {
    checkMaterialize(request);
    // Regions of every attempt: one whose outcome was unknown may be the one that took effect.
    const touched = new Set<string>();
    const work = async (rows: MaterializationRows): Promise<MaterializeResponse> => {
      await claimStore(rows, request.clusterId);
      if (request.fullCopy === undefined) return await applyBatch(rows, request, touched);
      return await applyPart(rows, request, request.fullCopy, touched);
    };
    try {
      return await this.#store.transaction(work, { decidesRepeats: true, caller });
    } catch (error) {
      if (!(error instanceof MeshError) || error.reason !== "OUTCOME_UNKNOWN") touched.clear();
      throw error;
    } finally {
      await this.#caches.invalidate([...touched].map(entitiesKey));
    }
  }

  async watermarks(request: GetWatermarksRequest, caller?: Caller): Promise<GetWatermarksResponse> {
    checkClusterId(request.clusterId);
    const { byGroup, owner } = await this.#store.watermarks(caller);
    checkOwner(owner, request.clusterId);
    return { watermarks: byGroup };
  }
}

async function applyBatch(rows: MaterializationRows, request: MaterializeRequest, touched: Set<string>): Promise<MaterializeResponse> {
  const { groupId, afterIndex, throughIndex } = request;
  if (afterIndex === 0) await rows.ensureWatermark(groupId);
  if (!(await rows.advance(groupId, afterIndex, throughIndex))) {
    const stands = (await rows.watermark(groupId)) ?? NO_WATERMARK;
    // What lies between two places of one group's log is one batch, whoever sends it.
    return { applied: stands.logIndex === throughIndex && stands.afterIndex === afterIndex, watermark: stands.logIndex };
  }
  await writeRows(rows, request, 0, touched);
  note(touched, await rows.removeEntities(groupId, request.removed));
  return { applied: true, watermark: throughIndex };
}

async function applyPart(rows: MaterializationRows, request: MaterializeRequest, copy: NonNullable<MaterializeRequest["fullCopy"]>, touched: Set<string>): Promise<MaterializeResponse> {
  const { groupId, throughIndex } = request;
  await rows.ensureWatermark(groupId);
  if (!(await takePart(rows, groupId, copy.copyId, copy.part, throughIndex))) {
    const stands = (await rows.watermark(groupId)) ?? NO_WATERMARK;
    return { applied: stands.copyId === copy.copyId && stands.copyThroughIndex === throughIndex && copy.part < stands.copyNextPart, watermark: stands.logIndex };
  }
  await writeRows(rows, request, copy.copyId, touched);
  if (!copy.last) return { applied: true, watermark: ((await rows.watermark(groupId)) ?? NO_WATERMARK).logIndex };
  note(touched, await rows.sweep(groupId, copy.copyId));
  await rows.endCopy(groupId, throughIndex);
  return { applied: true, watermark: throughIndex };
}

/**
 * Takes the turn of one part of a full copy; false where it is not its turn, or the store stands beyond the
 * copy. Part 0 of another copy restarts. Every part compares with the watermark: a batch that went beyond the copy
 * in between must not be overwritten by older rows.
 */
async function takePart(rows: MaterializationRows, groupId: number, copyId: number, part: number, through: number): Promise<boolean> {
  return part === 0 ? await rows.beginCopy(groupId, copyId, through) : await rows.nextPart(groupId, copyId, through, part);
}

async function writeRows(rows: MaterializationRows, request: MaterializeRequest, copyId: number, touched: Set<string>): Promise<void> {
  const { groupId } = request;
  note(touched, await rows.writeEntities(groupId, copyId, request.entities));
  for (const { region } of request.entities) if (region !== undefined) touched.add(String(mortonKey(region)));
  await rows.writeBalances(groupId, copyId, request.balances.filter((balance) => balance.quantity > 0));
  // A copy's sweep removes them.
  if (copyId === 0) await rows.removeBalances(groupId, request.balances.filter((balance) => balance.quantity === 0));
  await rows.writeTotals(groupId, copyId, request.totals);
  await rows.raiseEpochs(request.epochs);
}

function note(touched: Set<string>, keys: readonly string[]): void {
  for (const key of keys) touched.add(key);
}
