// Which regions to move so that servers have about the same to do. A pure function of the replicated state; what it plans
// becomes true by handoffs, one after the other, and each of them may be refused.
import type { Region } from "@statemesh/contract";
import { compareRegions, neighboursOf } from "@statemesh/world";
import type { HandoffTable } from "./handoff-table.ts";
import type { LeaseRow } from "./lease-table.ts";
import { burdenOf, type PlacementView } from "./placement.ts";

/** A server that is busier than this, in thousandths, is given nothing. */
const BURDEN_MAX = 900;
/** Two servers that differ by less than this share of the greater are even enough, percent. */
const EVEN_PERCENT = 10;

export interface PlannedMove {
  readonly region: Region;
  readonly epoch: number;
  readonly players: number;
  readonly fromServerId: number;
  readonly toServerId: number;
}

/** What a server has in a plan. */
interface Share {
  readonly serverId: number;
  /** Regions and players. */
  weight: number;
  readonly rows: Set<LeaseRow>;
  readonly takes: number;
  /** Regions that it has now, and those that it is to get. What it is to give counts: that handoff may be refused. */
  most: number;
}

/** A region costs something although nobody is in it. */
function weightOf({ players }: LeaseRow): number {
  return 1 + players;
}

/** At most `movesMax` moves, each from the fullest server to the emptiest that can take it. `silent`: servers that are not heard of. */
export function planBalance(view: PlacementView & { readonly handoffs: HandoffTable }, movesMax: number, silent: ReadonlySet<number>): PlannedMove[] {
  const shares: Share[] = [];
  for (const server of view.servers()) {
    const rows = new Set(view.leases.ownedBy(server.serverId));
    const weight = [...rows].reduce((sum, row) => sum + weightOf(row), 0);
    const takes = silent.has(server.serverId) || burdenOf(view, server) > BURDEN_MAX ? 0 : server.maxRegions;
    shares.push({ serverId: server.serverId, weight, rows, takes, most: rows.size });
  }
  const moves: PlannedMove[] = [];
  while (moves.length < movesMax) {
    const move = nextMove(view, shares);
    if (move === undefined) break;
    moves.push(move);
  }
  return moves;
}

function nextMove(view: PlacementView & { readonly handoffs: HandoffTable }, shares: readonly Share[]): PlannedMove | undefined {
  const byWeight = [...shares].sort((a, b) => b.weight - a.weight || a.serverId - b.serverId);
  const from = byWeight[0];
  const to = byWeight.findLast((share) => share.most < share.takes);
  if (from === undefined || to === undefined || from === to) return undefined;
  const gap = from.weight - to.weight;
  if (gap * 100 <= from.weight * EVEN_PERCENT) return undefined;
  const row = bestOf(view, from, to, gap);
  if (row === undefined) return undefined;
  from.rows.delete(row);
  from.weight -= weightOf(row);
  const moved = { ...row, serverId: to.serverId };
  to.rows.add(moved);
  to.most += 1;
  to.weight += weightOf(row);
  return { region: row.region, epoch: row.epoch, players: row.players, fromServerId: from.serverId, toServerId: to.serverId };
}

/** The region that evens the two out best; among equals the one with most neighbours at its new owner. */
function bestOf(view: PlacementView & { readonly handoffs: HandoffTable }, from: Share, to: Share, gap: number): LeaseRow | undefined {
  let best: { row: LeaseRow; miss: number; beside: number } | undefined;
  for (const row of from.rows) {
    const weight = weightOf(row);
    // A move that makes the other as full as this one was helps nobody; what is on its way, or came in this plan, stays.
    if (weight >= gap || view.handoffs.ofRegion(row.region) !== undefined || view.leases.get(row.region) !== row) continue;
    const miss = Math.abs(gap - 2 * weight);
    if (best !== undefined && miss > best.miss) continue;
    const beside = neighboursOf(row.region, 1).filter((neighbour) => view.leases.get(neighbour)?.serverId === to.serverId).length;
    const isBetter = best === undefined || miss < best.miss || beside > best.beside || (beside === best.beside && compareRegions(row.region, best.row.region) < 0);
    if (isBetter) best = { row, miss, beside };
  }
  return best?.row;
}
