// The directory's side of a node: who leads group 0 keeps leases, handoffs and fences; every node keeps the times and is watched.
import { type AuthorityEvent, AuthorityEvent_Kind as Kind } from "@statemesh/contract";
import type { Command, DecidedOperation } from "@statemesh/contract/log";
import type { DirectoryChange } from "@statemesh/replica";
import { groupOf } from "@statemesh/world";
import type { Clock } from "@statemesh/ports";
import type { NodeOptions } from "../node-options.ts";
import type { GroupReplica } from "../strong/group-replica.ts";
import type { Relay } from "../strong/relay.ts";
import { AuthorityWatch } from "./authority-watch.ts";
import { DirectoryDuties } from "./directory-duties.ts";
import { type FencedLease, FenceKeeper } from "./fence-keeper.ts";
import { LeaseClock } from "./lease-clock.ts";
import { RegionHeat } from "./region-heat.ts";

/** As long as five heartbeats of a game server. */
const SHARD_SUSPICION_MS = 1_500;

/** What it needs of its node. */
export interface AuthorityHost {
  readonly options: NodeOptions;
  readonly host: { readonly clock: Clock };
  readonly relay: Relay;
  group(groupId: number): GroupReplica;
  /** Something is to be sent. */
  dirty(): void;
  onWatchReadable(watchId: number): void;
}

/** How a region came to or from an owner. `failed_over`: to a backup, when the lease ran out; `expired`: to nobody. */
export type RegionChange = "granted" | "released" | "expired" | "assigned" | "failed_over" | "handed_over" | "handoff_aborted";

const COUNTED: Readonly<Record<number, RegionChange>> = {
  [Kind.GRANTED]: "granted", [Kind.RELEASED]: "released", [Kind.EXPIRED]: "expired", [Kind.TRANSFERRED]: "handed_over", [Kind.HANDOFF_ABORTED]: "handoff_aborted",
};

export class Authority {
  readonly leases: LeaseClock;
  readonly fences: FenceKeeper;
  readonly watch: AuthorityWatch;
  /** How much is decided in each region. */
  readonly heat: RegionHeat;
  /** What became of regions while this node led the directory. */
  readonly regionChanges: Record<RegionChange, number> = { granted: 0, released: 0, expired: 0, assigned: 0, failed_over: 0, handed_over: 0, handoff_aborted: 0 };
  readonly #duties: DirectoryDuties;
  readonly #host: AuthorityHost;

  constructor(host: AuthorityHost) {
    const { options } = host;
    const { clock } = host.host;
    this.#host = host;
    this.heat = new RegionHeat(clock.monotonicMs());
    const directory = (): GroupReplica => host.group(0);
    this.leases = new LeaseClock(options.registrationTtlMs);
    this.fences = new FenceKeeper({
      groups: options.groups,
      monotonicMs: () => clock.monotonicMs(),
      leadsDirectory: () => directory().serves,
      isFenced: (row) => this.isFenced(row),
      relayCommand: (groupId, command, deadlineMs, done) => {
        host.relay.command(groupId, command, deadlineMs, (_, error) => done(error));
        host.dirty();
      },
    });
    this.#duties = new DirectoryDuties({ clock, leases: this.leases, fences: this.fences, suspicionMs: options.shardSuspicionMs ?? SHARD_SUSPICION_MS, group: directory });
    this.watch = new AuthorityWatch({
      clusterId: options.clusterId,
      state: () => directory().state,
      monotonicMs: () => clock.monotonicMs(),
      remainingMs: (row) => this.leases.remainingMs(row.region, clock.monotonicMs()),
      onReadable: (watchId) => host.onWatchReadable(watchId),
    });
    this.leases.restart(directory().state.directory, clock.monotonicMs());
  }

  /** True where this node's replica of the region's group already stands at the row: then it is committed there. */
  isFenced(row: FencedLease): boolean {
    const fence = this.#host.group(groupOf(row.region, this.#host.options.groups)).state.fence(row.region);
    if (fence === undefined) return false;
    return fence.epoch > row.epoch || (fence.epoch === row.epoch && (fence.ownerServerId === row.serverId || fence.ownerServerId === 0));
  }

  /** Servers that are registered and were not heard of for some time, as this node knows it. */
  silentServers(): number[] {
    const { host: { clock }, options } = this.#host;
    return this.leases.silent(this.#host.group(0).state.directory, clock.monotonicMs(), options.shardSuspicionMs ?? SHARD_SUSPICION_MS);
  }

  /** A command of this node's, as it goes into the log. */
  stamped(command: Command): Command {
    return this.#duties.stamped(command);
  }

  /** A group decided operations, whatever became of them. */
  decided(operations: readonly DecidedOperation[]): void {
    this.heat.note(operations, this.#host.host.clock.monotonicMs());
  }

  /** The directory's log did something. */
  changed(change: DirectoryChange): void {
    // By the leader: what a node reads again from its log has been counted.
    if (this.#host.group(0).serves) for (const event of change.events) this.#count(event);
    this.#duties.changed(change);
    this.watch.changed(change);
  }

  #count({ kind, previousServerId }: AuthorityEvent): void {
    const name = kind === Kind.TAKEN_OVER ? (previousServerId === 0 ? "assigned" : "failed_over") : COUNTED[kind];
    if (name !== undefined) this.regionChanges[name]++;
  }

  /** The directory was replaced by a snapshot. */
  replaced(): void {
    this.watch.replaced();
  }

  /** This node leads the directory from now on. */
  began(): void {
    this.#duties.began();
  }

  tick(): void {
    this.#duties.tick();
    this.fences.tick();
    this.watch.tick();
  }
}
