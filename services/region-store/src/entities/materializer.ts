import { type GetWatermarksRequest, type GetWatermarksResponse, MeshError, type MaterializeRequest, type MaterializeResponse } from "@statemesh/contract";
import { entitiesKey } from "../cache/region-cache.ts";
import type { TieredCache } from "../cache/tiered-cache.ts";
import type { Caller, Database, SqlSession } from "../sql/database.ts";
import { removeEntities, sweepEntities, writeEntities } from "./entity-rows.ts";
import { raiseEpochs, sweepLedger, writeBalances, writeTotals } from "./ledger-rows.ts";
import { checkClusterId, checkMaterialize } from "./materialize-rules.ts";
import { checkOwner, claimStore, OWNER, ownerOf } from "./owning-cluster.ts";
import { advance, ALL, endCopy, ensureWatermark, findWatermark, takePart } from "./watermark-rows.ts";

/** Takes the state of Raft groups into SQL, each batch exactly once, in the transaction that moves the group's watermark. */
export class Materializer {
  readonly #database: Database;
  readonly #cache: TieredCache;

  constructor(database: Database, cache: TieredCache) {
    this.#database = database;
    this.#cache = cache;
  }

  async materialize(request: MaterializeRequest, caller?: Caller): Promise<MaterializeResponse> {
    checkMaterialize(request);
    // Regions of every attempt: one whose outcome was unknown may be the one that took effect.
    const touched = new Set<string>();
    const work = async (session: SqlSession): Promise<MaterializeResponse> => {
      await claimStore(session, request.clusterId);
      if (request.fullCopy === undefined) return await applyBatch(session, request, touched);
      return await applyPart(session, request, request.fullCopy, touched);
    };
    try {
      return await this.#database.transaction(work, { decidesRepeats: true, caller });
    } catch (error) {
      if (!(error instanceof MeshError) || error.reason !== "OUTCOME_UNKNOWN") touched.clear();
      throw error;
    } finally {
      await this.#cache.invalidate([...touched].map(entitiesKey));
    }
  }

  async watermarks(request: GetWatermarksRequest, caller?: Caller): Promise<GetWatermarksResponse> {
    checkClusterId(request.clusterId);
    const rows = await this.#database.read<{ group_id: number; log_index: number }>(ALL, [], caller);
    // Looked up after the rows: whoever moved them had claimed the store before.
    checkOwner(ownerOf(await this.#database.read(OWNER, [], caller)), request.clusterId);
    return { watermarks: new Map(rows.map((row) => [row.group_id, row.log_index])) };
  }
}

async function applyBatch(session: SqlSession, request: MaterializeRequest, touched: Set<string>): Promise<MaterializeResponse> {
  const { groupId, afterIndex, throughIndex } = request;
  if (afterIndex === 0) await ensureWatermark(session, groupId);
  if (!(await advance(session, groupId, afterIndex, throughIndex))) {
    const stands = await findWatermark(session, groupId);
    // What lies between two places of one group's log is one batch, whoever sends it.
    return { applied: stands.logIndex === throughIndex && stands.afterIndex === afterIndex, watermark: stands.logIndex };
  }
  await writeRows(session, request, 0, touched);
  await removeEntities(session, groupId, request.removed, touched);
  return { applied: true, watermark: throughIndex };
}

async function applyPart(session: SqlSession, request: MaterializeRequest, copy: NonNullable<MaterializeRequest["fullCopy"]>, touched: Set<string>): Promise<MaterializeResponse> {
  const { groupId, throughIndex } = request;
  await ensureWatermark(session, groupId);
  if (!(await takePart(session, groupId, copy.copyId, copy.part, throughIndex))) {
    const stands = await findWatermark(session, groupId);
    return { applied: stands.copyId === copy.copyId && stands.copyThroughIndex === throughIndex && copy.part < stands.copyNextPart, watermark: stands.logIndex };
  }
  await writeRows(session, request, copy.copyId, touched);
  if (!copy.last) return { applied: true, watermark: (await findWatermark(session, groupId)).logIndex };
  await sweepEntities(session, groupId, copy.copyId, touched);
  await sweepLedger(session, groupId, copy.copyId);
  await endCopy(session, groupId, throughIndex);
  return { applied: true, watermark: throughIndex };
}

async function writeRows(session: SqlSession, request: MaterializeRequest, copyId: number, touched: Set<string>): Promise<void> {
  const { groupId } = request;
  await writeEntities(session, groupId, copyId, request.entities, touched);
  await writeBalances(session, groupId, copyId, request.balances);
  await writeTotals(session, groupId, copyId, request.totals);
  await raiseEpochs(session, request.epochs);
}
