// What is set apart by others may come back, and what they bring may not come: that an account holds too little beside it is no fact. Who would be
// refused for that is not decided yet, and with it everything behind it that touches the same: of one server what comes later has seen what came before.
import { Outcome } from "@statemesh/contract";
import type { DecidedOperation } from "@statemesh/contract/log";
import { accountNamed, type Reservations } from "@statemesh/replica";
import type { QueuedUnit } from "./decision-queue.ts";

export class Unsure {
  readonly #prepared: Reservations;
  readonly #inFlight: Reservations;
  readonly units = new Set<QueuedUnit>();
  readonly #names = new Set<string>();

  /** What is set apart by what is prepared, and by what is in the log and not applied. */
  constructor(prepared: Reservations, inFlight: Reservations) {
    this.#prepared = prepared;
    this.#inFlight = inFlight;
  }

  /** What of a set is decided, in its order. The others are in `units`. */
  leaveOut(units: readonly QueuedUnit[], set: DecidedOperation[]): DecidedOperation[] {
    if (this.#names.size === 0 && !set.some(isShort)) return set;
    const unitOf = new Map<string, QueuedUnit>();
    for (const unit of units) for (const { operation } of unit.operations) unitOf.set(operation.operationId, unit);
    const left = new Set<QueuedUnit>();
    for (const decided of set) {
      const unit = unitOf.get(decided.operationId);
      if (unit === undefined || left.has(unit)) continue;
      const names = unit.operations.flatMap(({ touched }) => touched.shared);
      if (!names.some((name) => this.#names.has(name)) && !(unit.reserves && isShort(decided) && names.some((name) => this.#isBesideOthers(name)))) continue;
      left.add(unit);
      for (const name of names) this.#names.add(name);
    }
    if (left.size === 0) return set;
    // One that may have won over others has to be decided with them.
    const all = [...left].every(({ reserves }) => reserves) ? left : new Set(units);
    // In the order in which they came.
    for (const unit of units) if (all.has(unit)) this.units.add(unit);
    return set.filter(({ operationId }) => {
      const unit = unitOf.get(operationId);
      return unit === undefined || !all.has(unit);
    });
  }

  #isBesideOthers(name: string): boolean {
    const account = accountNamed(name);
    return account !== undefined && (this.#prepared.has(account) || this.#inFlight.has(account));
  }
}

function isShort({ outcome, reason }: DecidedOperation): boolean {
  return outcome === Outcome.REJECTED && (reason === "INSUFFICIENT_ITEMS" || reason === "BALANCE_OVERFLOW");
}
