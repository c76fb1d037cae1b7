import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { accountKey, checkLinearizability, checkStrictSerializability, History, keyCallsOf, type SeenVersion } from "@statemesh/checker";
import type { MeshClient } from "@statemesh/client";
import { type Decision, MeshError, type Operation, Outcome, type Region } from "@statemesh/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { nodeProgram } from "../../tools/service-process.ts";
import { type Cluster, regionsOfGroup, startCluster, until } from "./cluster.ts";
import { generator } from "./load.ts";

const GROUPS = 3;
const KILLS = 3;
const PLAYERS = 4;
const FUNDS = 100;
const SEED = 51_774;

/** What the servers of the test asked and were told. */
class Work {
  readonly history = new History();
  readonly #regions: readonly Region[];
  readonly #random = generator(SEED);
  #isOver = false;
  done = 0;
  transfers = 0;
  snapshots = 0;

  constructor(regions: readonly Region[]) {
    this.#regions = regions;
  }

  stop(): void {
    this.#isOver = true;
  }

  #pick(count: number): number {
    return Math.floor(this.#random() * count);
  }

  groupAt(at: number): number {
    return at + 1;
  }

  regionAt(at: number): Region {
    const region = this.#regions[at];
    if (region === undefined) throw new Error(`no region ${at}`);
    return region;
  }

  async play(client: MeshClient): Promise<void> {
    while (!this.#isOver) {
      const dice = this.#random();
      if (dice < 0.5) await this.#transfer(client);
      else if (dice < 0.7) await this.#mintTwice(client);
      else if (dice < 0.85) await this.#read(client);
      else await this.#readSnapshot(client);
      this.done++;
    }
  }

  /** Sums while it goes on, as an operator takes them. */
  async audit(client: MeshClient): Promise<void> {
    while (!this.#isOver) {
      const { conserved, items } = await client.verifyConservation();
      expect(conserved).toBe(true);
      for (const item of items) expect(item.held + item.onGround + item.inTransit, item.itemKind).toBe(item.minted - item.burned);
    }
  }

