/** Requests about stored eventual values that must be refused. */
import { EventualValue, LoadEventualValuesRequest, type Reason, StoreEventualValuesRequest } from "@statemesh/contract";
import { LOCAL_CLUSTER } from "../../tools/mesh-processes.ts";
import type { KnownWorld } from "./bad-operations.ts";
import type { Of } from "./bad-requests.ts";

const LONG = "x".repeat(129);

/** Every message here names something that cannot be stored, or a place that is none. */
export function badEventualRequests(of: Of, { free, serverId }: KnownWorld): void {
  of("RegionStoreService/StoreEventualValues", (cases) => {
    const value = { region: free, type: "creature_position", key: "bad", serverId, stamp: { physicalMs: 1, logical: 0 } };
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void =>
      cases.add<StoreEventualValuesRequest>(StoreEventualValuesRequest, name, reason, field, { clusterId: LOCAL_CLUSTER, values: [value], ...object });
    add("no cluster id", "INVALID_FIELD", "cluster_id", { clusterId: "" });
    add("another cluster", "CLUSTER_MISMATCH", undefined, { clusterId: "another" });
    add("4,097 values", "INVALID_FIELD", "values", { values: Array.from({ length: 4_097 }, () => EventualValue.fromPartial({})) });
    add("a value without a region", "INVALID_FIELD", "values[0].region", { values: [{ ...value, region: undefined }] });
    add("a value without a type", "INVALID_FIELD", "values[0].type", { values: [{ ...value, type: "" }] });
    add("a key of 129 bytes", "INVALID_FIELD", "values[0].key", { values: [{ ...value, key: LONG }] });
    add("a value of 4,097 bytes", "INVALID_FIELD", "values[0].value", { values: [{ ...value, value: Buffer.alloc(4_097) }] });
    add("a value without a stamp", "INVALID_FIELD", "values[0].stamp", { values: [{ ...value, stamp: undefined }] });
  });
  of("RegionStoreService/LoadEventualValues", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void =>
      cases.add<LoadEventualValuesRequest>(LoadEventualValuesRequest, name, reason, field, { clusterId: LOCAL_CLUSTER, ...object });
    add("no cluster id", "INVALID_FIELD", "cluster_id", { clusterId: "" });
    add("another cluster", "CLUSTER_MISMATCH", undefined, { clusterId: "another" });
    add("pages of 1,001", "INVALID_FIELD", "page_size", { pageSize: 1_001 });
    add("a token that is none", "INVALID_PAGE_TOKEN", undefined, { pageToken: "nonsense" });
  });
}
