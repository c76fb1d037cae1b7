// The directory that group 0 replicates: registered game servers, region leases and handoffs. The state holds no times:
// that a lease, a registration or a handoff ran out is decided by the leader, by its own clock, and put into the log.
import { AuthorityEvent_Kind as Kind, type GameServer, type Handoff, type Region, type RegionAuthority, type ServerLoad } from "@statemesh/contract";
import type { DirectoryCommand, ExpireLeases, GrantLease, RegisterServer, ReleaseLease, RenewLeases } from "@statemesh/contract/log";
import { compareRegions, formatRegion } from "@statemesh/world";
import { ChangeMaking, type DirectoryChange, refused } from "./directory-change.ts";
import { DirectoryTables } from "./directory-tables.ts";
import { finishHandoff, prepareHandoff, readyHandoff } from "./handoff-commands.ts";
import { isUnderWay } from "./handoff-table.ts";
import { type LeaseRow, leaseOf, nextOwner } from "./lease-table.ts";
import { chooseBackups, chooseOwner } from "./placement.ts";
import type { StateHash } from "./state-hash.ts";
import { abortHandoff, endLease } from "./succession.ts";

/** Regions that an answer to a renewal names beyond those renewed. */
const ASSIGNED_MAX = 1_024;
/** Handoffs that an answer to a renewal names. */
const TOLD_HANDOFFS_MAX = 256;
const NOBODY: ReadonlySet<number> = new Set();

export class Directory {
  readonly tables: DirectoryTables;

  constructor(hash: StateHash) {
    this.tables = new DirectoryTables(hash);
  }

  server(serverId: number): GameServer | undefined {
    return this.tables.server(serverId);
  }

  lease(region: Region): LeaseRow | undefined {
    return this.tables.leases.get(region);
  }

  servers(): IterableIterator<GameServer> {
    return this.tables.servers();
  }

  leases(): IterableIterator<LeaseRow> {
    return this.tables.leases.rows();
  }

  authority(region: Region, leaseRemainingMs: number): RegionAuthority {
    return this.tables.authority(region, leaseRemainingMs);
  }

  apply(command: DirectoryCommand): DirectoryChange {
    const body = command.command;
    switch (body?.$case) {
      case "register":
        return this.#register(body.value);
      case "acquire":
        return this.#acquire(body.value);
      case "renew":
        return this.#renew(body.value);
      case "release":
        return this.#release(body.value);
      case "expire":
        return this.#expire(body.value);
      case "prepare":
        return prepareHandoff(this.tables, body.value);
      case "ready":
        return readyHandoff(this.tables, body.value);
      case "finish":
        return finishHandoff(this.tables, body.value);
      case "backups":
        return this.#chooseBackups(body.value.regions);
      case "assign":
        return this.#assign(body.value.regions, body.value.durationMs, new Set(body.value.silentServerIds));
      default:
        return refused("INVALID_FIELD", "unknown directory command");
    }
  }

