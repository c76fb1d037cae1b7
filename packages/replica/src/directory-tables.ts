// What the directory holds: servers with what they said of themselves, leases, handoffs.
import { type GameServer, type Region, type RegionAuthority, type ServerLoad } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import { HandoffTable } from "./handoff-table.ts";
import { LeaseTable } from "./lease-table.ts";
import type { PlacementView } from "./placement.ts";
import type { StateHash } from "./state-hash.ts";

export class DirectoryTables implements PlacementView {
  readonly leases: LeaseTable;
  readonly handoffs: HandoffTable;
  readonly #servers = new Map<number, GameServer>();
  readonly #names = new Map<string, number>();
  readonly #loads = new Map<number, ServerLoad>();
  readonly #hash: StateHash;

  constructor(hash: StateHash) {
    this.#hash = hash;
    this.leases = new LeaseTable(hash);
    this.handoffs = new HandoffTable(hash);
  }

  server(serverId: number): GameServer | undefined {
    return this.#servers.get(serverId);
  }

  servers(): IterableIterator<GameServer> {
    return this.#servers.values();
  }

  /** Who has a name; 0: nobody. */
  holderOf(name: string): number {
    return this.#names.get(name) ?? 0;
  }

  load(serverId: number): ServerLoad | undefined {
    return this.#loads.get(serverId);
  }

  loads(): IterableIterator<[number, ServerLoad]> {
    return this.#loads.entries();
  }

  authority(region: Region, leaseRemainingMs: number): RegionAuthority {
    const row = this.leases.get(region);
    const owner = row === undefined || row.serverId === 0 ? undefined : this.#servers.get(row.serverId);
    return {
      region,
      regionText: formatRegion(region),
      owner,
      epoch: row?.epoch ?? 0,
      leaseRemainingMs: owner === undefined ? 0 : leaseRemainingMs,
      backupServerIds: row === undefined ? [] : [...row.backups],
    };
  }

  putServer(server: GameServer): void {
    const before = this.#servers.get(server.serverId);
    if (before !== undefined) this.#nameServer(before, "remove");
    this.#servers.set(server.serverId, server);
    this.#nameServer(server, "add");
  }

  removeServer(server: GameServer): void {
    this.#servers.delete(server.serverId);
    this.#nameServer(server, "remove");
    this.putLoad(server.serverId, undefined);
  }

  #nameServer(server: GameServer, change: "add" | "remove"): void {
    if (change === "add") this.#names.set(server.name, server.serverId);
    else this.#names.delete(server.name);
    this.#hash[change]("server", server.name, server.serverId, server.incarnation);
    if (server.maxRegions > 0) this.#hash[change]("max_regions", "", server.serverId, server.maxRegions);
  }

  putLoad(serverId: number, load: ServerLoad | undefined): void {
    const before = this.#loads.get(serverId);
    if (before !== undefined) this.#hash.remove("load", textOf(before), serverId, 0);
    this.#loads.delete(serverId);
    if (load === undefined) return;
    this.#loads.set(serverId, load);
    this.#hash.add("load", textOf(load), serverId, 0);
  }
}

function textOf({ players, tickUs, cpuPermille }: ServerLoad): string {
  return `${players} ${tickUs} ${cpuPermille}`;
}
