import type { Balance, Entity, EventualValue, ItemTotal, RegionEpoch, RemovedEntity } from "@statemesh/contract";
import type { StoreOwnerRows } from "./store-owner.ts";
import type { Caller, TransactionOptions } from "./work-runner.ts";

/** Where the store stands for a group. */
export interface WatermarkRow {
  readonly logIndex: number;
  /** Where the last batch began; -1 after a full copy. */
  readonly afterIndex: number;
  /** The full copy that runs or ran last; 0: none. */
  readonly copyId: number;
  readonly copyNextPart: number;
  readonly copyThroughIndex: number;
}

/**
 * The rows of materialised state, in one transaction. Conditions are part of the writes, compared by the row itself. Lists may be empty;
 * one row named twice in one list is the error 21000. `copyId` 0: a batch, otherwise that full copy, which marks the rows that it names.
 */
export interface MaterializationRows extends StoreOwnerRows {
  watermark(groupId: number): Promise<WatermarkRow | undefined>;
  /** Makes the group's row, at 0, where there is none. */
  ensureWatermark(groupId: number): Promise<void>;
  /** Moves the watermark from `after` to `through`; false where it does not stand there. */
  advance(groupId: number, after: number, through: number): Promise<boolean>;
  /** Begins a full copy, and with it takes part 0; false where this copy began before, or the watermark is beyond `through`. */
  beginCopy(groupId: number, copyId: number, through: number): Promise<boolean>;
  /** Takes the turn of a part; false where it is not its turn, of this copy to this `through`, or the watermark is beyond. */
  nextPart(groupId: number, copyId: number, through: number, part: number): Promise<boolean>;
  /** The watermark stands at `through`, after no batch. */
  endCopy(groupId: number, through: number): Promise<void>;

  /**
   * Writes entities; of a batch, only those that are newer than what is there. Answers the Morton keys of regions that entities left.
   */
  writeEntities(groupId: number, copyId: number, entities: readonly Entity[]): Promise<string[]>;
  /** Removes entities that are not newer than their removal. Answers the Morton keys of their regions. */
  removeEntities(groupId: number, removed: readonly RemovedEntity[]): Promise<string[]>;
  /** Writes balances above 0; of a batch, only those that are newer than what is there. */
  writeBalances(groupId: number, copyId: number, balances: readonly Balance[]): Promise<void>;
  /** Removes balances that are not newer. */
  removeBalances(groupId: number, balances: readonly Balance[]): Promise<void>;
  writeTotals(groupId: number, copyId: number, totals: readonly ItemTotal[]): Promise<void>;
  /** Raises the epochs that writes of regions are fenced by; never lowers one. */
  raiseEpochs(epochs: readonly RegionEpoch[]): Promise<void>;
  /** Removes entities, balances and totals that the full copy did not name. Answers the Morton keys of the entities' regions. */
  sweep(groupId: number, copyId: number): Promise<string[]>;

  /** Writes eventual values where they win over what is there. */
  writeEventual(values: readonly EventualValue[]): Promise<void>;
  /** Removes deletions stamped before, at most `limit`. */
  forgetDeletedEventual(beforeMs: number, limit: number): Promise<void>;
}

/** Where a page of eventual values ended. */
export interface EventualPlace {
  /** Morton key of the region. */
  readonly regionKey: bigint;
  readonly type: string;
  readonly key: string;
}

/** SQL as the materializer sees it. Adapters: PostgreSQL and CockroachDB in the region store, a simulated database in the simulator. */
export interface MaterializationStore {
  /** See WorkRunner.transaction. */
  transaction<T>(work: (rows: MaterializationRows) => Promise<T>, options: TransactionOptions): Promise<T>;
  /** Log index by group, and whose they are; read in this order. Throws MeshError. */
  watermarks(caller?: Caller): Promise<{ readonly byGroup: Map<number, number>; readonly owner: string | undefined }>;
  /** Eventual values after a place, or from the first on, at most `limit`, in an order that is always the same; and whose they are. Throws MeshError. */
  eventualAfter(place: EventualPlace | undefined, limit: number, caller?: Caller): Promise<{ readonly values: EventualValue[]; readonly owner: string | undefined }>;
}
