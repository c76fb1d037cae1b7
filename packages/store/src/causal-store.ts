import type { DeliveredEvent, Region } from "@statemesh/contract";
import type { StoreOwnerRows } from "./store-owner.ts";
import type { Caller, TransactionOptions } from "./work-runner.ts";

/** Where the events of a group stand. Each event, and each place where some are missing, has a position of its own, from 1 on. */
export interface CausalGroupRow {
  readonly groupId: number;
  /** The highest term of a leader that was here. */
  readonly term: number;
  /** The last position that was given out. */
  readonly position: number;
}

/** Through which sequence of an origin the group's events are here. */
export interface CausalMarkRow {
  readonly groupId: number;
  readonly origin: number;
  readonly sequence: number;
}

export interface CausalEventRow {
  readonly groupId: number;
  readonly position: number;
  readonly storedAtMs: number;
  /** With its id and region. */
  readonly event: DeliveredEvent;
}

/** At most so many events are missing at a position. */
export interface CausalGapRow {
  readonly groupId: number;
  readonly position: number;
  readonly missing: number;
}

/** The rows of causal events, in one transaction. Lists may be empty. */
export interface CausalRows extends StoreOwnerRows {
  /** The groups' rows, made where there are none; nobody else gets them until the end of the transaction. `groupIds`: ascending. */
  lockGroups(groupIds: readonly number[]): Promise<CausalGroupRow[]>;
  /** Those that are there. */
  marks(of: readonly Omit<CausalMarkRow, "sequence">[]): Promise<CausalMarkRow[]>;
  putGroups(groups: readonly CausalGroupRow[]): Promise<void>;
  putMarks(marks: readonly CausalMarkRow[]): Promise<void>;
  /** Adds events, and notes the groups of their regions. */
  addEvents(events: readonly CausalEventRow[]): Promise<void>;
  addGaps(gaps: readonly CausalGapRow[]): Promise<void>;
  /** The oldest events of a group, in order of position. */
  oldest(groupId: number, limit: number): Promise<{ readonly position: number; readonly storedAtMs: number }[]>;
  /** Removes a group's events and gaps through a position, and notes for each region how far its events are gone. */
  trim(groupId: number, through: number): Promise<void>;
}

/** What a reader sees, in the order in which it asks. */
export interface CausalReads {
  /** Events of a region after a position, in order, at most `limit`. */
  eventsAfter(region: Region, position: number, limit: number): Promise<CausalEventRow[]>;
  /** Undefined: there never was an event. `trimmedThrough`: its events are gone through this position; 0: all are there. `position`: the group's last. */
  region(region: Region): Promise<{ readonly groupId: number; readonly position: number; readonly trimmedThrough: number } | undefined>;
  /** What is missing in a group after a position and through another, and the position of the last of it; 0 and 0: nothing. */
  gaps(groupId: number, after: number, through: number): Promise<{ readonly missing: number; readonly position: number }>;
}

/** SQL as the history of causal events sees it. Adapters: PostgreSQL and CockroachDB in the region store, a simulated database in the simulator. */
export interface CausalStore {
  /** See WorkRunner.transaction. */
  transaction<T>(work: (rows: CausalRows) => Promise<T>, options: TransactionOptions): Promise<T>;
  /** Each question sees what was committed before it. Throws MeshError. */
  read<T>(work: (reads: CausalReads) => Promise<T>, caller?: Caller): Promise<T>;
  /** Groups with more than `keep` positions, or whose oldest event was stored before a time. */
  due(keep: number, beforeMs: number, limit: number): Promise<number[]>;
}
