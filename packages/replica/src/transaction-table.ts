// Transactions that reach several groups, as one group remembers them: those that it coordinates, those that it is prepared for, with
// their locks, and those that are over. All of it is replicated state, so that a change of leader loses no lock.
import type { HybridTimestamp, StampedOperation } from "@statemesh/contract";
import type { DecidedOperation, FootprintClearing, LockedFootprint, TransactionRef } from "@statemesh/contract/log";
import type { QuantizedBounds, TouchedSet } from "@statemesh/world";
import { entityKey } from "./entity-table.ts";
import type { Ledger } from "./ledger.ts";
import { Occupancy, type Occupant } from "./occupancy.ts";
import { regionText } from "./region-text.ts";
import { needsOf, reservesOnly } from "./reservations.ts";
import type { StateHash } from "./state-hash.ts";
import { TwoGenerations } from "./two-generations.ts";

/** How a transaction stands with its coordinating group. */
export const TransactionState = { UNDECIDED: 0, COMMITTED: 1, ABORTED: 2, NOT_ON_RECORD: 3 } as const;
export type TransactionState = (typeof TransactionState)[keyof typeof TransactionState];

/** A transaction that this group coordinates and that not every group has released yet. */
export interface CoordinatedRow {
  readonly key: string;
  readonly beginIndex: number;
  readonly stamp: HybridTimestamp;
  readonly operations: readonly StampedOperation[];
  /** The group of each operation's home region. */
  readonly homeGroups: readonly number[];
  /** Ascending; the first is this group. */
  readonly groups: readonly number[];
  /** Milliseconds since the Unix epoch. */
  readonly deadlineMs: number;
  readonly state: TransactionState;
  /** Footprints that are to go from other groups before it is finished. */
  readonly clears: readonly FootprintClearing[];
}

/** A transaction that this group has decided its part of, and waits to hear of. */
export interface PreparedRow {
  readonly key: string;
  readonly coordinatorGroup: number;
  readonly beginIndex: number;
  readonly stamp: HybridTimestamp;
  readonly groups: readonly number[];
  readonly deadlineMs: number;
  readonly decided: readonly DecidedOperation[];
  readonly locks: readonly LockedFootprint[];
  /** Log index at which it was prepared. */
  readonly index: number;
}

/** A transaction of another group that this group has released. */
export interface FinishedRow {
  readonly key: string;
  readonly coordinatorGroup: number;
  readonly beginIndex: number;
  readonly committed: boolean;
  readonly index: number;
  readonly term: number;
}

/** The key of a caller's transaction, or of an operation that reaches several groups. */
export function transactionKey(transactionId: string, operationId: string): string {
  return transactionId === "" ? `o:${operationId}` : `t:${transactionId}`;
}

/** The caller's transaction id; empty for an operation alone. */
export function transactionIdOf(key: string): string {
  return key.startsWith("t:") ? key.slice(2) : "";
}

const CLEARING = "c:";

/** The key of what one group decided alone, and other groups have to hear of: their footprints of it go. By its first operation. */
export function clearingKey(operationId: string): string {
  return CLEARING + operationId;
}

export function isClearing(key: string): boolean {
  return key.startsWith(CLEARING);
}

function finishedKey(coordinatorGroup: number, key: string): string {
  return `${coordinatorGroup} ${key}`;
}

export function lockOf(touched: TouchedSet): LockedFootprint {
  const { keys, shared, bounds, layer } = touched;
  return { keys, shared, layer, bounds: bounds === undefined ? [] : [bounds.minX, bounds.minY, bounds.minZ, bounds.maxX, bounds.maxY, bounds.maxZ] };
}

function occupantOf({ keys, shared, bounds, layer }: LockedFootprint): Occupant {
  return { touched: { keys, shared, bounds: boundsFrom(bounds), layer } };
}

function boundsFrom([minX, minY, minZ, maxX, maxY, maxZ]: readonly number[]): QuantizedBounds | undefined {
  if (minX === undefined || minY === undefined || minZ === undefined || maxX === undefined || maxY === undefined || maxZ === undefined) return undefined;
  return { minX, minY, minZ, maxX, maxY, maxZ };
}

