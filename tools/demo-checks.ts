/** What must hold after a demo, each with a name, and with what was found. */
import { connect, type MeshClient } from "@statemesh/client";
import { type Entity, MeshError, ReadLevel, type Region, type VerifyConservationResponse } from "@statemesh/contract";
import { formatRegion, overlaps, quantizeBounds, type QuantizedBounds } from "@statemesh/world";
import { decodePosition } from "./demo-eventual.ts";
import type { DemoResult } from "./demo-run.ts";
import type { DemoStore } from "./demo-store.ts";

/** Most accounts or entities that one Read takes. */
const READ_KEYS_MAX = 256;
const SETTLE_LIMIT_MS = 20_000;
const DETAILS_SHOWN = 3;

/** One check, done. */
export interface DemoCheck {
  /** What must hold, as a sentence. */
  readonly name: string;
  readonly ok: boolean;
  /** What was counted, or what was wrong. */
  readonly detail: string;
}

/** Runs checks one after the other; one that throws has failed. */
export async function runChecks(checks: readonly { name: string; run: () => Promise<string> | string }[]): Promise<DemoCheck[]> {
  const done: DemoCheck[] = [];
  for (const { name, run } of checks) {
    try {
      done.push({ name, ok: true, detail: await run() });
    } catch (error) {
      done.push({ name, ok: false, detail: error instanceof CheckFailed ? error.message : `could not be checked: ${MeshError.from(error).message}` });
    }
  }
  return done;
}

/** What was found is not what must hold. */
export class CheckFailed extends Error {
  override readonly name = "CheckFailed";
}

/** @throws CheckFailed with the first few troubles, where there are any */
export function failOn(troubles: readonly string[]): void {
  if (troubles.length === 0) return;
  const more = troubles.length > DETAILS_SHOWN ? `; and ${troubles.length - DETAILS_SHOWN} more` : "";
  throw new CheckFailed(troubles.slice(0, DETAILS_SHOWN).join("; ") + more);
}

/** Asks until `attempt` finds no troubles, or the time is over. That something does not answer is a trouble too: it may be starting. */
export async function settle(attempt: () => Promise<string[]>, limitMs: number = SETTLE_LIMIT_MS): Promise<void> {
  const endMs = performance.now() + limitMs;
  for (;;) {
    const troubles = await attempt().catch((error: unknown) => {
      if (error instanceof MeshError && error.reason !== "INTERNAL") return [error.message];
      throw error;
    });
    if (troubles.length === 0) return;
    if (performance.now() > endMs) failOn(troubles);
    await new Promise((wake) => setTimeout(wake, 100));
  }
}

function chunks<T>(list: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, at) => list.slice(at * size, (at + 1) * size));
}

/** Every operation got a decision: none is left whose outcome nobody knows. */
export function checkDecided({ demo }: DemoResult): string {
  const unknown = demo.measure.total("unknown");
  if (unknown > 0) throw new CheckFailed(`the outcome of ${unknown} operations is not known`);
  return `${demo.measure.decided} decisions, ${demo.measure.refused} refused with a reason`;
}

/** In a contest for one thing exactly one side won, and no item was given away twice. */
export function checkContests({ demo, contests }: DemoResult): string {
  failOn([...contests.troubles, ...demo.ledger.doubled.map((itemId) => `item ${itemId} was given away twice`)]);
  const held = [...contests.held].map(([kind, count]) => `${count} ${kind}`);
  return held.length === 0 ? "no contest was held: the world has no place where two shards meet" : `contests held: ${held.join(", ")}`;
}

/** Each region that shards own has one owner in the directory: the shard that it was handed to last. */
export async function checkOwners({ demo }: DemoResult, client: MeshClient): Promise<string> {
  const owned = demo.world.regions.filter(({ region }) => demo.ownerOf(region) !== undefined);
  await settle(async () => {
    const troubles: string[] = [];
    for (const { region } of owned) {
      const { authority } = await client.route({ $case: "region", value: region });
      const wanted = demo.ownerOf(region);
      if (authority?.owner?.serverId !== wanted?.id) troubles.push(`${formatRegion(region)} is owned by ${authority?.owner?.name ?? "nobody"}, not by ${wanted?.name ?? "nobody"}`);
    }
    return troubles;
  });
  return `${owned.length} regions, handed over ${demo.measure.handoffs.count} times`;
}

