import {
  type EventualValue,
  type LoadEventualValuesRequest,
  type LoadEventualValuesResponse,
  MeshError,
  type StoreEventualValuesRequest,
  type StoreEventualValuesResponse,
} from "@statemesh/contract";
import { mortonKey } from "@statemesh/world";
import { checkCount, requireRegion } from "./field-rules.ts";
import { PAGE_BYTES_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, PAGE_TOKEN_CHARS_MAX } from "./limits.ts";
import type { EventualPlace, MaterializationStore } from "./materialization-store.ts";
import { checkClusterId } from "./materialize-rules.ts";
import { checkOwner, claimStore } from "./store-owner.ts";
import type { Caller } from "./work-runner.ts";

/** Values in one call, and deletions that one call forgets. */
const VALUES_MAX = 4_096;
const TYPE_BYTES_MAX = 64;
const KEY_BYTES_MAX = 128;
const VALUE_BYTES_MAX = 4_096;

/** Eventual values in SQL: what the nodes wrote behind, and what they start with. */
export class EventualValues {
  readonly #store: MaterializationStore;

  constructor(store: MaterializationStore) {
    this.#store = store;
  }

  /** Throws INVALID_FIELD, CLUSTER_MISMATCH, and what the transaction throws. */
  async store(request: StoreEventualValuesRequest, caller?: Caller): Promise<StoreEventualValuesResponse> {
    const { clusterId, values, forgetDeletedBeforeMs } = request;
    checkClusterId(clusterId);
    if (values.length > VALUES_MAX) throw MeshError.field("values", `at most ${VALUES_MAX}`);
    checkCount(forgetDeletedBeforeMs, "forget_deleted_before_ms");
    values.forEach((value, at) => checkValue(value, `values[${at}].`));
    await this.#store.transaction(
      async (rows) => {
        await claimStore(rows, clusterId);
        await rows.writeEventual(values);
        if (forgetDeletedBeforeMs > 0) await rows.forgetDeletedEventual(forgetDeletedBeforeMs, VALUES_MAX);
      },
      // The same values again change nothing.
      { decidesRepeats: true, caller },
    );
    return {};
  }

  /** Throws INVALID_FIELD, INVALID_PAGE_TOKEN, CLUSTER_MISMATCH and STORE_UNAVAILABLE. */
  async load({ clusterId, pageSize, pageToken }: LoadEventualValuesRequest, caller?: Caller): Promise<LoadEventualValuesResponse> {
    checkClusterId(clusterId);
    if (pageSize > PAGE_SIZE_MAX) throw MeshError.field("page_size", `must be 1..${PAGE_SIZE_MAX}, or 0 for ${PAGE_SIZE_DEFAULT}`);
    const limit = pageSize === 0 ? PAGE_SIZE_DEFAULT : pageSize;
    const { values, owner } = await this.#store.eventualAfter(pageToken === "" ? undefined : placeOf(pageToken), limit, caller);
    checkOwner(owner, clusterId);
    let count = 0;
    for (let bytes = 0; count < values.length && (count === 0 || bytes < PAGE_BYTES_MAX); count += 1) bytes += (values[count] as EventualValue).value.length + 256;
    const page = values.slice(0, count);
    const last = page.at(-1);
    const hasMore = count < values.length || values.length === limit;
    return { values: page, nextPageToken: last === undefined || !hasMore ? "" : tokenOf(last) };
  }
}

function checkValue(value: EventualValue, path: string): void {
  requireRegion(value.region, `${path}region`);
  if (!within(value.type, TYPE_BYTES_MAX) || value.type.includes("\0")) throw MeshError.field(`${path}type`, `1..${TYPE_BYTES_MAX} bytes, without U+0000`);
  if (!within(value.key, KEY_BYTES_MAX)) throw MeshError.field(`${path}key`, `1..${KEY_BYTES_MAX} bytes`);
  if (value.value.length > VALUE_BYTES_MAX) throw MeshError.field(`${path}value`, `at most ${VALUE_BYTES_MAX} bytes`);
  if (value.stamp === undefined) throw MeshError.field(`${path}stamp`, "required");
  checkCount(value.stamp.physicalMs, `${path}stamp.physical_ms`);
}

function within(text: string, max: number): boolean {
  return text.length > 0 && Buffer.byteLength(text) <= max;
}

function tokenOf({ region, type, key }: EventualValue): string {
  if (region === undefined) throw new TypeError("a stored value without a region");
  return Buffer.from(JSON.stringify([String(mortonKey(region)), type, key])).toString("base64url");
}

/** A token only says where a reading goes on: who makes one up chooses where his own begins. */
function placeOf(token: string): EventualPlace {
  try {
    if (token.length > PAGE_TOKEN_CHARS_MAX) throw new RangeError("too long");
    const parts: unknown = JSON.parse(Buffer.from(token, "base64url").toString("utf8"));
    if (Array.isArray(parts) && parts.length === 3) {
      const [regionKey, type, key] = parts as unknown[];
      if (typeof regionKey === "string" && /^[0-9]{1,19}$/.test(regionKey) && typeof type === "string" && typeof key === "string" && BigInt(regionKey) < 1n << 63n && !type.includes("\0")) {
        return { regionKey: BigInt(regionKey), type, key };
      }
    }
  } catch {
    // Not a token.
  }
  throw new MeshError("INVALID_PAGE_TOKEN", "the page token is not from this call", { field: "page_token" });
}
