// When leases and registrations end. Only the leader of the directory asks; but every node keeps the times, from
// the moments at which it applied what extended them, so that a new leader does not begin from nothing. A leader
// never ends a lease early: it counts from its own apply, which is later than the holder's request.
import type { DirectoryChange, Directory } from "@statemesh/replica";
import type { ExpireLeases } from "@statemesh/contract/log";
import { type DirectoryCommand } from "@statemesh/contract/log";
import { formatRegion } from "@statemesh/world";
import type { Region } from "@statemesh/contract";

/** Leases and servers that one entry ends, at most. */
const EXPIRED_PER_ENTRY = 1_024;

export class LeaseClock {
  readonly #leases = new Map<string, number>();
  readonly #servers = new Map<number, number>();
  readonly #ttlMs: number;

  constructor(ttlMs: number) {
    this.#ttlMs = ttlMs;
  }

  /** Takes in what the directory's log did, at monotonic `nowMs`. */
  observe(change: DirectoryChange, nowMs: number): void {
    for (const row of change.renewed) this.#leases.set(formatRegion(row.region), nowMs + row.durationMs);
    for (const serverId of change.alive) this.#servers.set(serverId, nowMs + this.#ttlMs);
  }

  /**
   * A command is about to enter the log: what it will extend does not run out while it is on its way. Otherwise an entry
   * behind it could end what its caller was just told to have renewed.
   */
  expect({ command }: DirectoryCommand, directory: Directory, nowMs: number): void {
    switch (command?.$case) {
      case "register": {
        const { serverId = 0, incarnation = 0 } = command.value.server ?? {};
        // Another start that asks for the id says nothing of the one that has it: who waits for a dead one must not keep it alive.
        if (directory.server(serverId)?.incarnation === incarnation) this.#extendServer(serverId, directory, nowMs);
        return;
      }
      case "acquire": {
        const { serverId, region, durationMs } = command.value;
        this.#extendServer(serverId, directory, nowMs);
        return this.#extendLease(region, serverId, undefined, durationMs, directory, nowMs);
      }
      case "renew": {
        const { serverId, leases, durationMs } = command.value;
        this.#extendServer(serverId, directory, nowMs);
        for (const { region, epoch } of leases) this.#extendLease(region, serverId, epoch, durationMs, directory, nowMs);
        return;
      }
      default:
        return;
    }
  }

  #extendServer(serverId: number, directory: Directory, nowMs: number): void {
    if (directory.server(serverId) !== undefined) this.#servers.set(serverId, nowMs + this.#ttlMs);
  }

  #extendLease(region: Region | undefined, serverId: number, epoch: number | undefined, durationMs: number, directory: Directory, nowMs: number): void {
    const row = region === undefined ? undefined : directory.lease(region);
    if (row?.serverId !== serverId || (epoch !== undefined && row.epoch !== epoch)) return;
    this.#leases.set(formatRegion(row.region), nowMs + durationMs);
  }

  /** Everything runs anew: for a node that starts, or comes to lead and can't know what its predecessor heard. */
  restart(directory: Directory, nowMs: number): void {
    this.#leases.clear();
    this.#servers.clear();
    for (const row of directory.leases()) if (row.serverId !== 0) this.#leases.set(formatRegion(row.region), nowMs + row.durationMs);
    for (const server of directory.servers()) this.#servers.set(server.serverId, nowMs + this.#ttlMs);
  }

  /** Milliseconds left of a region's lease. */
  remainingMs(region: Region, nowMs: number): number {
    return Math.max(0, Math.ceil((this.#leases.get(formatRegion(region)) ?? nowMs) - nowMs));
  }

  /** Servers that are registered and were last heard of more than `suspicionMs` ago. */
  silent(directory: Directory, nowMs: number, suspicionMs: number): number[] {
    const silent: number[] = [];
    for (const { serverId } of directory.servers()) {
      const heardMs = (this.#servers.get(serverId) ?? 0) - this.#ttlMs;
      if (nowMs - heardMs > suspicionMs) silent.push(serverId);
    }
    return silent;
  }

  /** What has run out, as the command that ends it; without leases and servers where nothing has. */
  overdue(directory: Directory, nowMs: number): ExpireLeases {
    const expired: ExpireLeases = { leases: [], servers: [], failover: false, silentServerIds: [], handoffIds: [] };
    for (const row of directory.leases()) {
      if (expired.leases.length >= EXPIRED_PER_ENTRY) break;
      if (row.serverId === 0) continue;
      if ((this.#leases.get(formatRegion(row.region)) ?? 0) <= nowMs) expired.leases.push({ region: row.region, epoch: row.epoch, players: 0 });
    }
    for (const server of directory.servers()) {
      if (expired.servers.length >= EXPIRED_PER_ENTRY) break;
      if ((this.#servers.get(server.serverId) ?? 0) <= nowMs) {
        expired.servers.push({ serverId: server.serverId, incarnation: server.incarnation });
      }
    }
    return expired;
  }
}
