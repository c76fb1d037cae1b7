// One batch for the arbiter while it is put together: what does not meet, within what an entry of the log holds.
import type { Occupancy, Occupant, PendingOperation } from "@statemesh/replica";
import type { Holds } from "../flow/holds.ts";
import type { QueuedUnit } from "./decision-queue.ts";
import { OperationOccupancy, Owners } from "./occupancy.ts";

/** Units that go to the arbiter together. */
export interface DecisionBatch {
  /** Single operations, decided as one set. */
  readonly singles: readonly QueuedUnit[];
  /** Transactions, each a set of its own. */
  readonly transactions: readonly QueuedUnit[];
  /** Kept operations: decided by the leader itself. */
  readonly heals: readonly QueuedUnit[];
}

/** When the last of those who wait for something in it gives up, on the monotonic clock. */
export function lastDeadlineMs({ singles, transactions }: DecisionBatch): number {
  let lastMs = Number.NEGATIVE_INFINITY;
  for (const units of [singles, transactions]) for (const { deadlineMs } of units) lastMs = Math.max(lastMs, deadlineMs);
  return lastMs;
}

/** What is held already. */
export interface Held {
  /** By what is not applied. */
  readonly inFlight: OperationOccupancy;
  /** By what is in the log, not applied, and has set apart what it takes. */
  readonly reservingInFlight: OperationOccupancy;
  /** By what is prepared. */
  readonly locks: Occupancy<Occupant>;
  /** By what is prepared and has set apart what it takes. */
  readonly reserving: Occupancy<Occupant>;
  /** For snapshots. */
  readonly holds: Holds;
  /** True where one of the names was held without a pause for too long. */
  mustRest(names: readonly string[]): boolean;
}

/** Operations in one batch, at most. */
const BATCH_OPERATIONS = 1_024;
/** Transactions in one batch, at most: each is a set of its own, beside the one of single operations, and a question to the arbiter holds 64. */
const BATCH_TRANSACTIONS = 63;
/** Bytes of effects in one batch, about, at most: what one log entry holds. */
const BATCH_BYTES = 1_048_576;
/** One batch while it is put together. */
export class Gathering implements DecisionBatch {
  readonly singles: QueuedUnit[] = [];
  readonly transactions: QueuedUnit[] = [];
  readonly heals: QueuedUnit[] = [];
  readonly #scan: Scan;
  operations = 0;
  #bytes = 0;

  constructor(held: Held) {
    this.#scan = new Scan(held);
  }

  get isFull(): boolean {
    return this.operations >= BATCH_OPERATIONS;
  }

  hasRoom(unit: QueuedUnit): boolean {
    return this.fits(unit) && this.hasPlace(unit);
  }

  /** Within the bytes of a batch; alone anything is. */
  fits({ sizeBytes }: QueuedUnit): boolean {
    return this.operations === 0 || this.#bytes + sizeBytes <= BATCH_BYTES;
  }

  /** Within the number of transactions of a batch. */
  hasPlace(unit: QueuedUnit | undefined): boolean {
    return unit !== undefined && (!isWhole(unit) || this.transactions.length < BATCH_TRANSACTIONS);
  }

  /** The unit stays where it is, and so does what comes later and meets it. */
  pass(unit: QueuedUnit): void {
    this.#scan.block(unit);
  }

  /** False where the unit meets something: it waits, and what comes later and meets it waits behind it. */
  take(unit: QueuedUnit): boolean {
    if (!this.#scan.admits(unit)) return false;
    (unit.heal !== undefined ? this.heals : isWhole(unit) ? this.transactions : this.singles).push(unit);
    this.operations += unit.operations.length;
    this.#bytes += unit.sizeBytes;
    return true;
  }
}

/** Decided as a set of its own. */
function isWhole({ transactionId, part, heal }: QueuedUnit): boolean {
  return transactionId !== "" || part !== undefined || heal !== undefined;
}

/** One look through the waiting units. */
class Scan {
  readonly #held: Held;
  /** Chosen, and need what they name. */
  readonly #chosen = new OperationOccupancy();
  /** Chosen, and set apart what they take; of these the transactions. */
  readonly #reserving = new OperationOccupancy();
  readonly #reservingWhole = new OperationOccupancy();
  readonly #owners = new Owners();
  #blocked: OperationOccupancy | undefined;

  constructor(held: Held) {
    this.#held = held;
  }

  admits(unit: QueuedUnit): boolean {
    const whole = isWhole(unit);
    const { holds } = this.#held;
    // A part of a transaction that another group began has locks elsewhere, for which the snapshot would wait.
    const isHeld = !holds.isEmpty && unit.part?.asked === undefined && unit.operations.some((pending) => holds.blocks(pending));
    if (isHeld || unit.operations.some((pending) => (unit.reserves ? this.#mayNotReserve(pending, unit) : this.#isBlocked(pending, whole)))) {
      this.block(unit);
      return false;
    }
    for (const pending of unit.operations) {
      if (unit.reserves) {
        this.#reserving.add(pending);
        if (whole) this.#reservingWhole.add(pending);
        continue;
      }
      this.#chosen.add(pending);
      this.#owners.add(pending);
      // A transaction is decided as a set of its own, so nothing that meets it may be chosen beside it.
      if (whole) (this.#blocked ??= new OperationOccupancy()).add(pending);
    }
    return true;
  }

  block(unit: QueuedUnit): void {
    this.#blocked ??= new OperationOccupancy();
    for (const pending of unit.operations) this.#blocked.add(pending);
  }

  /** What others have set apart is no obstacle, unless that has to end once. Single operations are decided as one set, whatever they need. */
  #mayNotReserve(pending: PendingOperation, unit: QueuedUnit): boolean {
    const { inFlight, locks, mustRest } = this.#held;
    if (inFlight.meets(pending) || locks.meets(pending) || this.#blocked?.meets(pending) === true) return true;
    if (isWhole(unit) && this.#chosen.meets(pending)) return true;
    return unit.part !== undefined && mustRest(pending.touched.shared);
  }

  #isBlocked(pending: PendingOperation, isTransaction: boolean): boolean {
    const { inFlight, reservingInFlight, locks, reserving } = this.#held;
    if (inFlight.meets(pending) || locks.meets(pending) || this.#blocked?.meets(pending) === true) return true;
    if (reservingInFlight.meets(pending) || reserving.meets(pending)) return true;
    if (isTransaction) return this.#chosen.meets(pending) || this.#reserving.meets(pending);
    return this.#reservingWhole.meets(pending) || this.#chosen.meetsOwn(pending, this.#owners);
  }
}
