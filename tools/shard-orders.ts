// What a game shard in a process of its own is told and tells (shard-child.ts).
import type { Region } from "@statemesh/contract";

/** How the shard is made; its first message. */
export interface ShardSpec {
  readonly endpoints: readonly string[];
  readonly serverId: number;
  readonly maxRegions: number;
}

/** An order. Each is answered with an `Answer` of its number. */
export type Order =
  | { readonly order: "start"; readonly spec: ShardSpec }
  | { readonly order: "acquire"; readonly region: Region }
  /** Places structures in the region as long as it is this shard's, one every `everyMs`. */
  | { readonly order: "build"; readonly region: Region; readonly everyMs: number }
  | { readonly order: "rest" }
  /** Does what another shard kept back, once the region is this shard's. */
  | { readonly order: "adopt"; readonly region: Region; readonly actions: readonly number[] }
  | { readonly order: "hand over"; readonly region: Region; readonly toServerId: number; readonly timeoutMs: number }
  /** The next `load` (of a region that comes) or `drain` (of one that goes) never ends. */
  | { readonly order: "stall"; readonly at: "load" | "drain" }
  | { readonly order: "report" };

/** What a shard built, and what it was told. */
export interface ShardReport {
  /** Actions that were accepted. */
  readonly accepted: readonly number[];
  /** Actions that were surely not done, by reason. */
  readonly refused: Readonly<Record<string, readonly number[]>>;
  /** Actions of unknown outcome. */
  readonly unknown: readonly number[];
  readonly undecided: number;
}

/** What happened to a shard, or an answer to an order. `atMs`: wall time. */
export type ShardNews =
  | { readonly news: "answer"; readonly to: number; readonly error: string; readonly report?: ShardReport; readonly phase?: number }
  | { readonly news: "stalled"; readonly region: Region; readonly atMs: number }
  | { readonly news: "begin"; readonly region: Region; readonly epoch: number; readonly atMs: number }
  | { readonly news: "resume"; readonly region: Region; readonly epoch: number; readonly atMs: number }
  | { readonly news: "handed over"; readonly region: Region; readonly toServerId: number; readonly held: readonly number[]; readonly atMs: number }
  | { readonly news: "lost"; readonly region: Region; readonly epoch: number; readonly reason: string; readonly atMs: number };

/** Where the structure of an action stands: no two overlap. */
export function placeOf(region: Region, action: number): { minX: number; minY: number; minZ: number; maxX: number; maxY: number; maxZ: number } {
  const minX = region.x * 2_000 + 10 + (action % 600) * 3;
  const minY = region.y * 2_000 + 10 + (Math.floor(action / 600) % 600) * 3;
  const minZ = region.z * 2_000 + 10 + Math.floor(action / 360_000) * 3;
  return { minX, minY, minZ, maxX: minX + 1, maxY: minY + 1, maxZ: minZ + 1 };
}
