/** Players at work: strong operations of several game servers through all nodes, and a record of what each was told. */
import type { MeshClient } from "@statemesh/client";
import { type Decision, MeshError, type Operation, PlayerInventory_Action, type Region } from "@statemesh/contract";
import { groupOf } from "@statemesh/world";
import { expect } from "vitest";
import type { Cluster } from "./cluster.ts";
import { LIMIT_MS, pause } from "./cluster.ts";
import { type Entry, isInForce } from "./load-entry.ts";
import { type BalanceRead, expectLinearizable, historyOf } from "./load-history.ts";

/** Items by `player kind`. */
export type Balances = Map<string, number>;

/** Reasons that say that nothing of the operation was done. */
const NOT_DONE = new Set(["NO_QUORUM", "MINORITY_PARTITION", "NOT_LEADER", "SHUTTING_DOWN", "OVERLOADED", "QUOTA_EXCEEDED", "DEADLINE_EXCEEDED", "UNREACHABLE"]);

const PLAYERS = 12;
const RESEND_WORKERS = 1_024;

/** A random number generator with a seed, so that a load can be told again. */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Load over some regions. Each server keeps some operations in flight until it is told to end. */
export class Load {
  readonly entries: Entry[] = [];
  /** Accounts as linearizable reads showed them, while players were at work and afterwards. */
  readonly reads: BalanceRead[] = [];
  readonly regions: readonly Region[];
  readonly #random: () => number;
  readonly #name: string;
  #running = false;
  #workers: Promise<void>[] = [];
  #next = 0;
  /** Items on the ground that several servers are after, by region. */
  readonly #contested: Map<number, string[]> = new Map();

  constructor(regions: readonly Region[], seed: number) {
    this.regions = regions;
    this.#random = generator(seed);
    this.#name = `l${seed.toString(36)}`;
  }

  /** Operations with a decision. */
  get acknowledged(): number {
    return this.entries.reduce((sum, entry) => sum + (entry.decision === undefined ? 0 : 1), 0);
  }

  /** Patient servers ask again until they know; impatient ones give up after a moment and are left with an open question. */
  start(servers: readonly MeshClient[], inFlight: number, impatient: readonly MeshClient[] = []): void {
    this.#running = true;
    for (const server of servers) {
      const stream = server.stream({ window: 1_024, deadlineMs: LIMIT_MS, silenceMs: 3_000 });
      for (let worker = 0; worker < inFlight; worker++) this.#workers.push(this.#work(server, async (operation) => await stream.execute(operation)));
      this.#workers.push(this.#look(server));
    }
    for (const server of impatient) {
      for (let worker = 0; worker < 4; worker++) this.#workers.push(this.#work(server, async (operation) => await server.execute(operation, { deadlineMs: 40 })));
    }
  }

