// What a node is made with.
import type { VersionRange } from "@statemesh/replica";
import type { Policy } from "@statemesh/world";
import type { ServerQuotas } from "./flow/server-quotas.ts";

export interface NodeOptions {
  readonly nodeId: number;
  /** Who founded the cluster, the same for ever; empty on a node that joined it later. */
  readonly members: readonly number[];
  /** What this node reads and says. Default: what this code can. */
  readonly versions?: VersionRange;
  /** Groups that hold regions, numbered from 1; group 0 is the directory. The same on every node, for ever. */
  readonly groups: number;
  readonly policy: Policy;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** Milliseconds from tick to tick. */
  readonly tickMs: number;
  /** How often nodes tell one another whom they hear, ms. Default: 300. */
  readonly beatMs?: number;
  /** Silence after which a node is suspected, at least, ms. Default: 1,500. */
  readonly suspicionMs?: number;
  /** Silence after which a node is removed from the view, ms. Default: 10,000. */
  readonly removalMs?: number;
  /** Ticks without word of a node after which it counts as cut off. Default: 1.5 s, and five beats at least. */
  readonly suspicionTicks?: number;
  /** A leader with a lease answers reads without asking the others; the same on every node. */
  readonly leaseReads: boolean;
  readonly queueCapacity: number;
  /** Milliseconds that operations may wait for their turn, and for which they may wait longer before more is refused. Default: 250 and 500. */
  readonly queueTargetMs?: number;
  readonly queueIntervalMs?: number;
  /** What one game server may have and do on this node. Default: `SERVER_QUOTAS`. */
  readonly quotas?: Partial<ServerQuotas>;
  readonly snapshotLogBytes: number;
  readonly trailingEntries: number;
  readonly trailingBytes: number;
  readonly decisionWindow: number;
  readonly touchCapacity: number;
  readonly leaseMs: number;
  readonly registrationTtlMs: number;
  /** Milliseconds after which a game server that says nothing takes over no region. Default 1,500. */
  readonly shardSuspicionMs?: number;
  /** Ticks between two looks at how leadership is spread over the nodes; 0: never. */
  readonly balanceTicks: number;
  /** A region store is configured: leaders materialise. */
  readonly materialize: boolean;
  /** Resume tokens of other clusters are refused, and a region store that holds another cluster's state refuses ours. */
  readonly clusterId: string;
  /** A number of this start of the node, greater with every start, 1..2^32-1. */
  readonly incarnation: number;
}
