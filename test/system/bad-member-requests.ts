/** Requests about the members of the cluster that must be refused. */
import { AddMemberRequest, CancelMemberChangeRequest, type Reason, RemoveMemberRequest, ReplaceMemberRequest, WatchMemberChangeRequest } from "@statemesh/contract";
import type { Of } from "./bad-requests.ts";
import { varintField } from "./raw-call.ts";

const LONG = "x".repeat(65);

/** Every message here asks for something that must not be done, or for nothing. */
export function badMemberRequests(of: Of): void {
  of("ClusterAdminService/ListMembers", () => undefined);
  of("ClusterAdminService/ListMemberChanges", () => undefined);
  of("ClusterAdminService/DrainNode", (cases) => cases.raw("a flag, and a field that ends in the middle", "MALFORMED_MESSAGE", undefined, [Buffer.concat([varintField(1, 1n), Buffer.from([0xff])])]));
  of("ClusterAdminService/AddMember", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<AddMemberRequest>(AddMemberRequest, name, reason, field, object);
    add("no address", "INVALID_FIELD", "address", {});
    add("an address of nonsense", "INVALID_FIELD", "address", { address: "nowhere" });
    add("an address of 300 bytes", "INVALID_FIELD", "address", { address: `${"h".repeat(300)}:1` });
    add("a node id beyond the limit", "INVALID_FIELD", "node_id", { address: "127.0.0.1:1", nodeId: 2_000_001 });
    add("a long change id", "INVALID_FIELD", "change_id", { address: "127.0.0.1:1", changeId: LONG });
    add("an address where nobody answers", "UNREACHABLE", undefined, { address: "127.0.0.1:1" });
  });
  of("ClusterAdminService/RemoveMember", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<RemoveMemberRequest>(RemoveMemberRequest, name, reason, field, object);
    add("no node", "INVALID_FIELD", "node_id", {});
    add("a long change id", "INVALID_FIELD", "change_id", { nodeId: 3, changeId: LONG });
    add("a node that is no member", "UNKNOWN_MEMBER", undefined, { nodeId: 77 });
  });
  of("ClusterAdminService/ReplaceMember", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<ReplaceMemberRequest>(ReplaceMemberRequest, name, reason, field, object);
    add("no node", "INVALID_FIELD", "node_id", {});
    add("an address of nonsense", "INVALID_FIELD", "address", { nodeId: 3, address: "nowhere" });
    add("a new node id beyond the limit", "INVALID_FIELD", "new_node_id", { nodeId: 3, newNodeId: 2_000_001 });
    add("a long change id", "INVALID_FIELD", "change_id", { nodeId: 3, changeId: LONG });
    add("a node that is no member", "UNKNOWN_MEMBER", undefined, { nodeId: 77 });
    add("a node that has its data", "MEMBER_EXISTS", undefined, { nodeId: 3 });
  });
  of("ClusterAdminService/CancelMemberChange", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<CancelMemberChangeRequest>(CancelMemberChangeRequest, name, reason, field, object);
    add("no change", "INVALID_FIELD", "change_id", {});
    add("a long change id", "INVALID_FIELD", "change_id", { changeId: LONG });
    add("a change that is not known", "NOT_FOUND", undefined, { changeId: "never" });
  });
  of("ClusterAdminService/WatchMemberChange", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<WatchMemberChangeRequest>(WatchMemberChangeRequest, name, reason, field, object);
    add("a long change id", "INVALID_FIELD", "change_id", { changeId: LONG });
    add("a change that is not known", "NOT_FOUND", undefined, { changeId: "never" });
  });
}

/** The field of a change of the members that makes it a question only. */
export const DRY_RUN_FIELDS: ReadonlyMap<string, number> = new Map(
  Object.entries({ AddMember: 4, RemoveMember: 3, ReplaceMember: 5, CancelMemberChange: 2, DrainNode: 1 }).map(([name, field]) => [`/statemesh.v1.ClusterAdminService/${name}`, field]),
);