/** What inventories, ground and claims hold is what the shards were told. */
export async function checkLedger({ demo }: DemoResult, client: MeshClient): Promise<string> {
  const troubles: string[] = [];
  const expected = demo.ledger.expected();
  // An account lives in the group where it was used; a bot stays in one sector, so reading each group once finds all.
  const regionByGroup = new Map<number, Region>(demo.world.regions.map((it) => [demo.groupOf(it.region), it.region]));
  const held = new Map<string, number>();
  const accounts = [...new Set(expected.map((it) => it.account))];
  for (const region of regionByGroup.values()) {
    for (const part of chunks(accounts, READ_KEYS_MAX)) {
      const { balances } = await client.read({ region, accounts: part });
      for (const it of balances) held.set(`${it.accountId} ${it.itemKind}`, (held.get(`${it.accountId} ${it.itemKind}`) ?? 0) + it.quantity);
    }
  }
  for (const { account, kind, quantity } of expected) {
    const found = held.get(`${account} ${kind}`) ?? 0;
    held.delete(`${account} ${kind}`);
    if (found !== quantity) troubles.push(`${account} holds ${found} ${kind} and was told ${quantity}`);
  }
  for (const [key, quantity] of held) if (quantity !== 0) troubles.push(`${key}: ${quantity} that nobody was told of`);

  const items = await entitiesOf(client, regionByGroup, "item", [...demo.ledger.ground.keys()]);
  for (const [itemId, { kind, quantity }] of demo.ledger.ground) {
    const found = items.get(itemId);
    if (found?.label !== kind || found.quantity !== quantity) troubles.push(`${itemId} on the ground is ${found?.quantity ?? 0} ${found?.label ?? kind} and was told ${quantity} ${kind}`);
  }
  const claims = await entitiesOf(client, regionByGroup, "claim", [...demo.ledger.claims.keys()]);
  for (const [resourceId, { playerId }] of demo.ledger.claims) {
    if (claims.get(resourceId)?.playerId !== playerId) troubles.push(`${resourceId} is held by ${claims.get(resourceId)?.playerId ?? "nobody"} and was told to ${playerId ?? "nobody"}`);
  }
  failOn(troubles);
  return `${expected.length} balances of ${accounts.length} players, ${demo.ledger.ground.size} piles, ${demo.ledger.claims.size} claims`;
}

async function entitiesOf(client: MeshClient, regionByGroup: ReadonlyMap<number, Region>, kind: string, ids: readonly string[]): Promise<Map<string, Entity>> {
  const found = new Map<string, Entity>();
  for (const region of regionByGroup.values()) {
    for (const part of chunks(ids, READ_KEYS_MAX)) {
      const { entities } = await client.read({ region, entities: part.map((entityId) => ({ kind, entityId })) });
      for (const entity of entities) found.set(entity.entityId, entity);
    }
  }
  return found;
}