  #calls(client: MeshClient, operations: readonly { readonly operation: Operation; readonly at: number }[], version: boolean) {
    const id = operations[0]?.operation.operationId ?? "";
    const beganMs = performance.now();
    const calls = operations.flatMap(({ operation, at }) =>
      keyCallsOf(this.groupAt(at), { operation, decision: undefined, inTransaction: operations.length > 1 }, new Map(), GROUPS).map(({ operation: asked }) => ({ asked, call: this.history.invoke(`server ${client.serverId}`, beganMs, asked), of: operation.operationId, at })));
    const writes = [...new Set(calls.map(({ asked }) => asked.key))];
    const transaction = this.history.invoke(`server ${client.serverId}`, beganMs, { model: "transaction", id, reads: [], writes });
    return (decisions: readonly Decision[]): void => {
      const endedMs = performance.now();
      const inForce = decisions.every(({ outcome }) => outcome === Outcome.ACCEPTED);
      // Only a balance says something about the account that was refused.
      const isTold = inForce || (decisions.length === 1 && decisions[0]?.rule === "balance");
      for (const { call } of calls) {
        if (isTold) this.history.ok(call, endedMs, { decision: inForce ? "accepted" : "rejected" });
        else this.history.fail(call, endedMs);
      }
      if (!version) return;
      const versions = calls.map(({ asked, of }) => ({ key: asked.key, version: decisions.find(({ operationId }) => operationId === of)?.version ?? 0 }));
      this.history.ok(transaction, endedMs, { reads: [], writes: inForce ? versions : [] });
    };
  }

  /** From an account of one group to one of another. */
  async #transfer(client: MeshClient): Promise<void> {
    const from = this.#pick(GROUPS);
    const to = (from + 1 + this.#pick(GROUPS - 1)) % GROUPS;
    const operation = client.operations.transfer(
      { region: this.regionAt(from), epoch: 0 },
      { playerId: `p${this.#pick(PLAYERS)}`, counterpartyId: `p${this.#pick(PLAYERS)}`, itemKind: "ore", quantity: 1 + this.#pick(30), counterpartyRegion: this.regionAt(to) },
    );
    const ended = this.#calls(client, [{ operation, at: from }], false);
    const decision = await client.execute(operation);
    ended([decision]);
    if (decision.outcome === Outcome.ACCEPTED) this.transfers++;
  }

  /** In two groups at once, so that a reader who sees one of them sees both. */
  async #mintTwice(client: MeshClient): Promise<void> {
    const first = this.#pick(GROUPS);
    const second = (first + 1 + this.#pick(GROUPS - 1)) % GROUPS;
    const operations = [first, second].map((at) => ({ at, operation: client.operations.mint({ region: this.regionAt(at), epoch: 0 }, { playerId: `p${this.#pick(PLAYERS)}`, itemKind: "gold", quantity: 1 }) }));
    const ended = this.#calls(client, operations, true);
    const { committed, decisions } = await client.transact(operations.map(({ operation }) => operation));
    expect(committed).toBe(decisions.every(({ outcome }) => outcome === Outcome.ACCEPTED));
    ended(decisions);
  }

  async #read(client: MeshClient): Promise<void> {
    const at = this.#pick(GROUPS);
    const accounts = Array.from({ length: PLAYERS }, (_, player) => `p${player}`);
    const beganMs = performance.now();
    const process = `server ${client.serverId}`;
    const gold = accounts.map((account) => accountKey(this.groupAt(at), account, "gold"));
    const ore = accounts.map((account) => ({ account, call: this.history.invoke(process, beganMs, { model: "balance", key: accountKey(this.groupAt(at), account, "ore"), action: "read" }) }));
    const transaction = this.history.invoke(process, beganMs, { model: "transaction", id: `read ${beganMs} of ${client.serverId}`, reads: gold, writes: [] });
    const { balances } = await client.read({ region: this.regionAt(at), accounts });
    const endedMs = performance.now();
    for (const { account, call } of ore) {
      const quantity = balances.find(({ accountId, itemKind }) => accountId === account && itemKind === "ore")?.quantity ?? 0;
      this.history.ok(call, endedMs, { quantity });
    }
    const seen: SeenVersion[] = accounts.map((account) => ({
      key: accountKey(this.groupAt(at), account, "gold"), version: balances.find(({ accountId, itemKind }) => accountId === account && itemKind === "gold")?.version ?? 0,
    }));
    this.history.ok(transaction, endedMs, { reads: seen, writes: [] });
  }

  /** Everything that everybody holds, in all groups at one moment: what is on its way is nowhere missing and nowhere twice. */
  async #readSnapshot(client: MeshClient): Promise<void> {
    const accounts = Array.from({ length: PLAYERS }, (_, player) => `p${player}`);
    const beganMs = performance.now();
    const process = `server ${client.serverId}`;
    const keys = this.#regions.flatMap((_, at) => accounts.map((account) => ({ at, account, key: accountKey(this.groupAt(at), account, "gold") })));
    const transaction = this.history.invoke(process, beganMs, { model: "transaction", id: `snapshot ${beganMs} of ${client.serverId}`, reads: keys.map(({ key }) => key), writes: [] });
    try {
      const { parts } = await client.readSnapshot(this.#regions.map((region) => ({ region, accounts })));
      const balances = parts.map((part) => part.balances);
      const reads: SeenVersion[] = keys.map(({ at, account, key }) => ({ key, version: balances[at]?.find(({ accountId, itemKind }) => accountId === account && itemKind === "gold")?.version ?? 0 }));
      this.history.ok(transaction, performance.now(), { reads, writes: [] });
      const ore = balances.flat().reduce((sum, { itemKind, quantity }) => sum + (itemKind === "ore" ? quantity : 0), 0);
      expect(ore).toBe(GROUPS * PLAYERS * FUNDS);
      this.snapshots++;
    } catch (error) {
      this.history.fail(transaction, performance.now());
      if (!(error instanceof MeshError) || error.reason !== "SNAPSHOT_CONTENDED") throw error;
    }
  }

  /** What everybody holds at first. */
  async fund(client: MeshClient): Promise<void> {
    for (let at = 0; at < GROUPS; at++) {
      for (let player = 0; player < PLAYERS; player++) {
        const operation = client.operations.mint({ region: this.regionAt(at), epoch: 0 }, { playerId: `p${player}`, itemKind: "ore", quantity: FUNDS });
        const ended = this.#calls(client, [{ operation, at }], true);
        ended([await client.execute(operation)]);
      }
    }
  }
}