export class TransactionTable {
  readonly #groupId: number;
  readonly #hash: StateHash;
  readonly #ledger: Ledger;
  readonly #coordinated = new Map<string, CoordinatedRow>();
  readonly #prepared = new Map<string, PreparedRow>();
  readonly #occupants = new Map<string, readonly Occupant[]>();
  /** What waits to be written, by name: see the functions at the end. */
  readonly #names = new Map<string, number>();
  readonly #operations = new Map<string, string>();
  /** By coordinating group and key: two callers may use one id for transactions of different groups. */
  readonly #finished: TwoGenerations<FinishedRow>;
  /** The footprints of what is prepared here and needs them for itself. What meets them waits. */
  readonly locks: Occupancy<Occupant> = new Occupancy();
  /** Those of what is prepared and has set apart what it takes: others on the same accounts go on with the rest. */
  readonly reserving: Occupancy<Occupant> = new Occupancy();

  constructor(groupId: number, hash: StateHash, ledger: Ledger, window: number) {
    this.#groupId = groupId;
    this.#hash = hash;
    this.#ledger = ledger;
    this.#finished = new TwoGenerations(window);
  }

  /** Nothing is under way here. */
  get isQuiet(): boolean {
    return this.#coordinated.size === 0 && this.#prepared.size === 0;
  }

  get coordinatedCount(): number {
    return this.#coordinated.size;
  }

  get preparedCount(): number {
    return this.#prepared.size;
  }

  coordinated(key: string): CoordinatedRow | undefined {
    return this.#coordinated.get(key);
  }

  coordinatedRows(): IterableIterator<CoordinatedRow> {
    return this.#coordinated.values();
  }

  prepared(key: string): PreparedRow | undefined {
    return this.#prepared.get(key);
  }

  /** What is prepared for this very transaction: a key may be used again, and by another group. */
  preparedFor({ key, coordinatorGroup, beginIndex }: TransactionRef): PreparedRow | undefined {
    const row = this.#prepared.get(key);
    return row?.coordinatorGroup === coordinatorGroup && row.beginIndex === beginIndex ? row : undefined;
  }

  /** How this very transaction was released here, where that is remembered. */
  finishedOf({ key, coordinatorGroup, beginIndex }: TransactionRef): FinishedRow | undefined {
    const row = this.#finished.get(finishedKey(coordinatorGroup, key));
    return row?.beginIndex === beginIndex ? row : undefined;
  }

  finish(row: FinishedRow): void {
    this.#finished.set(finishedKey(row.coordinatorGroup, row.key), row);
  }

  finishedRows(): ReturnType<TwoGenerations<FinishedRow>["entries"]> {
    return this.#finished.entries();
  }

  restoreFinished(row: FinishedRow, recent: boolean): void {
    this.#finished.restore(finishedKey(row.coordinatorGroup, row.key), row, recent);
  }

  /** True where a transaction that was released here may be forgotten by now. */
  get mayForget(): boolean {
    return this.#finished.hasRotated;
  }

  preparedRows(): IterableIterator<PreparedRow> {
    return this.#prepared.values();
  }

  /** The transaction under way that holds an operation id. */
  keyOfOperation(operationId: string): string | undefined {
    return this.#operations.size === 0 ? undefined : this.#operations.get(operationId);
  }

  /** Writes a row, or the next state of one. */
  coordinate(row: CoordinatedRow): void {
    const before = this.#coordinated.get(row.key);
    if (before !== undefined) this.#hash.remove("coordinated", row.key, before.beginIndex, before.state);
    this.#coordinated.set(row.key, row);
    this.#hash.add("coordinated", row.key, row.beginIndex, row.state);
    if (before === undefined) for (const { operation } of row.operations) if (operation !== undefined) this.#operations.set(operation.operationId, row.key);
  }

  /** Every group has released. */
  uncoordinate(row: CoordinatedRow): void {
    this.#coordinated.delete(row.key);
    this.#hash.remove("coordinated", row.key, row.beginIndex, row.state);
    for (const { operation } of row.operations) if (operation !== undefined) this.#operations.delete(operation.operationId);
  }

