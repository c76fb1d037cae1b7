// What the database must hold: the committed log of each group, applied as far as the group's watermark says.
import { GroupState } from "@statemesh/replica";
import { formatRegion } from "@statemesh/world";
import type { Recorder } from "../recorder.ts";
import { type MaterializedRows, materializedRows } from "../store/sim-materialization.ts";
import type { SimSql } from "../store/sim-sql.ts";
import type { ReferenceGroup } from "./reference-group.ts";

export class StoreOracle {
  readonly #sql: SimSql;
  readonly #references: readonly ReferenceGroup[];
  readonly #recorder: Recorder;
  /** By group: the state at the watermark that was last seen. */
  readonly #states: readonly GroupState[];

  constructor(sql: SimSql, references: readonly ReferenceGroup[], decisionWindow: number, recorder: Recorder) {
    this.#sql = sql;
    this.#references = references;
    this.#recorder = recorder;
    this.#states = references.map((_, groupId) => new GroupState({ groupId, decisionWindow, touchCapacity: 1 }));
  }

  /** Compares every group's rows with the state at its watermark. */
  check(): void {
    for (const [groupId, state] of this.#states.entries()) {
      const problem = this.#problem(groupId, state);
      if (problem !== undefined) this.#recorder.violation("stored is replicated", `group ${groupId} at ${state.appliedIndex}: ${problem}`);
    }
  }

  #problem(groupId: number, state: GroupState): string | undefined {
    const rows = materializedRows(this.#sql, groupId);
    const watermark = rows.watermarks.get(groupId) ?? 0;
    const entries = this.#references[groupId]?.entries ?? [];
    if (watermark < state.appliedIndex) return `the watermark went back to ${watermark}`;
    if (watermark > entries.length) return `the store stands at ${watermark}, ahead of what was committed, ${entries.length}`;
    for (const entry of entries.slice(state.appliedIndex, watermark)) state.apply(entry, undefined, false);
    this.#recorder.sometimes("store compared");
    return entityProblem(rows, state) ?? ledgerProblem(rows, state) ?? epochProblem(rows, state);
  }
}

function entityProblem({ entities }: MaterializedRows, state: GroupState): string | undefined {
  for (const { kind, entityId, version } of entities) {
    const expected = state.entities.get(kind, entityId)?.version;
    if (version !== expected) return `${kind}/${entityId} is stored at version ${version}, it stands at ${expected}`;
  }
  return entities.length === state.entities.size ? undefined : `${entities.length} entities are stored, there are ${state.entities.size}`;
}

function ledgerProblem({ balances, totals }: MaterializedRows, state: GroupState): string | undefined {
  for (const { accountId, itemKind, quantity } of balances) {
    const held = state.ledger.balance(accountId.startsWith("container:") || accountId.startsWith("escrow:") ? accountId : `player:${accountId}`, itemKind);
    if (held !== quantity) return `${accountId} is stored with ${quantity} ${itemKind}, it holds ${held}`;
  }
  let held = 0;
  for (const { account } of state.ledger.rows()) if (!account.startsWith("ground:")) held++;
  if (held !== balances.length) return `${balances.length} balances are stored, there are ${held}`;
  for (const { itemKind, minted, burned } of totals) {
    const expected = state.ledger.totals(itemKind);
    if (expected.minted !== minted || expected.burned !== burned) return `of ${itemKind} ${minted} are stored as minted and ${burned} as burned, it is ${expected.minted} and ${expected.burned}`;
  }
  return undefined;
}

function epochProblem({ epochs }: MaterializedRows, state: GroupState): string | undefined {
  const stored = new Map(epochs.map(({ region, epoch }) => [region === undefined ? "" : formatRegion(region), epoch]));
  for (const { region, epoch } of state.capture().fences) {
    const raised = stored.get(formatRegion(region)) ?? 0;
    if (raised !== epoch) return `${formatRegion(region)} is stored at epoch ${raised}, it stands at ${epoch}`;
  }
  return undefined;
}
