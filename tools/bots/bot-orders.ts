// What a bot shard in a process of its own is told and tells (bot-child.ts).
import type { BooksPart } from "./bot-books.ts";
import type { BotWorldSpec } from "./bot-world.ts";

/** How a shard of bots is made. */
export interface BotShardSpec {
  /** Of all nodes; the first is where this shard writes and listens. */
  readonly endpoints: readonly string[];
  /** From 0. */
  readonly number: number;
  /** Server ids of all shards, by number. */
  readonly serverIds: readonly number[];
  readonly world: BotWorldSpec;
  /** In front of every id of this run. */
  readonly run: string;
  /** Raft groups of the mesh, without the directory. */
  readonly groups: number;
  /** Positions a second and player. */
  readonly hz: number;
  /** Strong operations a second and player, about. */
  readonly acts: number;
}

/** An order. Each is answered with an `answer` of its number. */
export type BotOrder =
  /** Registers, takes the leases, subscribes. */
  | { readonly order: "prepare"; readonly spec: BotShardSpec }
  /** Players appear; what is measured counts from `measureMs` on. Both wall time. */
  | { readonly order: "play"; readonly beganMs: number; readonly measureMs: number }
  /** Tells what it has counted until now, before it answers. */
  | { readonly order: "tell books" }
  /** Nobody crosses a border or acts any more; answered once everything is decided. Positions go on. */
  | { readonly order: "rest" }
  | { readonly order: "report" }
  /** Positions end, and what the run put up is taken away where `tidy` says so; the leases are given back. */
  | { readonly order: "leave"; readonly tidy: boolean };

/** What a shard knows at the end. */
export interface BotShardReport {
  /** Numbers of the players that it simulates. */
  readonly players: readonly number[];
  /** Players whose handoff has no known outcome. */
  readonly open: readonly number[];
  /** Structures that it was told stand. */
  readonly standing: readonly string[];
  /** Structures of which it does not know whether they stand. */
  readonly unsure: readonly string[];
}

export type BotNews =
  | { readonly news: "answer"; readonly to: number; readonly error: string; readonly report?: BotShardReport }
  | { readonly news: "books"; readonly part: BooksPart };

/** A player's id in the mesh: of its creature, its account and its position. */
export function playerId(run: string, player: number): string {
  return `${run}p${player}`;
}

/** The number of a player of this run; undefined of anything else. */
export function playerOf(run: string, id: string): number | undefined {
  if (!id.startsWith(`${run}p`)) return undefined;
  const number = Number(id.slice(run.length + 1));
  return Number.isInteger(number) ? number : undefined;
}

/** An operation id that says who handed a player on, and when: who takes it over knows how long that took. */
export function handoffId(run: string, shard: number, count: number, sentMs: number): string {
  return `${run}h.${shard}.${count}.${sentMs.toFixed(1)}`;
}

/** Undefined where an id is none of `handoffId`. */
export function handoffOf(run: string, id: string): { readonly shard: number; readonly sentMs: number } | undefined {
  if (!id.startsWith(`${run}h.`)) return undefined;
  const [shard, , whole, tenth] = id.slice(run.length + 2).split(".");
  return { shard: Number(shard), sentMs: Number(`${whole}.${tenth}`) };
}

/** Wall time with fractions: all processes of a machine have the same. */
export function wallMs(): number {
  return performance.timeOrigin + performance.now();
}