describe("items go from group to group while the groups' leaders are killed", () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await startCluster({ groups: GROUPS });
  });

  afterAll(async () => cluster.close());

  test("nothing is lost or doubled at any moment, and what everybody saw can have happened one after the other", async () => {
    const [auditor, ...clients] = await Promise.all([1, 2, 3, 4, 5].map((id) => cluster.server(id, id % 3)));
    if (auditor === undefined) throw new Error("no auditor");
    const work = new Work([1, 2, 3].flatMap((groupId) => regionsOfGroup(groupId, GROUPS, 1)));
    await until("every member speaks of transactions across groups", async () => (await Promise.all(cluster.nodes.map(async (node) => cluster.status(node)))).every(({ clusterVersion }) => clusterVersion >= 3));
    await work.fund(auditor);
    const playing = [work.audit(auditor), ...clients.map(async (client) => work.play(client))];
    const more = async (calls: number): Promise<void> => {
      const goal = work.done + calls;
      while (work.done < goal) await Promise.race([new Promise((resolve) => setTimeout(resolve, 20)), Promise.all(playing)]);
    };
    await more(40);
    for (let kill = 0; kill < KILLS; kill++) {
      const leader = await cluster.leaderOf((kill % GROUPS) + 1);
      await leader.kill();
      await more(40);
      await leader.start();
      await more(20);
    }
    work.stop();
    await Promise.all(playing);

    expect(work.transfers).toBeGreaterThan(10);
    expect(work.snapshots).toBeGreaterThan(3);
    const { conserved, items } = await auditor.verifyConservation();
    expect(conserved).toBe(true);
    expect(items.find(({ itemKind }) => itemKind === "ore")).toMatchObject({ minted: GROUPS * PLAYERS * FUNDS, held: GROUPS * PLAYERS * FUNDS, inTransit: 0 });
    // What a node counts all along is what it finds when it adds everything up.
    for await (const live of auditor.watchConservation({ intervalMs: 100, itemKinds: ["ore"] })) {
      expect(live).toMatchObject({ conserved: true, items: [{ itemKind: "ore", exactMinted: String(GROUPS * PLAYERS * FUNDS), exactBurned: "0", difference: "0" }], kindsLeftOff: 0 });
      expect(live.positions).toHaveLength(GROUPS + 1);
      if (live.items[0]?.inTransit === 0) break;
    }
    const told = await promisify(execFile)(nodeProgram(), [join(import.meta.dirname, "../../services/consensus-node/src/main.ts"), "verify", "--address", cluster.node(1).clientAddress]);
    expect(told.stdout).toMatch(new RegExp(`^ore +${GROUPS * PLAYERS * FUNDS} +0 +${GROUPS * PLAYERS * FUNDS} +0 +0 +0$`, "m"));
    // And of one player: in each group what came and went is what is held.
    const { flows, conserved: holds } = await auditor.verifyItemsOf({ playerId: "p0" });
    expect(holds).toBe(true);
    for (const { groupId, sinceIndex, opening, minted, received, burned, given, held } of flows) {
      expect({ groupId, held }).toEqual({ groupId, held: opening + minted + received - burned - given });
      expect(sinceIndex).toBeGreaterThan(0);
    }
    const ofOne = await promisify(execFile)(nodeProgram(), [join(import.meta.dirname, "../../services/consensus-node/src/main.ts"), "verify", "--address", cluster.node(2).clientAddress, "--player", "p0"]);
    expect(ofOne.stdout).toMatch(/^conserved: /m);
    const keys = checkLinearizability(work.history);
    expect(keys.holds, keys.text).toBe(true);
    const transactions = checkStrictSerializability(work.history);
    expect(transactions.anomalies.map(({ text }) => text)).toEqual([]);
    expect(transactions.transactions).toBeGreaterThan(30);
    await cluster.settled();
  });
});
