// The directory that group 0 replicates: registered game servers and region leases. The state holds no times:
// that a lease or registration ran out is decided by the leader, by its own clock, and put into the log.
import type { GameServer, Lease, LogPosition, Region, RegionAuthority } from "@statemesh/contract";
import { CommandResult, type DirectoryCommand } from "@statemesh/contract/log";
import { formatRegion } from "@statemesh/world";
import type { StateHash } from "./state-hash.ts";

/** A lease, or the last epoch of a region that nobody owns. Replaced, never changed. */
export interface LeaseRow {
  readonly region: Region;
  /** Grows with every new owner, never shrinks. */
  readonly epoch: number;
  /** 0: nobody. */
  readonly serverId: number;
  readonly durationMs: number;
}

/** What a directory command did, for those who keep time outside of the log. */
export interface DirectoryChange {
  readonly result: CommandResult;
  /** Regions whose owner or epoch changed: their groups need a new fence. */
  readonly fenced: readonly LeaseRow[];
  /** Leases that now run from the beginning. */
  readonly renewed: readonly LeaseRow[];
  /** Servers whose registration now runs from the beginning. */
  readonly alive: readonly number[];
}

const NO_POSITION: LogPosition | undefined = undefined;

export class Directory {
  readonly #servers = new Map<number, GameServer>();
  readonly #names = new Map<string, number>();
  readonly #leases = new Map<string, LeaseRow>();
  readonly #hash: StateHash;

  constructor(hash: StateHash) {
    this.#hash = hash;
  }

  server(serverId: number): GameServer | undefined {
    return this.#servers.get(serverId);
  }

  lease(region: Region): LeaseRow | undefined {
    return this.#leases.get(formatRegion(region));
  }

  servers(): IterableIterator<GameServer> {
    return this.#servers.values();
  }

  leases(): IterableIterator<LeaseRow> {
    return this.#leases.values();
  }

  authority(region: Region, leaseRemainingMs: number): RegionAuthority {
    const row = this.lease(region);
    const owner = row === undefined || row.serverId === 0 ? undefined : this.#servers.get(row.serverId);
    return {
      region,
      regionText: formatRegion(region),
      owner,
      epoch: row?.epoch ?? 0,
      leaseRemainingMs: owner === undefined ? 0 : leaseRemainingMs,
    };
  }

  apply(command: DirectoryCommand): DirectoryChange {
    const body = command.command;
    switch (body?.$case) {
      case "register":
        return this.#register(body.value.server);
      case "acquire":
        return this.#acquire(body.value.serverId, body.value.region, body.value.durationMs);
      case "renew":
        return this.#renew(body.value.serverId, body.value.leases, body.value.durationMs);
      case "release":
        return this.#release(body.value.serverId, body.value.region, body.value.epoch);
      case "expire":
        return this.#expire(body.value);
      default:
        return refused("INVALID_FIELD", "unknown directory command");
    }
  }

