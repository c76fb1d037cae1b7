import {
  type DeleteRegionRequest,
  type DeleteRegionResponse,
  MeshError,
  type PatchRegionRequest,
  type PatchRegionResponse,
  type Region,
  type RegionWrite,
  type StoreRegionRequest,
  type StoreRegionResponse,
  type TransactRegionsRequest,
  TransactRegionsResponse,
} from "@statemesh/contract";
import { formatRegion, mortonKey } from "@statemesh/world";
import { type Caller, checkText, recordKey, REQUEST_ID_BYTES_MAX, type TieredCache, WRITES_MAX } from "@statemesh/store";
import type { Sql, SqlSession } from "../sql/database.ts";
import { answerRequest, claimRequest } from "./answered-requests.ts";
import { checkDelete, checkPatch, checkStore } from "./region-rules.ts";
import { lockRegions, writeRegions } from "./region-rows.ts";
import type { RegionState } from "./region-state.ts";
import { requestFingerprint, type WriteCall } from "./request-fingerprint.ts";

export interface RegionWriterOptions {
  readonly database: Sql;
  readonly cache: TieredCache;
  /** Wall time, milliseconds since the Unix epoch. */
  readonly nowMs: () => number;
  /** How long answers are kept for repeats, milliseconds. */
  readonly requestRetentionMs: number;
}

/** Stores, patches and deletes regions: each call one SQL transaction, all or none. */
export class RegionWriter {
  readonly #options: RegionWriterOptions;

  constructor(options: RegionWriterOptions) {
    this.#options = options;
  }

  async store(request: StoreRegionRequest, caller?: Caller): Promise<StoreRegionResponse> {
    checkStore(request, "");
    const versions = await this.#write("StoreRegion", [{ write: { $case: "store", value: request } }], request.requestId, caller, true);
    return { version: versions[0] ?? 0 };
  }

  async patch(request: PatchRegionRequest, caller?: Caller): Promise<PatchRegionResponse> {
    checkPatch(request, "");
    const versions = await this.#write("PatchRegion", [{ write: { $case: "patch", value: request } }], request.requestId, caller, true);
    return { version: versions[0] ?? 0 };
  }

  async delete(request: DeleteRegionRequest, caller?: Caller): Promise<DeleteRegionResponse> {
    checkDelete(request, "");
    const deleted = await this.#write("DeleteRegion", [{ write: { $case: "delete", value: request } }], request.requestId, caller, true);
    return { deleted: deleted[0] === 1 };
  }

  async transact(request: TransactRegionsRequest, caller?: Caller): Promise<TransactRegionsResponse> {
    if (request.writes.length < 1 || request.writes.length > WRITES_MAX) throw MeshError.field("writes", `must be 1..${WRITES_MAX} writes`);
    checkText(request.requestId, 0, REQUEST_ID_BYTES_MAX, "request_id");
    request.writes.forEach(({ write }, at) => {
      if (write === undefined) throw MeshError.field(`writes[${at}].write`, "is required");
      const path = `writes[${at}].${write.$case}.`;
      if (write.value.requestId !== "") throw MeshError.field(`${path}request_id`, "must be empty: the transaction has one of its own");
      if (write.$case === "store") checkStore(write.value, path);
      else if (write.$case === "patch") checkPatch(write.value, path);
      else checkDelete(write.value, path);
    });
    return { versions: await this.#write("TransactRegions", request.writes, request.requestId, caller, false) };
  }

  /** New versions in order. A delete gives 0, or alone 1 where there was something to delete. */
  async #write(call: WriteCall, writes: readonly RegionWrite[], requestId: string, caller: Caller | undefined, alone: boolean): Promise<number[]> {
    const { database, cache, nowMs, requestRetentionMs } = this.#options;
    const fingerprint = requestId === "" ? undefined : requestFingerprint(call, writes);
    const keys = writes.map(({ write }) => recordKey(mortonKey(regionOf(write))));
    const work = async (session: SqlSession): Promise<number[]> => {
      if (fingerprint !== undefined) {
        const earlier = await claimRequest(session, requestId, fingerprint, nowMs() + requestRetentionMs);
        if (earlier !== undefined) return TransactRegionsResponse.decode(earlier).versions;
      }
      const versions = await this.#apply(session, writes, alone);
      if (fingerprint !== undefined) await answerRequest(session, requestId, TransactRegionsResponse.encode({ versions }).finish());
      return versions;
    };
    try {
      const versions = await database.transaction(work, { decidesRepeats: fingerprint !== undefined, caller });
      await cache.invalidate(keys);
      return versions;
    } catch (error) {
      // It may be in force: then the caches are as stale as after a success.
      if (error instanceof MeshError && error.reason === "OUTCOME_UNKNOWN") await cache.invalidate(keys);
      throw error;
    }
  }

  async #apply(session: SqlSession, writes: readonly RegionWrite[], alone: boolean): Promise<number[]> {
    const states = await lockRegions(session, writes.map(({ write }) => regionOf(write)), writes.some(({ write }) => write?.$case === "patch"));
    const versions = writes.map(({ write }, at) => {
      const state = states.get(formatRegion(regionOf(write)));
      if (state === undefined || write === undefined) throw new TypeError("a write without a region came past validation");
      return applyOne(state, write, alone ? "" : `writes[${at}].${write.$case}.`, alone);
    });
    await writeRegions(session, states.values(), this.#options.nowMs());
    return versions;
  }
}

function applyOne(state: RegionState, write: NonNullable<RegionWrite["write"]>, path: string, alone: boolean): number {
  switch (write.$case) {
    case "store":
      state.store(write.value);
      return state.version;
    case "patch":
      state.patch(write.value, path);
      return state.version;
    case "delete":
      return state.delete(write.value) && alone ? 1 : 0;
  }
}

function regionOf(write: RegionWrite["write"]): Region {
  const region = write?.value.region;
  if (region === undefined) throw new TypeError("a write without a region came past validation");
  return region;
}
