// Carries epochs from the directory to the groups that hold the regions. A new owner hears of its lease only after
// its fence is in the region's own log, so that no write of the old owner can be decided after the new one began.
import type { MeshError } from "@statemesh/contract";
import type { Command } from "@statemesh/contract/log";
import { commandOf, type LeaseRow } from "@statemesh/replica";
import { formatRegion, groupOf } from "@statemesh/world";

/** What a fence says. */
export type FencedLease = Pick<LeaseRow, "region" | "epoch" | "serverId">;

/** Milliseconds for one try. */
const TRY_MS = 5_000;

export interface FenceNode {
  readonly groups: number;
  monotonicMs(): number;
  leadsDirectory(): boolean;
  /** True where this node's replica of the region's group already stands at the row. */
  isFenced(row: FencedLease): boolean;
  relayCommand(groupId: number, command: Command, deadlineMs: number, done: (error: MeshError | undefined) => void): void;
}

export class FenceKeeper {
  readonly #node: FenceNode;
  /** Rows whose fence is on its way, by region. */
  readonly #owed = new Map<string, FencedLease>();
  readonly #underWay = new Set<string>();

  constructor(node: FenceNode) {
    this.#node = node;
  }

  /** Brings a fence into its group; `done` once it is committed there. */
  push(row: FencedLease, deadlineMs: number, done: (error: MeshError | undefined) => void): void {
    const groupId = groupOf(row.region, this.#node.groups);
    const fence: Command = commandOf({ $case: "fence", value: { region: row.region, epoch: row.epoch, ownerServerId: row.serverId } });
    this.#node.relayCommand(groupId, fence, deadlineMs, done);
  }

  /** The directory changed a row: its leader sees to the fence, until it stands or a newer row replaces it. */
  owe(row: FencedLease): void {
    if (!this.#node.leadsDirectory()) return;
    this.#owed.set(formatRegion(row.region), row);
  }

  /** Sends what is owed and not under way. Called every tick, so that a failed try is repeated a tick later. */
  tick(): void {
    for (const [key, row] of this.#owed) {
      if (this.#underWay.has(key)) continue;
      if (!this.#node.leadsDirectory() || this.#node.isFenced(row)) {
        this.#owed.delete(key);
        continue;
      }
      this.#underWay.add(key);
      this.push(row, this.#node.monotonicMs() + TRY_MS, (error) => {
        this.#underWay.delete(key);
        if (error === undefined && this.#owed.get(key) === row) this.#owed.delete(key);
      });
    }
  }

  /** A new leader makes sure of every row: its predecessor may have died in between. */
  checkAll(rows: Iterable<FencedLease>): void {
    for (const row of rows) if (!this.#node.isFenced(row)) this.owe(row);
  }
}
