// What whoever leads the directory, group 0, has to see to: its clock goes into the log, leases and handoffs run out,
// fences are set, backups are chosen.
import type { Region } from "@statemesh/contract";
import type { Command, DirectoryCommand } from "@statemesh/contract/log";
import { AUTHORITY_VERSION, chooseBackups, commandOf, type DirectoryChange, type LeaseRow } from "@statemesh/replica";
import type { Clock } from "@statemesh/ports";
import type { GroupReplica } from "../strong/group-replica.ts";
import type { FenceKeeper } from "./fence-keeper.ts";
import { HandoffClock } from "./handoff-clock.ts";
import type { LeaseClock } from "./lease-clock.ts";

/** How often backups are looked at, milliseconds. */
const BACKUPS_PERIOD_MS = 500;
/** Leases looked at each time, and regions that one entry names. */
const BACKUPS_LOOKED_AT = 1_024;
const BACKUPS_PER_ENTRY = 256;

/** What the duties need of their node. */
export interface DutiesNode {
  readonly clock: Clock;
  readonly leases: LeaseClock;
  readonly fences: FenceKeeper;
  /** Milliseconds after which a server that says nothing is given nothing. */
  readonly suspicionMs: number;
  /** The directory. */
  group(): GroupReplica;
}

export class DirectoryDuties {
  readonly #node: DutiesNode;
  readonly #handoffs = new HandoffClock();
  #checkFences = false;
  #proposing = false;
  #backupsDueMs = 0;
  /** Where the look at backups goes on. */
  #lookedAt: IterableIterator<LeaseRow> | undefined;

  constructor(node: DutiesNode) {
    this.#node = node;
  }

  /** The leader's clock goes into the log with the command. */
  stamped(command: Command): Command {
    const { clock, leases } = this.#node;
    if (command.command?.$case === "transaction") command.command.value.nowMs = Math.floor(clock.wallMs());
    if (command.command?.$case !== "directory") return command;
    const { value } = command.command;
    value.nowMs = Math.floor(clock.wallMs());
    if (value.command?.$case === "assign") value.command.value.silentServerIds = this.#silent();
    leases.expect(value, this.#node.group().state.directory, clock.monotonicMs());
    return command;
  }

  changed(change: DirectoryChange): void {
    const nowMs = this.#node.clock.monotonicMs();
    this.#node.leases.observe(change, nowMs);
    this.#handoffs.observe(change, this.#node.group().state.directory, nowMs);
    for (const row of change.fenced) this.#node.fences.owe(row);
  }

  /** This node leads the directory from now on. */
  began(): void {
    // Whatever the predecessor had heard since its last entry is lost: every lease runs anew, which is late, never early.
    const { directory } = this.#node.group().state;
    const nowMs = this.#node.clock.monotonicMs();
    this.#node.leases.restart(directory, nowMs);
    this.#handoffs.restart(directory, nowMs);
    this.#checkFences = true;
    this.#lookedAt = undefined;
  }

  tick(): void {
    const group = this.#node.group();
    if (!group.serves) return;
    if (this.#checkFences) {
      this.#checkFences = false;
      this.#node.fences.checkAll(group.state.directory.leases());
    }
    if (this.#proposing) return;
    const body = this.#overdue() ?? this.#backups();
    if (body === undefined) return;
    this.#proposing = true;
    group.command(this.stamped(commandOf({ $case: "directory", value: { command: body, nowMs: 0 } })), () => {
      this.#proposing = false;
    });
  }

  get #mayHandOver(): boolean {
    return this.#node.group().state.membership.version >= AUTHORITY_VERSION;
  }

  #silent(): number[] {
    const { leases, clock, suspicionMs } = this.#node;
    return leases.silent(this.#node.group().state.directory, clock.monotonicMs(), suspicionMs);
  }

  #overdue(): DirectoryCommand["command"] {
    const { directory } = this.#node.group().state;
    const nowMs = this.#node.clock.monotonicMs();
    const overdue = this.#node.leases.overdue(directory, nowMs);
    if (!this.#mayHandOver) return overdue.leases.length + overdue.servers.length === 0 ? undefined : { $case: "expire", value: overdue };
    const handoffIds = this.#handoffs.overdue(directory, nowMs);
    if (overdue.leases.length + overdue.servers.length + handoffIds.length === 0) return undefined;
    return { $case: "expire", value: { ...overdue, failover: true, silentServerIds: this.#silent(), handoffIds } };
  }

  /** Regions whose backups should be others, a part of all leases at a time. */
  #backups(): DirectoryCommand["command"] {
    const nowMs = this.#node.clock.monotonicMs();
    if (!this.#mayHandOver || nowMs < this.#backupsDueMs) return undefined;
    this.#backupsDueMs = nowMs + BACKUPS_PERIOD_MS;
    const { directory } = this.#node.group().state;
    this.#lookedAt ??= directory.leases();
    const regions: Region[] = [];
    for (let looks = 0; looks < BACKUPS_LOOKED_AT && regions.length < BACKUPS_PER_ENTRY; looks++) {
      const { value: row, done } = this.#lookedAt.next();
      if (done === true) {
        this.#lookedAt = undefined;
        break;
      }
      if (row.serverId !== 0 && chooseBackups(directory.tables, row) !== row.backups) regions.push(row.region);
    }
    return regions.length === 0 ? undefined : { $case: "backups", value: { regions } };
  }
}
