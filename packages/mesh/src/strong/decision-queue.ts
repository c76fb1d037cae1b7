// Which waiting operations may be decided now. Operations whose footprints meet are decided one after the
// other; others side by side. So a decision never needs to see anything that is not applied yet.
import type { Decision, HybridTimestamp, MeshError, OperationError } from "@statemesh/contract";
import type { DecisionUnit, Occupancy, Occupant, PendingOperation } from "@statemesh/replica";
import type { AskedToPrepare } from "./group-transactions.ts";
import type { HealUnit } from "../healing/heal-unit.ts";
import { OperationOccupancy, Owners } from "./occupancy.ts";
import { overloaded } from "./operation-errors.ts";

/** Who hears what became of an operation. Called once an operation. */
export interface Waiter {
  decided(decision: Decision): void;
  failed(operationId: string, error: OperationError): void;
}

/** A unit that is the part of one group in a transaction across groups. Its operations are those that reach the group. */
export interface GroupPart {
  readonly key: string;
  /** Age. */
  readonly stamp: HybridTimestamp;
  /** All groups that take part, ascending. */
  readonly groups: readonly number[];
  /** In the coordinating group: all operations of the transaction, in the caller's order. */
  readonly all: readonly PendingOperation[] | undefined;
  /** In another group: what it is asked, and who asks. */
  readonly asked: AskedToPrepare | undefined;
}

/** A unit on its way: waiting, with the arbiter, or in the log. */
export interface QueuedUnit extends DecisionUnit {
  /** Set where other groups take part. */
  readonly part?: GroupPart;
  /** Several where a caller retried while the first try was on its way. */
  readonly waiters: Waiter[];
  /** About how many bytes the unit takes in a log entry. */
  readonly sizeBytes: number;
  /** In the log, so that its outcome is unknown until it is applied. */
  proposed: boolean;
  /** Operations that were kept during a partition, and are decided as a whole. */
  readonly heal?: HealUnit;
}

/** Units that go to the arbiter together. */
export interface DecisionBatch {
  /** Single operations, decided as one set. */
  readonly singles: readonly QueuedUnit[];
  /** Transactions, each a set of its own. */
  readonly transactions: readonly QueuedUnit[];
  /** Kept operations: decided by the leader itself. */
  readonly heals: readonly QueuedUnit[];
}

/** Operations in one batch, at most. */
const BATCH_OPERATIONS = 1_024;
/** Transactions in one batch, at most: each is a set of its own, beside the one of single operations, and a question to the arbiter holds 64. */
const BATCH_TRANSACTIONS = 63;
/** Bytes of effects in one batch, about, at most: what one log entry holds. */
const BATCH_BYTES = 1_048_576;
/** Bytes of operations that one group may hold undecided, about. Beyond it callers get OVERLOADED. */
const QUEUED_BYTES = 64 * 1024 * 1024;
/** Waiting units looked at for one batch. Bounds the work of a scan where most of them wait for one hot key. */
const SCAN_UNITS = 2_048;

export class DecisionQueue {
  /** Units that wait, at most. */
  readonly #capacity: number;
  #waiting: QueuedUnit[] = [];
  readonly #inFlight = new OperationOccupancy();
  readonly #byOperationId = new Map<string, QueuedUnit>();
  /** Of all units, waiting and in flight. */
  #bytes = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Something waits or is in flight: somebody wants to hear of it. */
  get isBusy(): boolean {
    return this.#byOperationId.size > 0;
  }

  /** What stands against another unit. */
  refusal(groupId: number): MeshError | undefined {
    const isFull = this.#waiting.length >= this.#capacity || this.#bytes >= QUEUED_BYTES;
    return isFull ? overloaded(`operations waiting in group ${groupId}`, this.#capacity) : undefined;
  }

  /** The unit that holds an operation id, waiting or in flight. */
  unitOf(operationId: string): QueuedUnit | undefined {
    return this.#byOperationId.get(operationId);
  }

  /** Takes a unit whose operation ids are not queued yet. */
  push(unit: QueuedUnit): void {
    for (const { operation } of allOf(unit)) this.#byOperationId.set(operation.operationId, unit);
    this.#waiting.splice(this.#placeOf(unit), 0, unit);
    this.#bytes += unit.sizeBytes;
  }

  /** At the end; but of transactions across groups that wait one behind the other, the older goes first. */
  #placeOf({ part }: QueuedUnit): number {
    let place = this.#waiting.length;
    if (part === undefined) return place;
    for (; place > 0; place--) {
      const before = this.#waiting[place - 1]?.part;
      if (before === undefined || !isOlder(part, before)) break;
    }
    return place;
  }

  /** Takes a unit out that is not in the log: its transaction is over. */
  withdraw(unit: QueuedUnit): void {
    const place = this.#waiting.indexOf(unit);
    if (place < 0) return;
    this.#waiting.splice(place, 1);
    this.#bytes -= unit.sizeBytes;
    for (const { operation } of allOf(unit)) this.#byOperationId.delete(operation.operationId);
  }

