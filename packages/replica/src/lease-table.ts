// The leases of all regions, and the last epoch of those that nobody owns. Rows are replaced, never changed.
import type { Lease, Region } from "@statemesh/contract";
import { formatRegion, neighboursOf } from "@statemesh/world";
import type { StateHash } from "./state-hash.ts";

/** A lease, or the last epoch of a region that nobody owns. */
export interface LeaseRow {
  readonly region: Region;
  /** Grows with every new owner, never shrinks. */
  readonly epoch: number;
  /** 0: nobody. */
  readonly serverId: number;
  readonly durationMs: number;
  /** Who takes over when the lease runs out, in this order. */
  readonly backups: readonly number[];
  /** Players in the region, as its owner last said. */
  readonly players: number;
}

const NO_BACKUPS: readonly number[] = [];
const NONE: ReadonlySet<string> = new Set();

export class LeaseTable {
  readonly #rows = new Map<string, LeaseRow>();
  readonly #owned = new Map<number, Set<string>>();
  readonly #backed = new Map<number, number>();
  readonly #players = new Map<number, number>();
  readonly #hash: StateHash;

  constructor(hash: StateHash) {
    this.#hash = hash;
  }

  get size(): number {
    return this.#rows.size;
  }

  get(region: Region): LeaseRow | undefined {
    return this.#rows.get(formatRegion(region));
  }

  rows(): IterableIterator<LeaseRow> {
    return this.#rows.values();
  }

  *ownedBy(serverId: number): Generator<LeaseRow> {
    for (const key of this.#owned.get(serverId) ?? NONE) {
      const row = this.#rows.get(key);
      if (row !== undefined) yield row;
    }
  }

  /** How many regions a server owns. */
  ownedCount(serverId: number): number {
    return this.#owned.get(serverId)?.size ?? 0;
  }

  /** For how many regions a server is a backup. */
  backedCount(serverId: number): number {
    return this.#backed.get(serverId) ?? 0;
  }

  /** Players in the regions that a server owns. */
  playersOf(serverId: number): number {
    return this.#players.get(serverId) ?? 0;
  }

  /** By server: how many of the 26 neighbours of a region it owns. */
  ownersAround(region: Region): ReadonlyMap<number, number> {
    const owners = new Map<number, number>();
    for (const neighbour of neighboursOf(region, 1)) {
      const serverId = this.get(neighbour)?.serverId ?? 0;
      if (serverId !== 0) owners.set(serverId, (owners.get(serverId) ?? 0) + 1);
    }
    return owners;
  }

  /** Throws where an epoch would go back: replicas have diverged. */
  put(row: LeaseRow): void {
    const key = formatRegion(row.region);
    const before = this.#rows.get(key);
    if (before !== undefined) {
      if (row.epoch < before.epoch) throw new Error(`directory: epoch of ${key} went back`);
      this.#count(key, before, -1);
    }
    this.#rows.set(key, row);
    this.#count(key, row, 1);
  }

  #count(key: string, row: LeaseRow, sign: 1 | -1): void {
    const hash = sign === 1 ? this.#hash.add.bind(this.#hash) : this.#hash.remove.bind(this.#hash);
    hash("lease", key, row.epoch, row.serverId);
    if (row.players > 0) hash("players", key, row.players, 0);
    for (const [at, serverId] of row.backups.entries()) {
      hash("backup", key, serverId, at);
      addTo(this.#backed, serverId, sign);
    }
    if (row.serverId === 0) return;
    addTo(this.#players, row.serverId, sign * row.players);
    const owned = this.#owned.get(row.serverId);
    if (sign === -1) {
      owned?.delete(key);
      if (owned?.size === 0) this.#owned.delete(row.serverId);
    } else if (owned === undefined) this.#owned.set(row.serverId, new Set([key]));
    else owned.add(key);
  }
}

function addTo(counts: Map<number, number>, key: number, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}

/** The row of the region's next owner. Backups that are not the owner stay. */
export function nextOwner(region: Region, before: LeaseRow | undefined, serverId: number, durationMs: number): LeaseRow {
  const backups = before?.backups.filter((backup) => backup !== serverId) ?? NO_BACKUPS;
  return { region, epoch: (before?.epoch ?? 0) + 1, serverId, durationMs, backups, players: before?.players ?? 0 };
}

/** The row after its owner's end: nobody owns the region. */
export function withoutOwner(row: LeaseRow): LeaseRow {
  return { ...row, serverId: 0, backups: NO_BACKUPS, players: 0 };
}

export function leaseOf(row: LeaseRow): Lease {
  return { region: row.region, serverId: row.serverId, epoch: row.epoch, durationMs: row.durationMs };
}