/** All structures that were put up stand, and no two of them overlap; those of earlier runs included. */
export async function checkStructures({ demo }: DemoResult, client: MeshClient): Promise<string> {
  const troubles: string[] = [];
  const standing = new Map<string, QuantizedBounds>();
  for (const { region } of demo.world.regions) {
    for (let pageToken = ""; ; ) {
      const page = await client.read({ region, pageSize: 1_000, pageToken });
      for (const entity of page.entities) if (entity.kind === "structure" && entity.bounds !== undefined) standing.set(entity.entityId, quantizeBounds(entity.bounds));
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
  }
  for (const structureId of demo.ledger.structures.keys()) if (!standing.has(structureId)) troubles.push(`${structureId} was put up and is not there`);
  // By their lower edge: only those that begin before one ends can overlap it.
  const sorted = [...standing].sort(([, a], [, b]) => a.minX - b.minX);
  sorted.forEach(([id, box], at) => {
    for (let next = at + 1; next < sorted.length; next++) {
      const [otherId, other] = sorted[next] ?? ["", box];
      if (other.minX >= box.maxX) break;
      if (overlaps(box, other)) troubles.push(`${id} and ${otherId} overlap`);
    }
  });
  failOn(troubles);
  return `${standing.size} structures, ${demo.ledger.structures.size} of this run`;
}

/** Items minted less items burned are the items held, in the replicated state. */
export function checkConservation(response: VerifyConservationResponse): string {
  failOn(response.items.filter((it) => !it.conserved).map((it) => `${it.itemKind}: minted ${it.minted}, burned ${it.burned}, held ${it.held}, on the ground ${it.onGround}`));
  if (!response.conserved) throw new CheckFailed("the mesh says that a kind is not conserved");
  return `${response.items.length} kinds of items in ${response.positions.length} groups`;
}

/**
 * What was published arrives at other nodes, and in the end every node holds the newest of it. What a node that ended by
 * itself (`ends` times any did) had not passed on yet is lost, and is published again first.
 */
export async function checkEventual(result: DemoResult, endpoints: readonly string[], ends: number): Promise<string> {
  const { demo, followers, publishers } = result;
  const arrived = followers.reduce((sum, it) => sum + it.values, 0);
  if (demo.bots.length > 0 && demo.shards.length > 1 && arrived === 0) throw new CheckFailed("nothing arrived at another node");
  if (ends > 0) await Promise.all(publishers.map(async (publisher) => await publisher.repeat((key, { timestampMs }) => !newerElsewhere(publishers, publisher, key, timestampMs))));
  const clients = endpoints.map((endpoint) => connect({ endpoints: [endpoint], serverId: 1, name: "check" }));
  let compared = 0;
  try {
    await settle(async () => {
      const troubles: string[] = [];
      compared = 0;
      for (const [at, client] of clients.entries()) {
        const held = new Map<string, number>();
        for (const { region } of demo.world.regions) {
          const { values } = await client.read({ region, level: ReadLevel.EVENTUAL, includeEventual: true, pageSize: 1 });
          for (const it of values) held.set(`${it.type} ${it.region?.x},${it.region?.y},${it.region?.z} ${it.key}`, it.deleted ? -1 : (decodePosition(it.value)?.sentMs ?? 0));
        }
        for (const publisher of publishers) {
          for (const [key, update] of publisher.published) {
            if (update.type !== "creature_position" || newerElsewhere(publishers, publisher, key, update.timestampMs)) continue;
            compared += 1;
            const found = held.get(key);
            const wanted = update.deleted ? -1 : (decodePosition(update.value)?.sentMs ?? 0);
            // A tombstone may be shown or not.
            if (found !== wanted && !(update.deleted && found === undefined)) troubles.push(`${endpoints[at]} holds ${found ?? "nothing"} of ${key} where ${wanted} was published last`);
          }
        }
      }
      return troubles;
    }, 10_000);
  } finally {
    for (const client of clients) client.close();
  }
  return `${arrived} positions arrived at other nodes; ${compared / Math.max(1, endpoints.length)} keys are equal on ${endpoints.length} nodes`;
}

function newerElsewhere(publishers: DemoResult["publishers"], own: DemoResult["publishers"][number], key: string, timestampMs: number): boolean {
  return publishers.some((other) => other !== own && (other.published.get(key)?.timestampMs ?? -1) >= timestampMs);
}

/** No effect was seen before its cause, on any node, and every quest went on. */
export function checkCausal({ followers, quests }: DemoResult): string {
  failOn([...followers.flatMap((it) => it.troubles), ...quests.flatMap((it) => (it.failure === undefined ? [] : [it.failure]))]);
  const steps = quests.reduce((sum, it) => sum + it.steps, 0);
  if (quests.length > 0 && quests.some((it) => it.steps < 2)) throw new CheckFailed(`a quest did not get beyond its first step`);
  const anew = quests.reduce((sum, it) => sum + it.legs - 1, 0);
  const begun = anew === 0 ? "" : `, begun anew ${anew} times because nobody knew of a step`;
  return `${steps} steps of ${quests.length} quests${begun}, seen in order by ${followers.length} subscribers`;
}

/** Every node holds the same state at the same place of each log. */
export async function checkDigests(endpoints: readonly string[]): Promise<string> {
  const clients = endpoints.map((endpoint) => connect({ endpoints: [endpoint], serverId: 1, name: "check" }));
  let groups = 0;
  try {
    await settle(async () => {
      const troubles: string[] = [];
      const all = await Promise.all(clients.map(async (client) => await client.status()));
      const [first, ...others] = all;
      groups = first?.groups.length ?? 0;
      for (const group of first?.groups ?? []) {
        for (const other of others) {
          const theirs = other.groups.find((it) => it.groupId === group.groupId);
          if (theirs?.appliedIndex !== group.appliedIndex) troubles.push(`group ${group.groupId}: node ${other.nodeId} stands at ${theirs?.appliedIndex ?? "nothing"}, node ${first?.nodeId} at ${group.appliedIndex}`);
          else if (theirs.stateDigest !== group.stateDigest) throw new CheckFailed(`group ${group.groupId} at ${group.appliedIndex}: node ${other.nodeId} has ${theirs.stateDigest}, node ${first?.nodeId} ${group.stateDigest}`);
        }
      }
      return troubles;
    });
  } finally {
    for (const client of clients) client.close();
  }
  return `${groups} groups on ${endpoints.length} nodes`;
}

/** What the caches answer is what SQL holds. Calls fail where something ended by itself (`ends` times), and else never. */
export async function checkCache({ demo }: DemoResult, store: DemoStore, ends: number): Promise<string> {
  const troubles: string[] = [];
  for (const { region, name, terrainKib } of demo.world.regions) {
    const [cached, stored] = [await store.load(region), await store.load(region, true)];
    if (stored.record === undefined) troubles.push(`${formatRegion(region)} is not stored`);
    else if (cached.record?.version !== stored.record.version) troubles.push(`${formatRegion(region)}: ${cached.tier} has version ${cached.record?.version ?? 0}, SQL ${stored.record.version}`);
    else if (stored.record.attributes.get("name") !== name || (stored.record.layers[0]?.data.length ?? 0) !== terrainKib * 1024) troubles.push(`${formatRegion(region)} is not as the world file says`);
  }
  failOn(ends > 0 ? troubles : [...troubles, ...store.troubles]);
  return `${demo.world.regions.length} regions`;
}
