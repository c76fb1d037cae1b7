// What operators and callers read of heal reports. From this node's copy: whoever wants to be sure waits at a barrier first.
import { type GetHealReportRequest, type GetHealReportResponse, type HealReport, type ListHealReportsRequest, type ListHealReportsResponse, MeshError } from "@statemesh/contract";
import type { MeshNode } from "@statemesh/mesh";
import { ID_BYTES_MAX, checkInteger, checkName } from "@statemesh/world";

const REPORTS_PAGE = 100;
const OPERATIONS_PAGE = 256;
const PAGE_MAX = 1_000;
const REPORT_ID = /^heal-([0-9]{1,4})-[0-9]+-[0-9]+$/;
const REPORTS_TOKEN = /^r([0-9]{1,4})\.([0-9]{1,16})$/;
const OPERATIONS_TOKEN = /^o([0-9]{1,6})$/;

/** The groups that a list of reports looks at. Throws INVALID_FIELD. */
export function listedGroups(mesh: MeshNode, { groupId, pageSize }: ListHealReportsRequest): number[] {
  checkInteger(pageSize, 0, PAGE_MAX, "", "page_size");
  if (groupId === undefined) return mesh.groups.map((group) => group.groupId);
  checkInteger(groupId, 0, mesh.groups.length - 1, "", "group_id");
  return [groupId];
}

/** By group, the newest first. Throws INVALID_FIELD or INVALID_PAGE_TOKEN. */
export function listHealReports(mesh: MeshNode, request: ListHealReportsRequest): ListHealReportsResponse {
  const groups = listedGroups(mesh, request);
  const { pageSize, pageToken } = request;
  const [, afterGroup = "", beforeIndex = ""] = pageToken === "" ? ["", "0", String(Number.MAX_SAFE_INTEGER)] : (REPORTS_TOKEN.exec(pageToken) ?? []);
  if (afterGroup === "") throw new MeshError("INVALID_PAGE_TOKEN", "page_token: is not from this call", { field: "page_token" });
  const reports: HealReport[] = [];
  const size = pageSize === 0 ? REPORTS_PAGE : pageSize;
  for (const groupId of groups) {
    if (groupId < Number(afterGroup)) continue;
    for (const { head } of [...mesh.group(groupId).state.heals.rows].reverse()) {
      if (groupId === Number(afterGroup) && (head.position?.index ?? 0) >= Number(beforeIndex)) continue;
      const last = reports.at(-1);
      if (reports.length === size && last !== undefined) return { reports, nextPageToken: `r${last.groupId}.${last.position?.index ?? 0}` };
      reports.push(head);
    }
  }
  return { reports, nextPageToken: "" };
}

/** The group of a report. Throws INVALID_FIELD, or NOT_FOUND where there can be no such report. */
export function reportGroup(mesh: MeshNode, { reportId, pageSize }: GetHealReportRequest): number {
  checkName(reportId, 1, ID_BYTES_MAX, "", "report_id");
  checkInteger(pageSize, 0, PAGE_MAX, "", "page_size");
  const groupId = Number(REPORT_ID.exec(reportId)?.[1] ?? -1);
  if (groupId < 0 || groupId >= mesh.groups.length) throw notFound(reportId);
  return groupId;
}

/** Throws INVALID_FIELD, INVALID_PAGE_TOKEN or NOT_FOUND. */
export function getHealReport(mesh: MeshNode, request: GetHealReportRequest): GetHealReportResponse {
  const { reportId, pageSize, pageToken } = request;
  const row = mesh.group(reportGroup(mesh, request)).state.heals.row(reportId);
  if (row === undefined) throw notFound(reportId);
  const from = pageToken === "" ? 0 : Number(OPERATIONS_TOKEN.exec(pageToken)?.[1] ?? -1);
  if (from < 0 || from > row.operations.length) throw new MeshError("INVALID_PAGE_TOKEN", "page_token: is not from this call with this report", { field: "page_token" });
  const end = from + (pageSize === 0 ? OPERATIONS_PAGE : pageSize);
  const operations = row.operations.slice(from, end).flatMap(({ operation }) => (operation === undefined ? [] : [operation]));
  return { report: row.head, operations, nextPageToken: end < row.operations.length ? `o${end}` : "" };
}

function notFound(reportId: string): MeshError {
  return new MeshError("NOT_FOUND", `no heal report ${reportId} is kept`, { metadata: { report_id: reportId } });
}
