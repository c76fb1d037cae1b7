// The commands of a handoff: prepared by whoever wants it, accepted by its target, committed by the owner, aborted by either.
import { AuthorityEvent_Kind as Kind, type Handoff, HandoffPhase } from "@statemesh/contract";
import type { FinishHandoff, PrepareHandoff, ReadyHandoff } from "@statemesh/contract/log";
import { formatRegion } from "@statemesh/world";
import { ChangeMaking, refused } from "./directory-change.ts";
import type { DirectoryTables } from "./directory-tables.ts";
import { HANDOFFS_MAX, isUnderWay, sameHandoff } from "./handoff-table.ts";
import { abortHandoff, commitHandoff } from "./succession.ts";

export function prepareHandoff(tables: DirectoryTables, { handoff }: PrepareHandoff): ChangeMaking {
  if (handoff?.region === undefined) return refused("INVALID_FIELD", "region: required");
  const { handoffId, region, fromServerId, toServerId, epoch, timeoutMs } = handoff;
  const known = tables.handoffs.get(handoffId);
  if (known !== undefined) {
    if (sameHandoff(known, handoff)) return new ChangeMaking().answer({ handoff: known });
    return refused("REQUEST_ID_REUSED", `handoff ${handoffId} is another one`, { handoff_id: handoffId });
  }
  if (fromServerId === toServerId) return refused("INVALID_FIELD", "to_server_id: another server than the owner", { field: "to_server_id" });
  if (tables.server(toServerId) === undefined) return refused("SERVER_NOT_REGISTERED", `server ${toServerId} is not registered`, { server_id: String(toServerId) });
  const row = tables.leases.get(region);
  if (row === undefined || row.serverId === 0 || row.serverId !== fromServerId || row.epoch !== epoch) {
    const change = refused("FENCED", `${formatRegion(region)} is not owned by server ${fromServerId} at epoch ${epoch}`);
    change.result.holder = tables.authority(region, row?.durationMs ?? 0);
    return change;
  }
  const pending = tables.handoffs.ofRegion(region);
  if (pending !== undefined) {
    return refused("HANDOFF_PENDING", `${formatRegion(region)} is being handed to server ${pending.toServerId} by handoff ${pending.handoffId}`, { handoff_id: pending.handoffId });
  }
  if (tables.handoffs.isFull) return refused("OVERLOADED", `handoffs under way: the limit of ${HANDOFFS_MAX} is reached`);
  const change = new ChangeMaking();
  const prepared: Handoff = { handoffId, region, fromServerId, toServerId, epoch, phase: HandoffPhase.PREPARED, reason: "", timeoutMs };
  tables.handoffs.put(prepared);
  change.prepared.push(prepared);
  change.tell({ kind: Kind.HANDOFF_PREPARED, authority: tables.authority(region, row.durationMs), previousServerId: fromServerId, handoff: prepared });
  return change.answer({ handoff: prepared });
}

export function readyHandoff(tables: DirectoryTables, { handoffId, serverId }: ReadyHandoff): ChangeMaking {
  const handoff = tables.handoffs.get(handoffId);
  if (handoff?.region === undefined) return unknown(handoffId);
  if (handoff.toServerId !== serverId) return refused("INVALID_FIELD", `server_id: server ${handoff.toServerId} is the target of handoff ${handoffId}`, { field: "server_id" });
  if (handoff.phase === HandoffPhase.ABORTED) return inPhase(handoff);
  const change = new ChangeMaking();
  if (handoff.phase !== HandoffPhase.PREPARED) return change.answer({ handoff });
  const accepted = { ...handoff, phase: HandoffPhase.ACCEPTED };
  tables.handoffs.put(accepted);
  const durationMs = tables.leases.get(handoff.region)?.durationMs ?? 0;
  change.tell({ kind: Kind.HANDOFF_ACCEPTED, authority: tables.authority(handoff.region, durationMs), previousServerId: handoff.fromServerId, handoff: accepted });
  return change.answer({ handoff: accepted });
}

export function finishHandoff(tables: DirectoryTables, { handoffId, serverId, commit, reason }: FinishHandoff): ChangeMaking {
  const handoff = tables.handoffs.get(handoffId);
  if (handoff?.region === undefined) return unknown(handoffId);
  const { fromServerId, toServerId, phase } = handoff;
  const may = commit ? serverId === fromServerId : serverId === 0 || serverId === fromServerId || serverId === toServerId;
  if (!may) return refused("INVALID_FIELD", `server_id: handoff ${handoffId} is from server ${fromServerId} to server ${toServerId}`, { field: "server_id" });
  if (!isUnderWay(handoff)) {
    const isRepeated = phase === (commit ? HandoffPhase.COMMITTED : HandoffPhase.ABORTED);
    return isRepeated ? new ChangeMaking().answer({ handoff }) : inPhase(handoff);
  }
  const change = new ChangeMaking();
  if (!commit) return change.answer({ handoff: abortHandoff(tables, handoff, reason, change) });
  if (phase !== HandoffPhase.ACCEPTED) return inPhase(handoff);
  const row = tables.leases.get(handoff.region);
  // Whatever changes the owner ends the handoff with it.
  if (row?.serverId !== fromServerId || row.epoch !== handoff.epoch) throw new Error(`directory: handoff ${handoffId} outlived its owner`);
  commitHandoff(tables, handoff, row, change);
  return change.answer({ handoff: { ...handoff, phase: HandoffPhase.COMMITTED } });
}

function unknown(handoffId: string): ChangeMaking {
  return refused("NOT_FOUND", `handoff ${handoffId} is not known, or ended long ago`, { handoff_id: handoffId });
}

const PHASES: Readonly<Record<number, string>> = {
  [HandoffPhase.PREPARED]: "PREPARED",
  [HandoffPhase.ACCEPTED]: "ACCEPTED",
  [HandoffPhase.COMMITTED]: "COMMITTED",
  [HandoffPhase.ABORTED]: "ABORTED",
};

function inPhase({ handoffId, phase, reason }: Handoff): ChangeMaking {
  const name = PHASES[phase] ?? "";
  const why = reason === "" ? "" : ` (${reason})`;
  return refused("HANDOFF_PHASE", `handoff ${handoffId} is ${name}${why}`, { handoff_id: handoffId, phase: name, ...(reason === "" ? {} : { handoff_reason: reason }) });
}
