/** What became of operations that nodes kept while they were cut off. Nothing that was answered TENTATIVE may vanish, or end in two ways. */
import type { History, HistoryCall, HistoryOperation } from "./history.ts";

type Listed = History["reports"][number]["operations"][number] & { readonly reportId: string };

/** Operations that were answered TENTATIVE by nodes that all lost their disks since, and that no report lists: with those disks they were gone. */
export function lostWithDisks(history: History): number {
  const listed = listedOf(history);
  return keptCalls(history).filter(({ call, operation }) => !listed.has(operation.operationId) && isLost(history, call)).length;
}

export function keptEnds(history: History): string[] {
  const listed = listedOf(history);
  const troubles: string[] = [];
  const operations = new Map(history.calls.flatMap((call) => call.operations).map((operation) => [operation.operationId, operation]));

  for (const { call, operation } of keptCalls(history)) {
    if (!listed.has(operation.operationId) && !isLost(history, call)) troubles.push(`${operation.operationId} was answered TENTATIVE by node ${call.keptBy.join(" and node ")}, and no heal report lists it`);
  }
  for (const [operationId, entries] of listed) {
    if (entries.length > 1) troubles.push(`${operationId} is listed ${entries.length} times: ${entries.map(({ reportId, outcome }) => `${outcome} by ${reportId}`).join(", ")}`);
    const operation = operations.get(operationId);
    if (operation === undefined) troubles.push(`${operationId} is listed by ${entries[0]?.reportId}, and nobody asked for it`);
    else for (const entry of entries) troubles.push(...contradictions(operation, entry));
  }
  for (const { operationId, nodeId, outcome, index } of history.finals) {
    for (const entry of listed.get(operationId) ?? []) {
      if (entry.outcome !== outcome || entry.index !== index) troubles.push(`a watch at node ${nodeId} said that ${operationId} was ${outcome} at ${index}, and ${entry.reportId} says ${entry.outcome} at ${entry.index}`);
    }
    if (!listed.has(operationId)) troubles.push(`a watch at node ${nodeId} said that ${operationId} was ${outcome}, and no heal report lists it`);
  }
  for (const { reportId, operations: inside, ...head } of history.reports) {
    for (const name of ["accepted", "merged", "rejected"] as const) {
      const count = inside.filter(({ outcome }) => outcome === name).length;
      if (head[name] !== count) troubles.push(`${reportId} counts ${head[name]} ${name} and lists ${count}`);
    }
    const before = inside.filter(({ decidedBefore }) => decidedBefore).length;
    if (head.decidedBefore !== before) troubles.push(`${reportId} counts ${head.decidedBefore} decided before and lists ${before}`);
  }
  return troubles;
}

function contradictions(operation: HistoryOperation, { reportId, outcome, reason, index }: Listed): string[] {
  const { operationId, accepted } = operation;
  const troubles: string[] = [];
  if (!operation.mayBeKept) troubles.push(`${operationId} is listed by ${reportId}, and its caller did not let it be kept`);
  if (outcome === "rejected" && reason === "") troubles.push(`${reportId} says that ${operationId} was rejected, and not why`);
  // Nobody knows: then it contradicts nothing.
  if (outcome === "unknown") return reason === "DECISION_FORGOTTEN" ? troubles : [...troubles, `${reportId} says that nobody knows of ${operationId}, and ${reason === "" ? "not why" : reason}`];
  if (outcome !== "rejected" && reason !== "") troubles.push(`${reportId} says that ${operationId} was ${outcome}, and ${reason}`);
  // Undefined: everybody who was asked at the end failed to answer, which is said elsewhere.
  if (accepted !== undefined && (accepted !== (outcome !== "rejected") || operation.index !== index)) {
    troubles.push(`${reportId} says that ${operationId} was ${outcome} at ${index}, and its caller was told ${accepted ? "that it is in force" : "that it was refused"} at ${operation.index}`);
  }
  return troubles;
}

function listedOf(history: History): Map<string, Listed[]> {
  const entries = history.reports.flatMap(({ reportId, operations }) => operations.map((operation): Listed => ({ ...operation, reportId })));
  return Map.groupBy(entries, ({ operationId }) => operationId);
}

function keptCalls(history: History): { call: HistoryCall; operation: HistoryOperation }[] {
  return history.calls.filter(({ keptBy }) => keptBy.length > 0).flatMap((call) => call.operations.map((operation) => ({ call, operation })));
}

function isLost(history: History, { keptBy }: HistoryCall): boolean {
  const lost = new Set(history.lostDisks.map(({ nodeId }) => nodeId));
  return keptBy.every((nodeId) => lost.has(nodeId));
}
