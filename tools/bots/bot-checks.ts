/** What must hold once bots rest: asked of the mesh, against what their shards were told. */
import type { MeshClient } from "@statemesh/client";
import { type Entity, type EventualValue, type Region } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import type { BotBooks } from "./bot-books.ts";
import { type BotOrder, type BotShardReport, playerId, playerOf } from "./bot-orders.ts";
import type { BotWorld } from "./bot-world.ts";

/** One thing that must hold. `detail`: how much was looked at, or what is wrong. */
export interface BotCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** What the checks look at. */
export interface BotFinish {
  readonly client: Pick<MeshClient, "read">;
  readonly world: BotWorld;
  readonly run: string;
  readonly shards: readonly { readonly number: number; tell(order: BotOrder): Promise<BotShardReport | undefined> }[];
  readonly serverIds: readonly number[];
  readonly books: Pick<BotBooks, "counts">;
  readonly verified: number;
  readonly notConserved: number;
}

/** What is still on its way when bots rest has arrived by then. */
const SETTLE_MS = 10_000;
const LOOK_EVERY_MS = 100;
const SHOWN = 5;

interface Found {
  readonly entities: readonly Entity[];
  /** Live positions. */
  readonly positions: readonly EventualValue[];
  readonly reports: readonly BotShardReport[];
}

/** @param settleMs how long what is on its way may take */
export async function checkBots(finish: BotFinish, settleMs = SETTLE_MS): Promise<BotCheck[]> {
  const { world, books, run } = finish;
  let found = await look(finish);
  const troubles = (): string[] => [...placeTroubles(finish, found), ...positionTroubles(finish, found), ...structureTroubles(found)];
  for (const endMs = performance.now() + settleMs; troubles().length > 0 && performance.now() < endMs; found = await look(finish)) {
    await new Promise((wake) => setTimeout(wake, LOOK_EVERY_MS));
  }
  const standing = found.reports.reduce((sum, report) => sum + report.standing.length, 0);
  const { walk, players, shards } = world.spec;
  const decided = books.counts.accepted + books.counts.merged;
  const idle = [
    ...(books.counts.published === 0 ? ["no position was published"] : []),
    ...(books.counts.received === 0 && shards > 1 ? ["no position came to another shard"] : []),
    ...(walk && decided === 0 ? ["no operation is in force"] : []),
  ];
  return [
    checkOf("something was done", idle, `${books.counts.published} positions published, ${books.counts.received} heard by other shards, ${decided} operations in force`),
    checkOf("nobody was simulated twice at a time", books.counts.doubled > 0 ? [`${books.counts.doubled} positions came of players that the shard that heard them simulated itself`] : [], `${books.counts.received} positions heard`),
    checkOf("each player is in one place", placeTroubles(finish, found), `${players} players on ${shards} shards`),
    checkOf("each position is in one place", positionTroubles(finish, found), `${found.positions.length} positions of ${run}`),
    checkOf("what was said to stand stands", structureTroubles(found), `${standing} structures`),
    checkOf("items are conserved", finish.notConserved > 0 ? [`${finish.notConserved} of ${finish.verified} verifications say no`] : finish.verified === 0 ? ["no verification was answered"] : [], `${finish.verified} verifications`),
  ];
}

function checkOf(name: string, troubles: readonly string[], detail: string): BotCheck {
  const more = troubles.length > SHOWN ? `; and ${troubles.length - SHOWN} more` : "";
  return troubles.length === 0 ? { name, ok: true, detail } : { name, ok: false, detail: `${troubles.slice(0, SHOWN).join("; ")}${more}` };
}

async function look({ client, world, run, shards }: BotFinish): Promise<Found> {
  const entities: Entity[] = [];
  const positions: EventualValue[] = [];
  const read = async (region: Region): Promise<void> => {
    for (let pageToken = ""; ; ) {
      const page = await client.read({ region, pageSize: 1_000, pageToken, includeEventual: true });
      for (const entity of page.entities) if (entity.entityId.startsWith(run)) entities.push(entity);
      for (const value of page.values) if (!value.deleted && value.type === "creature_position" && value.key.startsWith(run)) positions.push(value);
      pageToken = page.nextPageToken;
      if (pageToken === "") return;
    }
  };
  const reports = await Promise.all(shards.map(async (shard) => await shard.tell({ order: "report" })));
  for (const region of world.regions) await read(region);
  return { entities, positions, reports: reports.filter((report) => report !== undefined) };
}

/** By the mesh each player is in one region with one owner, and that shard alone simulates it. */
function placeTroubles({ world, run, serverIds, shards }: BotFinish, { entities, reports }: Found): string[] {
  const troubles: string[] = [];
  const simulated = new Map<number, number[]>();
  reports.forEach((report, at) => {
    for (const player of report.players) simulated.set(player, [...(simulated.get(player) ?? []), serverIds[shards[at]?.number ?? 0] ?? 0]);
    for (const player of report.open) troubles.push(`of player ${player} nobody knows whether it crossed a border`);
  });
  const places = new Map<number, Entity[]>();
  for (const entity of entities) {
    const player = entity.kind === "creature" ? playerOf(run, entity.entityId) : undefined;
    if (player !== undefined) places.set(player, [...(places.get(player) ?? []), entity]);
  }
  for (let player = 0; player < world.spec.players; player++) {
    const at = places.get(player) ?? [];
    const by = simulated.get(player) ?? [];
    const where = at.map((entity) => `${textOf(entity.region)} of server ${entity.serverId}`).join(" and ");
    if (at.length !== 1) troubles.push(`player ${player} is in ${where === "" ? "no region" : where}`);
    else if (by.length !== 1 || by[0] !== at[0]?.serverId) troubles.push(`player ${player} is in ${where}, and is simulated by ${by.length === 0 ? "nobody" : by.join(" and ")}`);
  }
  return troubles;
}

/** Whoever subscribes sees each player once, where the mesh says that it is. */
function positionTroubles({ world, run }: BotFinish, { entities, positions }: Found): string[] {
  const places = new Map(entities.filter(({ kind }) => kind === "creature").map((entity) => [entity.entityId, textOf(entity.region)]));
  const shown = new Map<string, string[]>();
  for (const { key, region } of positions) shown.set(key, [...(shown.get(key) ?? []), textOf(region)]);
  const troubles: string[] = [];
  for (let player = 0; player < world.spec.players; player++) {
    const id = playerId(run, player);
    const at = shown.get(id) ?? [];
    if (at.length !== 1 || at[0] !== places.get(id)) troubles.push(`player ${player} is shown in ${at.length === 0 ? "no region" : at.join(" and ")}, and is in ${places.get(id) ?? "none"}`);
  }
  return troubles;
}

function structureTroubles({ entities, reports }: Found): string[] {
  const there = new Set(entities.filter(({ kind }) => kind === "structure").map(({ entityId }) => entityId));
  const unsure = new Set(reports.flatMap((report) => report.unsure));
  const standing = new Set(reports.flatMap((report) => report.standing));
  return [
    ...[...standing].filter((id) => !there.has(id) && !unsure.has(id)).map((id) => `${id} was put up and is not there`),
    ...[...there].filter((id) => !standing.has(id) && !unsure.has(id)).map((id) => `${id} stands and nobody was told so`),
  ];
}

function textOf(region: Region | undefined): string {
  return region === undefined ? "nowhere" : formatRegion(region);
}
