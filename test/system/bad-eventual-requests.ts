/** Requests about stored eventual values and causal events that must be refused. */
import { EventualValue, LoadEventualValuesRequest, ReadCausalHistoryRequest, type Reason, StoreCausalEventsRequest, StoreEventualValuesRequest } from "@statemesh/contract";
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
  of("RegionStoreService/StoreCausalEvents", (cases) => {
    const origin = 2 ** 32 + 7;
    const event = { event: { type: "event_sequence", region: free, key: "bad" }, serverId, id: { origin, sequence: 1 } };
    const group = { groupId: 1, term: 1, origins: [{ origin, afterSequence: 0, throughSequence: 2 }], events: [event] };
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void =>
      cases.add<StoreCausalEventsRequest>(StoreCausalEventsRequest, name, reason, field, { clusterId: LOCAL_CLUSTER, groups: [group], ...object });
    const one = (name: string, field: string, object: object): void => add(name, "INVALID_FIELD", `groups[0].${field}`, { groups: [{ ...group, ...object }] });
    add("no cluster id", "INVALID_FIELD", "cluster_id", { clusterId: "" });
    add("another cluster", "CLUSTER_MISMATCH", undefined, { clusterId: "another" });
    add("no groups", "INVALID_FIELD", "groups", { groups: [] });
    add("257 groups", "INVALID_FIELD", "groups", { groups: Array.from({ length: 257 }, (_, at) => ({ ...group, groupId: at + 1 })) });
    add("a group twice", "INVALID_FIELD", "groups[1].group_id", { groups: [group, group] });
    add("4,097 events", "INVALID_FIELD", "groups", { groups: [{ ...group, events: Array.from({ length: 4_097 }, () => event) }] });
    add("16,385 origins", "INVALID_FIELD", "groups", { groups: [{ ...group, origins: Array.from({ length: 16_385 }, () => group.origins[0] ?? {}) }] });
    one("group 0", "group_id", { groupId: 0 });
    one("no term", "term", { term: 0 });
    one("an origin of 0", "origins[0].origin", { origins: [{ origin: 0, afterSequence: 0, throughSequence: 0 }] });
    one("an origin twice", "origins[1].origin", { origins: [...group.origins, ...group.origins] });
    one("a range that ends before it begins", "origins[0].through_sequence", { origins: [{ origin, afterSequence: 3, throughSequence: 2 }] });
    one("an event without its place", "events[0].id", { events: [{ ...event, id: undefined }] });
    one("an event of another origin", "events[0].id.origin", { events: [{ ...event, id: { origin: origin + 1, sequence: 1 } }] });
    one("an event outside of its range", "events[0].id.sequence", { events: [{ ...event, id: { origin, sequence: 3 } }] });
    one("an event without a region", "events[0].event.region", { events: [{ ...event, event: { ...event.event, region: undefined } }] });
    one("a key of 129 bytes", "events[0].event.key", { events: [{ ...event, event: { ...event.event, key: LONG } }] });
    one("a payload of 4,097 bytes", "events[0].event.payload", { events: [{ ...event, event: { ...event.event, payload: Buffer.alloc(4_097) } }] });
  });
  of("RegionStoreService/ReadCausalHistory", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void =>
      cases.add<ReadCausalHistoryRequest>(ReadCausalHistoryRequest, name, reason, field, { region: free, ...object });
    add("no region", "INVALID_FIELD", "region", { region: undefined });
    add("pages of 1,001", "INVALID_FIELD", "page_size", { pageSize: 1_001 });
    add("a token that is none", "INVALID_PAGE_TOKEN", "page_token", { pageToken: "nonsense" });
    add("a token of 2,000 characters", "INVALID_PAGE_TOKEN", "page_token", { pageToken: "A".repeat(2_000) });
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