  /** Ends the load and waits for what is in flight. */
  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#workers);
    this.#workers = [];
  }

  /** Waits until that many more operations were acknowledged. */
  async more(count: number): Promise<void> {
    const wanted = this.acknowledged + count;
    const endMs = performance.now() + LIMIT_MS;
    while (this.acknowledged < wanted) {
      if (performance.now() > endMs) throw new Error(`the load stands still: ${wanted - this.acknowledged} of ${count} operations missing after ${LIMIT_MS} ms`);
      await pause(20);
    }
  }

  async #work(server: MeshClient, execute: (operation: Operation) => Promise<Decision>): Promise<void> {
    while (this.#running) {
      for (const operation of this.#operations(server)) {
        const entry: Entry = { operation, decision: undefined, error: undefined, beganMs: performance.now(), endedMs: undefined };
        this.entries.push(entry);
        try {
          entry.decision = await execute(operation);
          entry.endedMs = performance.now();
        } catch (thrown) {
          const error = MeshError.from(thrown);
          if (error.reason !== "OUTCOME_UNKNOWN" && !NOT_DONE.has(error.reason)) throw error;
          entry.error = error;
          await pause(5);
        }
      }
    }
  }

  /** Looks at one account after the other. */
  async #look(server: MeshClient): Promise<void> {
    for (let at = 0; this.#running; at = (at + 1) % this.regions.length) {
      const account = `r${at}-p${Math.floor(this.#random() * PLAYERS)}`;
      try {
        this.reads.push(...(await readBalances(server, this.regions[at], [account])));
      } catch (thrown) {
        const error = MeshError.from(thrown);
        if (!NOT_DONE.has(error.reason) && error.reason !== "OUTCOME_UNKNOWN" && error.reason !== "DEADLINE_EXCEEDED") throw error;
      }
      await pause(10);
    }
  }

  /** A thing that a player does, and what belongs to it. */
  #operations(server: MeshClient): Operation[] {
    const { operations } = server;
    const at = Math.floor(this.#random() * this.regions.length);
    const region = this.regions[at];
    if (region === undefined) throw new Error("a load without regions");
    const place = { region, epoch: 0 };
    const n = this.#next++;
    const id = `${this.#name}-${n.toString(36)}`;
    const player = (): string => `r${at}-p${Math.floor(this.#random() * PLAYERS)}`;
    const x = region.x * 2_000 + Math.floor(this.#random() * 400) * 4;
    const y = region.y * 2_000 + Math.floor(this.#random() * 100) * 4;
    const bounds = { minX: x, minY: y, minZ: region.z * 2_000 + 8, maxX: x + 6, maxY: y + 6, maxZ: region.z * 2_000 + 14 };
    const kind = this.#random();
    if (kind < 0.25) return [operations.mint(place, { playerId: player(), itemKind: "ore", quantity: 1 + Math.floor(this.#random() * 9) })];
    if (kind < 0.32) return [operations.burn(place, { playerId: player(), itemKind: "ore", quantity: 1 + Math.floor(this.#random() * 4) })];
    if (kind < 0.57) {
      const playerId = player();
      let counterpartyId = player();
      while (counterpartyId === playerId) counterpartyId = player();
      return [operations.transfer(place, { playerId, counterpartyId, itemKind: "ore", quantity: 1 + Math.floor(this.#random() * 6) })];
    }
    if (kind < 0.63) {
      const itemId = `${id}-i`;
      const known = this.#contested.get(at) ?? [];
      known.push(itemId);
      this.#contested.set(at, known.slice(-4));
      const position = { x: region.x * 2_000 + 1, y: region.y * 2_000 + 1, z: region.z * 2_000 + 1 };
      return [operations.spawn(place, { itemKind: "sword", quantity: 1, itemId, position })];
    }
    if (kind < 0.8) {
      const items = this.#contested.get(at) ?? [];
      const itemId = items[Math.floor(this.#random() * items.length)] ?? `${id}-nothing`;
      return [operations.itemPickup(place, { itemId, playerId: player() })];
    }
    if (kind < 0.9) return [operations.structurePlacement(place, { structureId: `${id}-s`, kind: "wall", bounds })];
    if (kind < 0.95) return [operations.resourceClaim(place, { resourceId: `${this.#name}-r${at}-${Math.floor(this.#random() * 200)}`, playerId: player() })];
    return [operations.dig(place, { bounds })];
  }
}

/** Linearizable reads of what accounts hold, of both kinds that a load knows. */
async function readBalances(client: MeshClient, region: Region | undefined, accounts: readonly string[]): Promise<BalanceRead[]> {
  const beganMs = performance.now();
  const { balances, position } = await client.read({ region, accounts: [...accounts] });
  const endedMs = performance.now();
  return accounts.flatMap((account) =>
    ["ore", "sword"].map((itemKind) => {
      const quantity = balances.find((balance) => balance.accountId === account && balance.itemKind === itemKind)?.quantity ?? 0;
      return { account, itemKind, quantity, position: position?.index, beganMs, endedMs };
    }),
  );
}

/** What is left of a decision that must be the same whenever it is asked for. */
export function essence(decision: Decision | undefined): unknown {
  if (decision === undefined) return undefined;
  const { repeated: _, ...rest } = decision;
  return rest;
}

/** What the operations in force come to, by the test's own arithmetic. */
export function balancesOf(entries: readonly Entry[]): Balances {
  const balances: Balances = new Map();
  const add = (player: string, kind: string, quantity: number): void => {
    const key = `${player} ${kind}`;
    balances.set(key, (balances.get(key) ?? 0) + quantity);
  };
  for (const { operation, decision } of entries) {
    if (!isInForce(decision)) continue;
    const { body } = operation;
    if (body?.$case === "itemPickup") add(body.value.playerId, "sword", 1);
    if (body?.$case !== "playerInventory") continue;
    const { action, playerId, counterpartyId, itemKind, quantity } = body.value;
    if (action === PlayerInventory_Action.MINT) add(playerId, itemKind, quantity);
    if (action === PlayerInventory_Action.BURN) add(playerId, itemKind, -quantity);
    if (action === PlayerInventory_Action.TRANSFER) {
      add(playerId, itemKind, -quantity);
      add(counterpartyId, itemKind, quantity);
    }
  }
  for (const [key, quantity] of balances) if (quantity === 0) balances.delete(key);
  return balances;
}

/** What was created of a kind by operations that `counts` says are in force. */
export function mintedOf(entries: readonly Entry[], kind: string, counts: (entry: Entry) => boolean): number {
  let minted = 0;
  for (const entry of entries) {
    const { body } = entry.operation;
    if (body?.$case !== "playerInventory" || body.value.itemKind !== kind || !counts(entry)) continue;
    if (body.value.action === PlayerInventory_Action.MINT || body.value.action === PlayerInventory_Action.SPAWN) minted += body.value.quantity;
  }
  return minted;
}

/** Sends every operation again, through one node, and answers the decisions by operation id. */
export async function resend(client: MeshClient, entries: readonly Entry[]): Promise<Map<string, Decision>> {
  const stream = client.stream({ window: 1_024, deadlineMs: LIMIT_MS });
  const decisions = new Map<string, Decision>();
  let next = 0;
  await Promise.all(Array.from({ length: RESEND_WORKERS }, async () => {
    for (let entry = entries[next++]; entry !== undefined; entry = entries[next++]) {
      decisions.set(entry.operation.operationId, await stream.execute(entry.operation));
    }
  }));
  stream.close();
  return decisions;
}

/**
 * The whole account of a load, once all nodes are up: what was acknowledged is what every node holds, what was open
 * is decided once, nothing is lost or doubled, what every server was told agrees with one order of it all, and all nodes hold the same.
 */
export async function verifyLoad(cluster: Cluster, server: MeshClient, load: Load): Promise<void> {
  const { entries } = load;
  // The sums before the open questions are asked lie between those without and those with them.
  const before = await server.verifyConservation();
  expect(before.conserved).toBe(true);
  for (const kind of ["ore", "sword"]) {
    const acknowledged = mintedOf(entries, kind, ({ decision }) => isInForce(decision));
    const possible = mintedOf(entries, kind, ({ decision }) => decision === undefined || isInForce(decision));
    const minted = before.items.find((item) => item.itemKind === kind)?.minted ?? 0;
    expect(minted).toBeGreaterThanOrEqual(acknowledged);
    expect(minted).toBeLessThanOrEqual(possible);
  }

  // The same ids on every node: the first decision, for ever.
  for (const [at, node] of cluster.nodes.entries()) {
    const decisions = await resend(cluster.only(server, node), entries);
    for (const entry of entries) {
      const again = decisions.get(entry.operation.operationId);
      expect(again, `operation ${entry.operation.operationId} on node ${node.nodeId}`).toBeDefined();
      if (entry.decision === undefined) {
        entry.decision = again;
        entry.endedMs = performance.now();
      } else if (!again?.repeated) expect(again?.repeated, `operation ${entry.operation.operationId} was decided a second time`).toBe(true);
      if (JSON.stringify(essence(again)) !== JSON.stringify(essence(entry.decision))) expect(essence(again)).toEqual(essence(entry.decision));
    }
    if (at === 0) expect(entries.every((entry) => entry.decision !== undefined)).toBe(true);
  }

  const after = await server.verifyConservation();
  expect(after.conserved).toBe(true);
  for (const kind of ["ore", "sword"]) {
    const minted = mintedOf(entries, kind, ({ decision }) => isInForce(decision));
    expect(after.items.find((item) => item.itemKind === kind)?.minted ?? 0).toBe(minted);
  }
  await expectBalances(cluster, server, load);
  expectOneHolder(entries);
  expectLinearizable(historyOf(entries, load.reads));
  await cluster.settled();
}

/** Every node holds the balances that the operations in force come to. */
export async function expectBalances(cluster: Cluster, server: MeshClient, load: Load): Promise<void> {
  const expected = [...balancesOf(load.entries)].map((each) => each.join(" ")).sort();
  for (const node of cluster.nodes) {
    const client = cluster.only(server, node);
    const found: string[] = [];
    for (const [at, region] of load.regions.entries()) {
      const accounts = Array.from({ length: PLAYERS }, (_, player) => `r${at}-p${player}`);
      const reads = await readBalances(client, region, accounts);
      load.reads.push(...reads);
      for (const { account, itemKind, quantity } of reads) if (quantity > 0) found.push(`${account} ${itemKind} ${quantity}`);
    }
    expect(found.sort(), `balances on node ${node.nodeId}`).toEqual(expected);
  }
}

/** At most one pickup of an item is in force, and the losers name the winner where they met it. */
function expectOneHolder(entries: readonly Entry[]): void {
  const winners = new Map<string, string>();
  for (const { operation, decision } of entries) {
    if (operation.body?.$case !== "itemPickup" || !isInForce(decision)) continue;
    const { itemId } = operation.body.value;
    expect(winners.get(itemId), `${itemId} was picked up twice`).toBeUndefined();
    winners.set(itemId, operation.operationId);
  }
  expect(winners.size).toBeGreaterThan(0);
}

/** The group in which most of the load's regions lie. */
export function busiestGroup(load: Load, groups: number): number {
  const counts = new Map<number, number>();
  for (const region of load.regions) counts.set(groupOf(region, groups), (counts.get(groupOf(region, groups)) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 1;
}
