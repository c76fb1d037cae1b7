// What whoever leads the directory, group 0, has to see to: its clock goes into the log, leases run out, fences are set.
import type { Command } from "@statemesh/contract/log";
import { commandOf, type DirectoryChange } from "@statemesh/replica";
import type { Clock } from "@statemesh/ports";
import type { GroupReplica } from "../strong/group-replica.ts";
import type { FenceKeeper } from "./fence-keeper.ts";
import type { LeaseClock } from "./lease-clock.ts";

/** What the duties need of their node. */
export interface DutiesNode {
  readonly clock: Clock;
  readonly leases: LeaseClock;
  readonly fences: FenceKeeper;
  /** The directory. */
  group(): GroupReplica;
}

export class DirectoryDuties {
  readonly #node: DutiesNode;
  #checkFences = false;
  #expiring = false;

  constructor(node: DutiesNode) {
    this.#node = node;
  }

  /** The leader's clock goes into the log with the command. */
  stamped(command: Command): Command {
    if (command.command?.$case !== "directory") return command;
    const { clock, leases } = this.#node;
    command.command.value.nowMs = Math.floor(clock.wallMs());
    leases.expect(command.command.value, this.#node.group().state.directory, clock.monotonicMs());
    return command;
  }

  changed(change: DirectoryChange): void {
    this.#node.leases.observe(change, this.#node.clock.monotonicMs());
    for (const row of change.fenced) this.#node.fences.owe(row);
  }

  /** This node leads the directory from now on. */
  began(): void {
    // Whatever the predecessor had heard since its last entry is lost: every lease runs anew, which is late, never early.
    this.#node.leases.restart(this.#node.group().state.directory, this.#node.clock.monotonicMs());
    this.#checkFences = true;
  }

  tick(): void {
    const group = this.#node.group();
    if (!group.serves) return;
    if (this.#checkFences) {
      this.#checkFences = false;
      this.#node.fences.checkAll(group.state.directory.leases());
    }
    if (this.#expiring) return;
    const overdue = this.#node.leases.overdue(group.state.directory, this.#node.clock.monotonicMs());
    if (overdue === undefined) return;
    this.#expiring = true;
    const command: Command = commandOf({ $case: "directory", value: { command: { $case: "expire", value: overdue }, nowMs: 0 } });
    group.command(this.stamped(command), () => {
      this.#expiring = false;
    });
  }
}