  /**
   * The next batch, or undefined where everything that waits meets something in flight. First come, first
   * served: a unit never passes an earlier one that it meets. Two operations of one server never compete: the
   * second waits until the first is decided. Those whose states merge do not compete. What meets `locks` waits for the
   * transaction that holds them.
   */
  takeBatch(locks: Occupancy<Occupant>): DecisionBatch | undefined {
    if (this.#waiting.length === 0) return undefined;
    const singles: QueuedUnit[] = [];
    const transactions: QueuedUnit[] = [];
    const heals: QueuedUnit[] = [];
    const scan = new Scan(this.#inFlight, locks);
    let operations = 0;
    let bytes = 0;
    let scanned = 0;
    const kept: QueuedUnit[] = [];
    for (; scanned < this.#waiting.length && scanned < SCAN_UNITS && operations < BATCH_OPERATIONS; scanned++) {
      const unit = this.#waiting[scanned];
      if (unit === undefined) break;
      if (operations > 0 && bytes + unit.sizeBytes > BATCH_BYTES) break;
      if (isWhole(unit) && transactions.length === BATCH_TRANSACTIONS) break;
      if (!scan.admits(unit)) {
        kept.push(unit);
        continue;
      }
      (unit.heal !== undefined ? heals : isWhole(unit) ? transactions : singles).push(unit);
      operations += unit.operations.length;
      bytes += unit.sizeBytes;
    }
    if (operations === 0) return undefined;
    this.#waiting = kept.length === 0 && scanned === this.#waiting.length ? [] : kept.concat(this.#waiting.slice(scanned));
    for (const unit of singles) this.#enter(unit);
    for (const unit of transactions) this.#enter(unit);
    for (const unit of heals) this.#enter(unit);
    return { singles, transactions, heals };
  }

  #enter(unit: QueuedUnit): void {
    for (const pending of unit.operations) this.#inFlight.add(pending);
  }

  /** The unit was applied or given up: what it held is free. */
  release(unit: QueuedUnit): void {
    this.#bytes -= unit.sizeBytes;
    for (const pending of unit.operations) this.#inFlight.remove(pending);
    for (const { operation } of allOf(unit)) this.#byOperationId.delete(operation.operationId);
  }

  /** Empties the queue: every unit, waiting or in flight, once. For a leader that is none any more. */
  drain(): QueuedUnit[] {
    const units = new Set(this.#byOperationId.values());
    const inFlight: QueuedUnit[] = [];
    const waiting = new Set(this.#waiting);
    for (const unit of units) if (!waiting.has(unit)) inFlight.push(unit);
    for (const unit of inFlight) this.release(unit);
    this.#waiting = [];
    this.#bytes = 0;
    this.#byOperationId.clear();
    return [...units];
  }
}

/** All operations that a unit answers for. */
export function allOf({ part, operations }: QueuedUnit): readonly PendingOperation[] {
  return part?.all ?? operations;
}

/** Decided as a set of its own. */
function isWhole({ transactionId, part, heal }: QueuedUnit): boolean {
  return transactionId !== "" || part !== undefined || heal !== undefined;
}

function isOlder(a: GroupPart, b: GroupPart): boolean {
  if (a.stamp.physicalMs !== b.stamp.physicalMs) return a.stamp.physicalMs < b.stamp.physicalMs;
  if (a.stamp.logical !== b.stamp.logical) return a.stamp.logical < b.stamp.logical;
  return a.key < b.key;
}

/** One look through the waiting units. */
class Scan {
  readonly #inFlight: OperationOccupancy;
  readonly #locks: Occupancy<Occupant>;
  readonly #chosen = new OperationOccupancy();
  readonly #owners = new Owners();
  #blocked: OperationOccupancy | undefined;

  constructor(inFlight: OperationOccupancy, locks: Occupancy<Occupant>) {
    this.#inFlight = inFlight;
    this.#locks = locks;
  }

  admits(unit: QueuedUnit): boolean {
    if (unit.operations.some((pending) => this.#isBlocked(pending, isWhole(unit)))) {
      this.#blocked ??= new OperationOccupancy();
      for (const pending of unit.operations) this.#blocked.add(pending);
      return false;
    }
    for (const pending of unit.operations) {
      this.#chosen.add(pending);
      this.#owners.add(pending);
      // A transaction is decided as a set of its own, so nothing that meets it may be chosen beside it.
      if (isWhole(unit)) (this.#blocked ??= new OperationOccupancy()).add(pending);
    }
    return true;
  }

  #isBlocked(pending: PendingOperation, isTransaction: boolean): boolean {
    if (this.#inFlight.meets(pending) || this.#locks.meets(pending) || this.#blocked?.meets(pending) === true) return true;
    return isTransaction ? this.#chosen.meets(pending) : this.#chosen.meetsOwn(pending, this.#owners);
  }
}

/** Bytes of a posting in a log entry, at most: two accounts and an item kind. */
const POSTING_BYTES = 224;

/** About how many bytes an operation takes on its way, and what it becomes in a log entry: never much less than that. */
export function operationBytes({ operation }: Pick<PendingOperation, "operation">): number {
  const body = operation.body;
  let bytes = 256;
  if (body?.$case === "terrainModification") bytes += body.value.brush.length;
  else if (body?.$case === "custom") bytes += body.value.state.length;
  else if (body?.$case === "trade") bytes += (body.value.firstGives.length + body.value.secondGives.length) * POSTING_BYTES;
  // A UTF-16 unit takes up to three bytes.
  else if (body?.$case === "structurePlacement") for (const [key, value] of body.value.attributes) bytes += (key.length + value.length) * 3;
  return bytes;
}