  prepare(row: PreparedRow): void {
    this.#prepared.set(row.key, row);
    this.#hash.add("prepared", row.key, row.beginIndex, row.index);
    const occupants = row.locks.map(occupantOf);
    this.#occupants.set(row.key, occupants);
    const holds = reservesOnly(row) ? this.reserving : this.locks;
    for (const occupant of occupants) holds.add(occupant);
    this.#ledger.reserved.change(needsOf(row.decided), 1);
    for (const name of namesOf(row)) this.#names.set(name, (this.#names.get(name) ?? 0) + 1);
    this.#reserveMints(row, 1);
    if (row.coordinatorGroup === this.#groupId) return;
    for (const { operationId } of row.decided) this.#operations.set(operationId, row.key);
  }

  /** For what has just been prepared. Throws where more is set apart of an account than it holds: a leader promised the same twice. */
  checkCovered({ decided, index }: PreparedRow): void {
    for (const { account, itemKind } of needsOf(decided)) {
      const held = this.#ledger.balance(account, itemKind);
      const apart = this.#ledger.reserved.debits(account, itemKind);
      if (apart > held) throw new Error(`group ${this.#groupId}: ${apart} ${itemKind} of ${account} are set apart at index ${index}, and it holds ${held}`);
    }
  }

  /** Takes the locks away. What was prepared is in force by now, or is not to be. */
  unprepare(row: PreparedRow): void {
    this.#prepared.delete(row.key);
    this.#hash.remove("prepared", row.key, row.beginIndex, row.index);
    const holds = reservesOnly(row) ? this.reserving : this.locks;
    for (const occupant of this.#occupants.get(row.key) ?? []) holds.remove(occupant);
    this.#ledger.reserved.change(needsOf(row.decided), -1);
    this.#occupants.delete(row.key);
    for (const name of namesOf(row)) {
      const count = this.#names.get(name) ?? 0;
      if (count <= 1) this.#names.delete(name);
      else this.#names.set(name, count - 1);
    }
    this.#reserveMints(row, -1);
    if (row.coordinatorGroup === this.#groupId) return;
    for (const { operationId } of row.decided) this.#operations.delete(operationId);
  }

  /** Totals stay below 2^53 whatever is decided. */
  #reserveMints({ decided }: PreparedRow, sign: 1 | -1): void {
    for (const { effects } of decided) {
      for (const { effect } of effects) if (effect?.$case === "post" && effect.value.from === "") this.#ledger.reserveMint(effect.value.itemKind, sign * effect.value.quantity);
    }
  }

  /** True where the operation is prepared here, so that its footprint may still come. */
  holdsOperation(operationId: string): boolean {
    const key = this.keyOfOperation(operationId);
    return (key === undefined ? undefined : this.#prepared.get(key))?.decided.some((one) => one.operationId === operationId) ?? false;
  }

  /** True where something that is prepared may write one of the names. */
  mayWrite(names: Iterable<string>): boolean {
    if (this.#names.size === 0) return false;
    for (const name of names) if (this.#names.has(name)) return true;
    return false;
  }

  /** True where something that is prepared was decided under the region's authority. */
  holdsRegion(text: string): boolean {
    for (const { decided } of this.#prepared.values()) {
      for (const { region } of decided) if (region !== undefined && regionText(region) === text) return true;
    }
    return false;
  }
}

export function entityName(kind: string, entityId: string): string {
  return `e/${entityKey(kind, entityId)}`;
}

/** `account`: as in the ledger, such as `player:ID`. */
export function accountName(account: string): string {
  return `a/${account}`;
}

/** Something in the region may be written. `text`: canonical. */
export function regionName(text: string): string {
  return `r/${text}`;
}

/** A container may come to the player. One that may go is named by itself. */
export function holderName(playerId: string): string {
  return `h/${playerId}`;
}

function* namesOf({ decided }: PreparedRow): Generator<string> {
  for (const { effects, region } of decided) {
    for (const { effect } of effects) {
      if (effect?.$case === "post") {
        yield accountName(effect.value.from);
        yield accountName(effect.value.to);
        continue;
      }
      // Nobody reads a footprint; of an escrow its account is named.
      if (effect === undefined || effect.$case === "footprint" || effect.$case === "escrow") continue;
      yield entityName(effect.value.kind, effect.value.entityId);
      const at = (effect.$case === "put" ? effect.value.region : undefined) ?? region;
      if (at !== undefined) yield regionName(regionText(at));
      if (effect.$case === "put" && effect.value.kind === "container" && effect.value.playerId !== "") yield holderName(effect.value.playerId);
    }
  }
}
