// What a simulated game shard is given: the world around it, and how it is.
import type { Region } from "@statemesh/contract";
import type { Policy } from "@statemesh/world";
import type { Recorder } from "../recorder.ts";
import type { Simulation } from "../simulation.ts";
import type { CallBook } from "./call-book.ts";
import type { EscrowBook } from "./escrow-book.ts";
import type { LeaseBook } from "./lease-book.ts";
import type { ShardNetwork } from "./shard-network.ts";

export interface ShardParts {
  readonly simulation: Simulation;
  readonly recorder: Recorder;
  readonly network: ShardNetwork;
  readonly book: CallBook;
  readonly leases: LeaseBook;
  readonly nodes: readonly number[];
  readonly groups: number;
  readonly leaseMs: number;
  readonly regions: readonly Region[];
  /** Mean milliseconds between two actions. */
  readonly paceMs: number;
  /** Of all actions, how many do what they should not. */
  readonly mischief: number;
  /** Shards take regions over; else nobody owns any. */
  readonly leasing: boolean;
  /** Shards hand regions to each other. */
  readonly handoffs: boolean;
  /** Regions that the directory may bring a shard to. */
  readonly maxRegions: number;
  /** Share of the operations that are to be kept where their node is cut off. */
  readonly tentative: number;
  readonly servers: readonly number[];
  /** Names that are fought for: structures' places, resources, players. */
  readonly names: number;
  /** Share of the boxes that lie across a border, where somebody else may build. */
  readonly borders: number;
  /** Share of the structures that name a plot, which those in other regions name as well. */
  readonly plots: number;
  /** Share of the operations that have to do with containers. */
  readonly containers: number;
  /** Share of the operations that have to do with what goes from region to region. */
  readonly travellers: number;
  /** Share of the operations that have to do with escrows, and who watches what is promised of them. */
  readonly escrows: number;
  readonly escrowBook: EscrowBook;
  /** What nodes and arbiters decide by; its own types are among what shards do. */
  readonly policy: Policy;
  /** Share of the operations, and of what is published, that are of the policy's own types. */
  readonly ownTypes: number;
}
