// Sees to it that groups count how accounts came to what they hold: one entry a group, once every node can read it.
import { commandOf, FLOWS_VERSION, type GroupState } from "@statemesh/replica";
import type { Command } from "@statemesh/contract/log";
import type { Clock } from "@statemesh/ports";

/** Ticks between two looks. */
const LOOK_TICKS = 10;
/** Milliseconds for one try. */
const TRY_MS = 5_000;

export interface FlowNode {
  readonly groups: readonly { readonly groupId: number; readonly serves: boolean; readonly state: GroupState }[];
  readonly membership: { readonly version: number };
  readonly host: { readonly clock: Clock };
  readonly relay: { command(groupId: number, command: Command, deadlineMs: number, done: () => void): void };
}

export class FlowKeeper {
  readonly #node: FlowNode;
  readonly #underWay = new Set<number>();
  #ticks = 0;

  constructor(node: FlowNode) {
    this.#node = node;
  }

  tick(): void {
    if (++this.#ticks % LOOK_TICKS !== 0 || this.#node.membership.version < FLOWS_VERSION) return;
    for (const { groupId, serves, state } of this.#node.groups) {
      // A group without items has nothing to count, and may sleep.
      if (!serves || state.ledger.flowsSince !== 0 || state.ledger.counts().size === 0 || this.#underWay.has(groupId)) continue;
      this.#underWay.add(groupId);
      this.#node.relay.command(groupId, commandOf({ $case: "countFlows", value: {} }), this.#node.host.clock.monotonicMs() + TRY_MS, () => this.#underWay.delete(groupId));
    }
  }
}