  #register(server: GameServer | undefined): DirectoryChange {
    if (server === undefined) return refused("INVALID_FIELD", "server: required");
    const sameId = this.#servers.get(server.serverId);
    if (sameId !== undefined && sameId.incarnation !== server.incarnation) {
      return refused("SERVER_ALREADY_REGISTERED", `server ${server.serverId} is registered and alive as ${sameId.name}`);
    }
    const nameHolder = this.#names.get(server.name);
    if (nameHolder !== undefined && nameHolder !== server.serverId) {
      return refused("SERVER_ALREADY_REGISTERED", `the name ${server.name} is held by live server ${nameHolder}`);
    }
    if (sameId !== undefined) this.#forgetServer(sameId);
    this.#addServer(server);
    return { result: CommandResult.fromPartial({ server }), fenced: [], renewed: [], alive: [server.serverId] };
  }

  #acquire(serverId: number, region: Region | undefined, durationMs: number): DirectoryChange {
    if (region === undefined) return refused("INVALID_FIELD", "region: required");
    if (!this.#servers.has(serverId)) return refused("SERVER_NOT_REGISTERED", `server ${serverId} is not registered`);
    const before = this.lease(region);
    if (before !== undefined && before.serverId !== 0 && before.serverId !== serverId) {
      return {
        ...refused("LEASE_HELD", `${formatRegion(region)} is held by server ${before.serverId} at epoch ${before.epoch}`),
        result: CommandResult.fromPartial({
          reason: "LEASE_HELD",
          message: `${formatRegion(region)} is held by server ${before.serverId} at epoch ${before.epoch}`,
          holder: this.authority(region, before.durationMs),
        }),
      };
    }
    // The same server asking again keeps its epoch: a retry must not fence what it has in flight.
    const epoch = before === undefined ? 1 : before.serverId === serverId ? before.epoch : before.epoch + 1;
    const row: LeaseRow = { region, epoch, serverId, durationMs };
    this.#putLease(row);
    return { result: CommandResult.fromPartial({ lease: leaseOf(row) }), fenced: [row], renewed: [row], alive: [serverId] };
  }

  #renew(
    serverId: number,
    leases: readonly { region: Region | undefined; epoch: number }[],
    durationMs: number,
  ): DirectoryChange {
    if (!this.#servers.has(serverId)) return refused("SERVER_NOT_REGISTERED", `server ${serverId} is not registered`);
    const renewed: LeaseRow[] = [];
    const lost: RegionAuthority[] = [];
    for (const key of leases) {
      if (key.region === undefined) continue;
      const row = this.lease(key.region);
      if (row === undefined || row.serverId !== serverId || row.epoch !== key.epoch) {
        lost.push(this.authority(key.region, row?.durationMs ?? 0));
        continue;
      }
      const after = row.durationMs === durationMs ? row : { ...row, durationMs };
      if (after !== row) this.#putLease(after);
      renewed.push(after);
    }
    const result = CommandResult.fromPartial({ renewed: renewed.map(leaseOf), lost });
    return { result, fenced: [], renewed, alive: [serverId] };
  }

  #release(serverId: number, region: Region | undefined, epoch: number): DirectoryChange {
    if (region === undefined) return refused("INVALID_FIELD", "region: required");
    const row = this.lease(region);
    if (row === undefined || row.serverId !== serverId || row.epoch !== epoch) {
      return { result: CommandResult.fromPartial({ released: false }), fenced: [], renewed: [], alive: [] };
    }
    const after = { ...row, serverId: 0 };
    this.#putLease(after);
    return { result: CommandResult.fromPartial({ released: true, lease: leaseOf(row) }), fenced: [after], renewed: [], alive: [] };
  }

  #expire(expired: {
    leases: readonly { region: Region | undefined; epoch: number }[];
    servers: readonly { serverId: number; incarnation: number }[];
  }): DirectoryChange {
    const fenced: LeaseRow[] = [];
    for (const key of expired.leases) {
      const row = key.region === undefined ? undefined : this.lease(key.region);
      if (row === undefined || row.serverId === 0 || row.epoch !== key.epoch) continue;
      const after = { ...row, serverId: 0 };
      this.#putLease(after);
      fenced.push(after);
    }
    for (const { serverId, incarnation } of expired.servers) {
      const server = this.#servers.get(serverId);
      if (server === undefined || server.incarnation !== incarnation) continue;
      this.#forgetServer(server);
      for (const row of [...this.#leases.values()]) {
        if (row.serverId !== serverId) continue;
        const after = { ...row, serverId: 0 };
        this.#putLease(after);
        fenced.push(after);
      }
    }
    return { result: CommandResult.fromPartial({}), fenced, renewed: [], alive: [] };
  }

  #addServer(server: GameServer): void {
    this.#servers.set(server.serverId, server);
    this.#names.set(server.name, server.serverId);
    this.#hash.add("server", server.name, server.serverId, server.incarnation);
  }

  #forgetServer(server: GameServer): void {
    this.#servers.delete(server.serverId);
    this.#names.delete(server.name);
    this.#hash.remove("server", server.name, server.serverId, server.incarnation);
  }

  #putLease(row: LeaseRow): void {
    const key = formatRegion(row.region);
    const before = this.#leases.get(key);
    if (before !== undefined && row.epoch < before.epoch) throw new Error(`directory: epoch of ${key} went back`);
    if (before !== undefined) this.#hash.remove("lease", key, before.epoch, before.serverId);
    this.#leases.set(key, row);
    this.#hash.add("lease", key, row.epoch, row.serverId);
  }

  restoreServer(server: GameServer): void {
    this.#addServer(server);
  }

  restoreLease(row: LeaseRow): void {
    this.#putLease(row);
  }
}

export function leaseOf(row: LeaseRow): Lease {
  return { region: row.region, serverId: row.serverId, epoch: row.epoch, durationMs: row.durationMs };
}

function refused(reason: string, message: string): DirectoryChange {
  return {
    result: CommandResult.fromPartial({ reason, message, position: NO_POSITION }),
    fenced: [],
    renewed: [],
    alive: [],
  };
}
