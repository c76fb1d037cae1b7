/** Requests about healing that must be refused. */
import { GetHealReportRequest, ListHealReportsRequest, type Reason, WatchTentativeRequest } from "@statemesh/contract";
import type { Of } from "./bad-requests.ts";

/** Every message here asks for something that is not there, or for nothing. */
export function badHealingRequests(of: Of): void {
  of("HealingService/ListHealReports", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<ListHealReportsRequest>(ListHealReportsRequest, name, reason, field, object);
    add("a group that is not there", "INVALID_FIELD", "group_id", { groupId: 1_000 });
    add("a page beyond the limit", "INVALID_FIELD", "page_size", { pageSize: 1_001 });
    add("a page token of nonsense", "INVALID_PAGE_TOKEN", "page_token", { pageToken: "o1" });
  });
  of("HealingService/GetHealReport", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<GetHealReportRequest>(GetHealReportRequest, name, reason, field, object);
    add("no report", "INVALID_FIELD", "report_id", {});
    add("a name of 65 bytes", "INVALID_FIELD", "report_id", { reportId: "x".repeat(65) });
    add("a report that is not there", "NOT_FOUND", undefined, { reportId: "heal-1-1-1" });
    add("a report of a group that is not there", "NOT_FOUND", undefined, { reportId: "heal-1000-1-1" });
    add("a page beyond the limit", "INVALID_FIELD", "page_size", { reportId: "heal-1-1-1", pageSize: 1_001 });
  });
  of("HealingService/WatchTentative", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<WatchTentativeRequest>(WatchTentativeRequest, name, reason, field, object);
    add("no server", "INVALID_FIELD", "server_id", {});
    add("1,025 operations", "INVALID_FIELD", "operation_ids", { serverId: 1, operationIds: Array.from({ length: 1_025 }, (_, i) => `op-${i}`) });
    add("an operation without a name", "INVALID_FIELD", "operation_ids[0]", { serverId: 1, operationIds: [""] });
  });
}
