// What becomes of a region whose lease ends: at each moment exactly one owner, or none.
import { AuthorityEvent_Kind as Kind, type Handoff, HandoffPhase } from "@statemesh/contract";
import type { ChangeMaking } from "./directory-change.ts";
import type { DirectoryTables } from "./directory-tables.ts";
import { type LeaseRow, nextOwner, withoutOwner } from "./lease-table.ts";
import { chooseSuccessor } from "./placement.ts";

/** How a lease ends. */
export interface LeaseEnd {
  readonly kind: typeof Kind.RELEASED | typeof Kind.EXPIRED;
  /** A backup may take over. */
  readonly failover: boolean;
  /** Servers that are registered and not heard of: none of them takes over. */
  readonly silent: ReadonlySet<number>;
}

/**
 * Ends a lease. A target that has accepted the region owns it from now on: it has loaded it, and its owner is gone.
 * Else a backup takes over where that is wanted; else nobody owns the region.
 */
export function endLease(tables: DirectoryTables, row: LeaseRow, end: LeaseEnd, change: ChangeMaking): void {
  const handoff = tables.handoffs.ofRegion(row.region);
  if (handoff?.phase === HandoffPhase.ACCEPTED && tables.server(handoff.toServerId) !== undefined && !end.silent.has(handoff.toServerId)) {
    return commitHandoff(tables, handoff, row, change);
  }
  const successor = end.failover ? chooseSuccessor(tables, row, end.silent) : 0;
  const after = successor === 0 ? withoutOwner(row) : nextOwner(row.region, row, successor, row.durationMs);
  tables.leases.put(after);
  change.fenced.push(after);
  if (successor !== 0) change.renewed.push(after);
  change.tell({ kind: successor === 0 ? end.kind : Kind.TAKEN_OVER, authority: tables.authority(row.region, after.durationMs), previousServerId: row.serverId });
  // Behind the new owner: who watches takes each event as the state after it.
  if (handoff !== undefined) abortHandoff(tables, handoff, end.kind === Kind.RELEASED ? "RELEASED" : "OWNER_LOST", change);
}

/** The target owns the region from now on. */
export function commitHandoff(tables: DirectoryTables, handoff: Handoff, row: LeaseRow, change: ChangeMaking): void {
  const after = nextOwner(row.region, row, handoff.toServerId, row.durationMs);
  const committed = { ...handoff, phase: HandoffPhase.COMMITTED };
  tables.leases.put(after);
  tables.handoffs.put(committed);
  change.fenced.push(after);
  change.renewed.push(after);
  change.tell({ kind: Kind.TRANSFERRED, authority: tables.authority(row.region, after.durationMs), previousServerId: row.serverId, handoff: committed });
}

/** The owner goes on. */
export function abortHandoff(tables: DirectoryTables, handoff: Handoff, reason: string, change: ChangeMaking): Handoff {
  const aborted = { ...handoff, phase: HandoffPhase.ABORTED, reason };
  tables.handoffs.put(aborted);
  const authority = handoff.region === undefined ? undefined : tables.authority(handoff.region, tables.leases.get(handoff.region)?.durationMs ?? 0);
  change.tell({ kind: Kind.HANDOFF_ABORTED, ...(authority === undefined ? {} : { authority }), previousServerId: handoff.fromServerId, handoff: aborted });
  return aborted;
}
