/** The policy table: which consistency class, rules and priorities hold. Read from a file, see policy-file.ts. */
import type { ConflictType } from "@statemesh/contract";
import type { StateMerge } from "@statemesh/merge";
import { policyDigest } from "./policy-digest.ts";

/** How an operation of a type is replicated. */
export type Consistency = "strong" | "eventual" | "causal";

/**
 * One step of a rule chain. `merge`: both stand where their merge classes agree; `priority`: highest wins;
 * `timestamp`: earliest wins; `server_id`: lowest wins; `operation_id`: lowest by its UTF-8 bytes wins;
 * `last_write_wins`: latest wins.
 */
export type Rule = "merge" | "priority" | "timestamp" | "server_id" | "operation_id" | "last_write_wins";

/** A row of the policy table. */
export interface OperationType {
  readonly name: string;
  readonly consistency: Consistency;
  /** In order of application. `merge` only first. The chain of a strong type ends with `operation_id`: a strict order. */
  readonly chain: readonly Rule[];
  /** The chain has `merge`. */
  readonly merge: boolean;
  /** How states of the operator's own type merge; undefined: they are opaque, and a later write replaces an earlier one. */
  readonly stateMerge: StateMerge | undefined;
  /** One of the contract's own types; otherwise the operator's. */
  readonly builtIn: boolean;
  /** How two operations of the type meet. */
  readonly conflict: ConflictType;
  /** Boxes of one layer conflict where they overlap; empty where the type's boxes don't count. */
  readonly layer: string;
  /** A node that is cut off may keep operations of the type, where their callers allow it. */
  readonly tentative: boolean;
}

/** The table in force. Immutable. */
export interface Policy {
  typeOf(name: string): OperationType | undefined;
  /** Priority of a game server: the operator's number, or the default. */
  priorityOf(serverId: number): number;
  /** Every type, ordered by name. */
  types(): readonly OperationType[];
  /** Priority of servers without a number of their own. */
  readonly defaultPriority: number;
  /** How far back a claimed time is honoured, ms; older times are moved up to the window's edge. */
  readonly compensationWindowMs: number;
  /** How far ahead of the receiver's clock a claimed time may be, ms; beyond it is refused. */
  readonly maxOffsetMs: number;
  /**
   * How near two terrain edits must be stamped to count as concurrent, ms, where the later one does not state the
   * version that it saw. An edit in force that is older than this is no incumbent: the new edit has seen it.
   */
  readonly concurrencyWindowMs: number;
  /** Of everything above, see policy-digest.ts. */
  readonly digest: string;
}

/** Everything a policy is made of. */
export interface PolicyTable {
  readonly types: readonly OperationType[];
  readonly defaultPriority: number;
  readonly priorities: ReadonlyMap<number, number>;
  readonly compensationWindowMs: number;
  readonly maxOffsetMs: number;
  readonly concurrencyWindowMs: number;
}

/** A policy over its parts. */
export function policyOf(table: PolicyTable): Policy {
  const types = [...table.types].sort((a, b) => (a.name < b.name ? -1 : 1));
  const byName = new Map(types.map((type) => [type.name, type]));
  const { defaultPriority, priorities } = table;
  return {
    typeOf: (name) => byName.get(name),
    priorityOf: (serverId) => priorities.get(serverId) ?? defaultPriority,
    types: () => types,
    defaultPriority,
    compensationWindowMs: table.compensationWindowMs,
    maxOffsetMs: table.maxOffsetMs,
    concurrencyWindowMs: table.concurrencyWindowMs,
    digest: policyDigest(table),
  };
}