  #register({ server }: RegisterServer): DirectoryChange {
    if (server === undefined) return refused("INVALID_FIELD", "server: required");
    const { tables } = this;
    const sameId = tables.server(server.serverId);
    if (sameId !== undefined && sameId.incarnation !== server.incarnation) {
      return refused("SERVER_ALREADY_REGISTERED", `server ${server.serverId} is registered and alive as ${sameId.name}`);
    }
    const nameHolder = tables.holderOf(server.name);
    if (nameHolder !== 0 && nameHolder !== server.serverId) {
      return refused("SERVER_ALREADY_REGISTERED", `the name ${server.name} is held by live server ${nameHolder}`);
    }
    tables.putServer(server);
    const change = new ChangeMaking();
    change.alive.push(server.serverId);
    if (sameId === undefined) change.tell({ kind: Kind.SERVER_REGISTERED, server });
    return change.answer({ server });
  }

  #acquire({ serverId, region, durationMs }: GrantLease): DirectoryChange {
    if (region === undefined) return refused("INVALID_FIELD", "region: required");
    const { tables } = this;
    if (tables.server(serverId) === undefined) return notRegistered(serverId);
    const before = this.lease(region);
    if (before !== undefined && before.serverId !== 0 && before.serverId !== serverId) {
      const change = refused("LEASE_HELD", `${formatRegion(region)} is held by server ${before.serverId} at epoch ${before.epoch}`);
      change.result.holder = this.authority(region, before.durationMs);
      return change;
    }
    // The same server asking again keeps its epoch: a retry must not fence what it has in flight.
    const isNew = before?.serverId !== serverId;
    const row: LeaseRow = isNew ? nextOwner(region, before, serverId, durationMs) : { ...before, durationMs };
    tables.leases.put(row);
    const change = new ChangeMaking();
    change.fenced.push(row);
    change.renewed.push(row);
    change.alive.push(serverId);
    if (isNew) change.tell({ kind: Kind.GRANTED, authority: this.authority(region, durationMs) });
    return change.answer({ lease: leaseOf(row) });
  }

  #renew({ serverId, leases, durationMs, load }: RenewLeases): DirectoryChange {
    const { tables } = this;
    if (tables.server(serverId) === undefined) return notRegistered(serverId);
    const change = new ChangeMaking();
    const lost: RegionAuthority[] = [];
    const named = new Set<string>();
    for (const { region, epoch, players } of leases) {
      if (region === undefined) continue;
      const row = this.lease(region);
      if (row === undefined || row.serverId !== serverId || row.epoch !== epoch) {
        lost.push(this.authority(region, row?.durationMs ?? 0));
        continue;
      }
      named.add(formatRegion(region));
      const after = row.durationMs === durationMs && row.players === players ? row : { ...row, durationMs, players };
      if (after !== row) tables.leases.put(after);
      change.renewed.push(after);
    }
    if (load !== undefined) tables.putLoad(serverId, load);
    change.alive.push(serverId);
    const assigned: RegionAuthority[] = [];
    for (const row of tables.leases.ownedBy(serverId)) {
      if (assigned.length >= ASSIGNED_MAX) break;
      if (!named.has(formatRegion(row.region))) assigned.push(this.authority(row.region, row.durationMs));
    }
    return change.answer({ renewed: change.renewed.map(leaseOf), lost, assigned, handoffs: tables.handoffs.ofServer(serverId).slice(0, TOLD_HANDOFFS_MAX) });
  }

  #release({ serverId, region, epoch }: ReleaseLease): DirectoryChange {
    if (region === undefined) return refused("INVALID_FIELD", "region: required");
    const row = this.lease(region);
    const change = new ChangeMaking();
    if (row === undefined || row.serverId !== serverId || row.epoch !== epoch) return change.answer({ released: false });
    endLease(this.tables, row, { kind: Kind.RELEASED, failover: false, silent: NOBODY }, change);
    return change.answer({ released: true, lease: leaseOf(row) });
  }

  #expire({ leases, servers, failover, silentServerIds, handoffIds }: ExpireLeases): DirectoryChange {
    const { tables } = this;
    const change = new ChangeMaking();
    // Whose registration ends takes nothing over on the way.
    const silent = new Set(silentServerIds);
    const ending: GameServer[] = [];
    for (const { serverId, incarnation } of servers) {
      const server = tables.server(serverId);
      if (server === undefined || server.incarnation !== incarnation) continue;
      ending.push(server);
      silent.add(serverId);
    }
    const end = { kind: Kind.EXPIRED, failover, silent } as const;
    for (const { region, epoch } of leases) {
      const row = region === undefined ? undefined : this.lease(region);
      if (row !== undefined && row.serverId !== 0 && row.epoch === epoch) endLease(tables, row, end, change);
    }
    for (const server of ending) {
      // In an order that does not hang on how this replica came to its state: who takes over one weighs on who takes over the next.
      const owned = [...tables.leases.ownedBy(server.serverId)].sort((a, b) => compareRegions(a.region, b.region));
      for (const row of owned) endLease(tables, row, end, change);
      for (const handoff of tables.handoffs.ofServer(server.serverId)) abortHandoff(tables, handoff, "TARGET_LOST", change);
      tables.removeServer(server);
      change.tell({ kind: Kind.SERVER_LOST, server });
    }
    for (const id of handoffIds) {
      const handoff = tables.handoffs.get(id);
      if (handoff !== undefined && isUnderWay(handoff)) abortHandoff(tables, handoff, "DEADLINE", change);
    }
    return change;
  }

  #chooseBackups(regions: readonly Region[]): DirectoryChange {
    const { tables } = this;
    const change = new ChangeMaking();
    for (const region of regions) {
      const row = this.lease(region);
      if (row === undefined || row.serverId === 0) continue;
      const backups = chooseBackups(tables, row);
      if (backups === row.backups) continue;
      tables.leases.put({ ...row, backups });
      change.tell({ kind: Kind.BACKUPS_CHANGED, authority: this.authority(region, row.durationMs), previousServerId: row.serverId, previousBackupServerIds: [...row.backups] });
    }
    return change;
  }

  #assign(regions: readonly Region[], durationMs: number, silent: ReadonlySet<number>): DirectoryChange {
    const { tables } = this;
    const change = new ChangeMaking();
    const assigned: RegionAuthority[] = [];
    for (const region of regions) {
      const row = this.lease(region);
      const serverId = row === undefined || row.serverId === 0 ? chooseOwner(tables, region, silent) : 0;
      if (serverId === 0) continue;
      const after = nextOwner(region, row, serverId, durationMs);
      tables.leases.put(after);
      change.fenced.push(after);
      change.renewed.push(after);
      const authority = this.authority(region, durationMs);
      assigned.push(authority);
      change.tell({ kind: Kind.TAKEN_OVER, authority });
    }
    return change.answer({ assigned });
  }

  // ---- snapshots ----

  restoreServer(server: GameServer): void {
    this.tables.putServer(server);
  }

  restoreLease(row: LeaseRow): void {
    this.tables.leases.put(row);
  }

  restoreHandoff(handoff: Handoff): void {
    this.tables.handoffs.put(handoff);
  }

  restoreLoad(serverId: number, load: ServerLoad): void {
    this.tables.putLoad(serverId, load);
  }

  /** What only nodes of `AUTHORITY_VERSION` read is in the state. */
  get needsAuthorityVersion(): boolean {
    const { tables } = this;
    if (tables.handoffs.rows().next().done !== true || tables.loads().next().done !== true) return true;
    for (const { maxRegions } of tables.servers()) if (maxRegions > 0) return true;
    for (const { backups, players } of tables.leases.rows()) if (backups.length > 0 || players > 0) return true;
    return false;
  }
}

function notRegistered(serverId: number): ChangeMaking {
  return refused("SERVER_NOT_REGISTERED", `server ${serverId} is not registered: call AuthorityDirectoryService/Register first`);
}
