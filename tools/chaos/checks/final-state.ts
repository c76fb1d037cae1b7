/** What the mesh holds in the end is what it told, by the run's own arithmetic over the log's order. */
import type { MeshClient } from "@statemesh/client";
import { type Entity, Outcome, PlayerInventory_Action, type Region } from "@statemesh/contract";
import { formatRegion, overlaps, quantizeBounds } from "@statemesh/world";
import { REGISTER_TYPE, type Setting } from "../load/setting.ts";
import type { LoadRecord } from "../load/told.ts";
import { chunks } from "./check.ts";

const ACCOUNTS_A_READ = 256;
const decoder = new TextDecoder();

/** What must be there. */
export interface Expected {
  /** Entities by `kind id`, with what may count of them: one value, or those of the writes in one log entry. */
  readonly entities: ReadonlyMap<string, readonly string[]>;
  /** Quantities by `account kind`. */
  readonly balances: ReadonlyMap<string, number>;
  readonly accounts: ReadonlySet<string>;
}

/** Adds up the operations in force, in the order of the log. Every call has been asked again before. */
export function expectedOf(record: LoadRecord): Expected {
  const entities = new Map<string, string[]>();
  const writtenAt = new Map<string, number>();
  const balances = new Map<string, number>();
  const accounts = new Set<string>();
  const add = (account: string, kind: string, quantity: number): void => {
    accounts.add(account);
    balances.set(`${account} ${kind}`, (balances.get(`${account} ${kind}`) ?? 0) + quantity);
  };
  const setRegister = (key: string, value: string, index: number): void => {
    entities.set(key, writtenAt.get(key) === index ? [...(entities.get(key) ?? []), value] : [value]);
    writtenAt.set(key, index);
  };
  const inForce = record.told
    .flatMap((told) => told.operations.map((operation, at) => ({ operation, decision: told.decisions[at] })))
    .filter(({ decision }) => decision?.outcome === Outcome.ACCEPTED || decision?.outcome === Outcome.MERGED)
    .sort((a, b) => (a.decision?.position?.index ?? 0) - (b.decision?.position?.index ?? 0));
  for (const { operation, decision } of inForce) {
    const { body } = operation;
    switch (body?.$case) {
      case "custom":
        setRegister(`${REGISTER_TYPE} ${body.value.entityId}`, decoder.decode(body.value.state), decision?.position?.index ?? 0);
        break;
      case "resourceClaim":
        if (body.value.release) entities.delete(`claim ${body.value.resourceId}`);
        else entities.set(`claim ${body.value.resourceId}`, [body.value.playerId]);
        break;
      case "structurePlacement":
        entities.set(`structure ${body.value.structureId}`, [operation.operationId]);
        break;
      case "structureRemoval":
        entities.delete(`structure ${body.value.structureId}`);
        break;
      case "terrainModification":
        entities.set(`terrain_edit ${operation.operationId}`, [operation.operationId]);
        break;
      case "itemPickup":
        entities.delete(`item ${body.value.itemId}`);
        add(body.value.playerId, "sword", 1);
        break;
      case "trade":
        for (const { itemKind, quantity } of body.value.firstGives) {
          add(body.value.firstPlayerId, itemKind, -quantity);
          add(body.value.secondPlayerId, itemKind, quantity);
        }
        for (const { itemKind, quantity } of body.value.secondGives) {
          add(body.value.secondPlayerId, itemKind, -quantity);
          add(body.value.firstPlayerId, itemKind, quantity);
        }
        break;
      case "playerInventory": {
        const { action, playerId, counterpartyId, itemKind, quantity, itemId } = body.value;
        if (action === PlayerInventory_Action.SPAWN) entities.set(`item ${itemId}`, [`${quantity} ${itemKind}`]);
        else if (action === PlayerInventory_Action.MINT) add(playerId, itemKind, quantity);
        else if (action === PlayerInventory_Action.BURN) add(playerId, itemKind, -quantity);
        else if (action === PlayerInventory_Action.TRANSFER) {
          add(playerId, itemKind, -quantity);
          add(counterpartyId, itemKind, quantity);
        }
        break;
      }
      default:
        throw new Error(`the load makes no ${operation.type}`);
    }
  }
  for (const [key, quantity] of balances) if (quantity === 0) balances.delete(key);
  return { entities, balances, accounts };
}

/** What counts of an entity. */
function valueOf(entity: Entity): string {
  if (entity.kind === REGISTER_TYPE) return decoder.decode(entity.state);
  if (entity.kind === "claim") return entity.playerId;
  if (entity.kind === "item") return `${entity.quantity} ${entity.label}`;
  return entity.operationId;
}

/** The regions of the load. */
export function regionsOf(setting: Setting): Region[] {
  return [...setting.grounds.map(({ region }) => region), setting.leased.region];
}

/** Everything in the regions, and the accounts' balances, by linearizable reads through one node. */
export async function stateOf(client: MeshClient, regions: readonly Region[], accounts: readonly string[]): Promise<{ entities: Entity[]; balances: Map<string, number>; versions: Map<string, number> }> {
  const entities: Entity[] = [];
  const balances = new Map<string, number>();
  const versions = new Map<string, number>();
  for (const region of regions) {
    for (let pageToken = ""; ; ) {
      const page = await client.read({ region, pageSize: 1_000, pageToken });
      entities.push(...page.entities);
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
    const own = accounts.filter((account) => account.startsWith(`${formatRegion(region)}-`));
    for (const part of chunks(own, ACCOUNTS_A_READ)) {
      for (const { accountId, itemKind, quantity, version } of (await client.read({ region, accounts: part })).balances) {
        balances.set(`${accountId} ${itemKind}`, quantity);
        versions.set(`${accountId} ${itemKind}`, version);
      }
    }
  }
  return { entities, balances, versions };
}

/** Compares what one node answers with what must be there. */
export async function compareState(client: MeshClient, where: string, setting: Setting, expected: Expected): Promise<string[]> {
  const found = await stateOf(client, regionsOf(setting), [...expected.accounts]);
  const entities = new Map(found.entities.map((entity) => [`${entity.kind} ${entity.entityId}`, valueOf(entity)]));
  const troubles: string[] = [];
  for (const key of new Set([...expected.entities.keys(), ...entities.keys()])) {
    const [wanted, got] = [expected.entities.get(key), entities.get(key)];
    if (got === undefined ? wanted !== undefined : wanted?.includes(got) !== true) troubles.push(`${where}: ${key} is ${got ?? "not there"} and must be ${wanted?.join(" or ") ?? "not there"}`);
  }
  for (const key of new Set([...expected.balances.keys(), ...found.balances.keys()])) {
    const [wanted, got] = [expected.balances.get(key) ?? 0, found.balances.get(key) ?? 0];
    if (wanted !== got) troubles.push(`${where}: the balance ${key} is ${got} and must be ${wanted}`);
  }
  const standing = found.entities.filter((entity) => entity.kind === "structure").map((entity) => ({ id: entity.entityId, box: entity.bounds === undefined ? undefined : quantizeBounds(entity.bounds) }));
  const overlapping = standing.flatMap((a, at) => standing.slice(at + 1).flatMap((b) => (a.box !== undefined && b.box !== undefined && overlaps(a.box, b.box) ? [`${where}: structures ${a.id} and ${b.id} overlap`] : [])));
  return [...troubles, ...overlapping];
}
