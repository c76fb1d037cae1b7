// Where regions go when the directory chooses: who backs one up, who is given one, what is moved. Pure functions of the
// replicated state, in whole numbers, so that every replica chooses the same.
import type { GameServer, Region, ServerLoad } from "@statemesh/contract";
import type { LeaseRow, LeaseTable } from "./lease-table.ts";

/** Backups of a region. */
export const BACKUPS_MAX = 2;
/** A tick as long as this is a server that can't keep up: 20 ticks a second. */
const TICK_BUDGET_US = 50_000;
/** What owning one neighbour is worth, in thousandths of a whole server's load: players who cross stay on one server. */
const NEIGHBOUR_WORTH = 10;
/** How much better another backup has to be, in the same thousandths, before it takes the place of one that lives. */
const CHANGE_WORTH = 150;

/** The state that placement looks at. */
export interface PlacementView {
  readonly leases: LeaseTable;
  servers(): Iterable<GameServer>;
  server(serverId: number): GameServer | undefined;
  load(serverId: number): ServerLoad | undefined;
}

/** How full a server is, thousandths, 0..1,000: the worst of its processors, its ticks and its regions. */
export function burdenOf(view: PlacementView, server: GameServer): number {
  const load = view.load(server.serverId);
  const regions = server.maxRegions === 0 ? 0 : Math.floor((view.leases.ownedCount(server.serverId) * 1_000) / server.maxRegions);
  const ticks = Math.floor(((load?.tickUs ?? 0) * 1_000) / TICK_BUDGET_US);
  return Math.min(1_000, Math.max(load?.cpuPermille ?? 0, ticks, regions));
}

/** Servers that may be given a region, the best first. */
function ranked(view: PlacementView, region: Region, excluded: ReadonlySet<number>): { serverId: number; worth: number }[] {
  const around = view.leases.ownersAround(region);
  const found: { serverId: number; worth: number; backed: number }[] = [];
  for (const server of view.servers()) {
    const { serverId } = server;
    if (excluded.has(serverId) || view.leases.ownedCount(serverId) >= server.maxRegions) continue;
    const worth = NEIGHBOUR_WORTH * (around.get(serverId) ?? 0) - burdenOf(view, server);
    found.push({ serverId, worth, backed: view.leases.backedCount(serverId) });
  }
  return found.sort((a, b) => b.worth - a.worth || a.backed - b.backed || a.serverId - b.serverId);
}

/** Who backs a region up, the best first. Backups that can go on stay, unless others are much better. */
export function chooseBackups(view: PlacementView, row: LeaseRow): readonly number[] {
  const best = ranked(view, row.region, new Set([row.serverId]));
  const worths = new Map(best.map(({ serverId, worth }) => [serverId, worth]));
  const kept = row.backups.filter((serverId) => worths.has(serverId));
  const others = best.filter(({ serverId }) => !kept.includes(serverId));
  while (kept.length < BACKUPS_MAX) {
    const next = others.shift();
    if (next === undefined) break;
    kept.push(next.serverId);
  }
  const worst = kept.at(-1);
  const better = others[0];
  if (worst !== undefined && better !== undefined && better.worth > (worths.get(worst) ?? 0) + CHANGE_WORTH) kept[kept.length - 1] = better.serverId;
  const chosen = kept.slice(0, BACKUPS_MAX);
  return chosen.length === row.backups.length && chosen.every((serverId, at) => serverId === row.backups[at]) ? row.backups : chosen;
}

/** Who takes over a region whose owner is gone: its backups first, then whoever would be one; 0: nobody can. */
export function chooseSuccessor(view: PlacementView, row: LeaseRow, silent: ReadonlySet<number>): number {
  const able = (serverId: number): boolean => {
    const server = view.server(serverId);
    return server !== undefined && !silent.has(serverId) && serverId !== row.serverId && view.leases.ownedCount(serverId) < server.maxRegions;
  };
  return row.backups.find(able) ?? ranked(view, row.region, new Set([...silent, row.serverId]))[0]?.serverId ?? 0;
}

/** Who is given a region that nobody owns; 0: nobody can. */
export function chooseOwner(view: PlacementView, region: Region, silent: ReadonlySet<number>): number {
  return ranked(view, region, silent)[0]?.serverId ?? 0;
}
