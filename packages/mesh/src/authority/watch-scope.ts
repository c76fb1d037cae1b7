// What a watch of the directory is about.
import { type AuthorityEvent, AuthorityEvent_Kind as Kind, type Handoff, MeshError, type Region, type RegionAuthority, type WatchRequest } from "@statemesh/contract";
import type { Directory, LeaseRow } from "@statemesh/replica";
import { checkInteger, formatRegion, neighboursOf } from "@statemesh/world";
import { distinctRegions } from "../subscriptions/scope.ts";

/** Regions that one watch names. */
const REGIONS_MAX = 343;
const SERVER_ID_MAX = 4_294_967_295;

export class WatchScope {
  readonly #serverId: number;
  readonly #neighbours: boolean;
  readonly #named: readonly Region[];
  readonly #regions: ReadonlySet<string>;

  /** Throws INVALID_FIELD. */
  constructor({ regions, serverId, neighbours }: WatchRequest) {
    checkInteger(serverId, 0, SERVER_ID_MAX, "", "server_id");
    const named = regions.length === 0 ? [] : distinctRegions(regions, REGIONS_MAX);
    if (neighbours && named.length === 0 && serverId === 0) throw MeshError.field("neighbours", "needs regions or server_id");
    this.#serverId = serverId;
    this.#neighbours = neighbours;
    const all = neighbours ? named.flatMap((region) => [region, ...neighboursOf(region, 1)]) : named;
    this.#regions = new Set(all.map(formatRegion));
    this.#named = neighbours ? [...new Map(all.map((region) => [formatRegion(region), region])).values()] : named;
  }

  get #isAll(): boolean {
    return this.#serverId === 0 && this.#regions.size === 0;
  }

  /** Whether a change is told, where the directory stands as it does now. */
  concerns(event: AuthorityEvent, directory: Directory): boolean {
    if (this.#isAll) return true;
    const { authority, server, handoff, previousServerId, previousBackupServerIds } = event;
    const id = this.#serverId;
    if (server !== undefined) return server.serverId === id;
    if (authority?.region === undefined) return false;
    if (this.#regions.has(authority.regionText)) return true;
    if (id === 0) return false;
    if (previousServerId === id || previousBackupServerIds.includes(id) || (handoff !== undefined && isSide(handoff, id)) || isOf(authority, id)) return true;
    return this.#neighbours && isBeside(authority.region, id, directory);
  }

  /** Whom the server has beside it since an event gave it a region: their changes of before were not told. */
  newlyBeside({ kind, authority }: AuthorityEvent, directory: Directory): LeaseRow[] {
    const isGiven = kind === Kind.GRANTED || kind === Kind.TAKEN_OVER || kind === Kind.TRANSFERRED;
    if (!this.#neighbours || this.#serverId === 0 || !isGiven || authority?.region === undefined || authority.owner?.serverId !== this.#serverId) return [];
    return neighboursOf(authority.region, 1).flatMap((region) => directory.lease(region) ?? []);
  }

  /** The rows that a snapshot shows, as they stand. */
  rows(directory: Directory): LeaseRow[] {
    if (this.#isAll) return [...directory.leases()].filter(({ serverId }) => serverId !== 0);
    const rows = new Map<string, LeaseRow>();
    const take = (row: LeaseRow | undefined): void => {
      if (row !== undefined) rows.set(formatRegion(row.region), row);
    };
    for (const region of this.#named) take(directory.lease(region) ?? { region, epoch: 0, serverId: 0, durationMs: 0, backups: [], players: 0 });
    if (this.#serverId === 0) return [...rows.values()];
    for (const row of directory.tables.leases.ownedBy(this.#serverId)) {
      take(row);
      if (this.#neighbours) for (const neighbour of neighboursOf(row.region, 1)) take(directory.lease(neighbour));
    }
    // Whose backup it is, is not kept by server: this pass over all leases is one a snapshot.
    if (directory.tables.leases.backedCount(this.#serverId) > 0) for (const row of directory.leases()) if (row.backups.includes(this.#serverId)) take(row);
    return [...rows.values()];
  }

  handoffs(directory: Directory): Handoff[] {
    const running = [...directory.tables.handoffs.running()];
    if (this.#isAll) return running;
    return running.filter((handoff) => isSide(handoff, this.#serverId) || (handoff.region !== undefined && this.#regions.has(formatRegion(handoff.region))));
  }
}

function isSide({ fromServerId, toServerId }: Handoff, serverId: number): boolean {
  return fromServerId === serverId || toServerId === serverId;
}

function isOf({ owner, backupServerIds }: RegionAuthority, serverId: number): boolean {
  return owner?.serverId === serverId || backupServerIds.includes(serverId);
}

function isBeside(region: Region, serverId: number, directory: Directory): boolean {
  return neighboursOf(region, 1).some((neighbour) => directory.lease(neighbour)?.serverId === serverId);
}
