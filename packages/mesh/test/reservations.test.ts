// Accounts that many transactions move items to and from at a time: each sets apart what it takes, and others go on with the rest.
import { ConflictType, type MeshError, Outcome, ReadLevel, ReadRequest } from "@statemesh/contract";
import { read } from "@statemesh/mesh";
import { commandOf } from "@statemesh/replica";
import { describe, expect, it } from "vitest";
import { give, mint, pickup, send, spawn } from "./operations.ts";
import { balance, conserved, outcomes, quiet, ready, submit } from "./transacting.ts";
import { isDecision, type VirtualCluster } from "./virtual-cluster.ts";

const GROUP = 1;
const OTHER = 2;

function regions(cluster: VirtualCluster) {
  return [cluster.regionIn(GROUP), cluster.regionIn(OTHER)] as const;
}

/** Transactions that the group is prepared for, as its leader knows. */
function prepared(cluster: VirtualCluster, groupId = GROUP): number {
  const leader = cluster.leaderOf(groupId);
  return leader === 0 ? 0 : cluster.node(leader).group(groupId).state.transactions.preparedCount;
}

/** Sets apart what a transaction of a group that nobody finishes takes of an account, until that group is asked long after. */
function setApart(cluster: VirtualCluster, account: string, quantity: number): void {
  const leader = cluster.node(cluster.leaderOf(GROUP));
  const transaction = { key: "t:elsewhere", coordinatorGroup: 3, beginIndex: 1 };
  const decided = [{
    operationId: "elsewhere", fingerprint: 1, outcome: Outcome.ACCEPTED, rule: "uncontested", winnerOperationId: "elsewhere", conflict: ConflictType.UNSPECIFIED, reason: "", stamp: { physicalMs: 1, logical: 0 }, serverId: 1, region: undefined,
    epoch: 0, effects: [{ effect: { $case: "post" as const, value: { from: `player:${account}`, to: "group:3", itemKind: "ore", quantity } } }], transactionId: "elsewhere", claimedMs: 0, clears: [], currentVersion: 0,
  }];
  const value = { transaction, stamp: { physicalMs: 1, logical: 0 }, deadlineMs: Math.floor(cluster.nowMs) + 2_000, groups: [GROUP, 3], decided, locks: [{ keys: [], shared: [`account:${account}`], layer: "", bounds: [] }], index: 0 };
  leader.group(GROUP).command(commandOf({ $case: "transaction", value: { nowMs: 0, step: { $case: "prepare", value } } }), () => undefined);
  leader.dirty();
  cluster.runUntil(() => prepared(cluster) === 1);
}

describe("transfers across groups from one account", () => {
  it("are under way side by side, and all that it covers are done", () => {
    const cluster = ready();
    const [here, there] = regions(cluster);
    cluster.execute(1, [mint("m", 1, here, "hot", "ore", 100)]);
    const answers = cluster.submit(1, Array.from({ length: 60 }, (_, i) => send(`s${i}`, 1 + (i % 2), here, "hot", there, `p${i % 7}`, "ore", 1)));
    let most = 0;
    expect(cluster.runUntil(() => {
      most = Math.max(most, prepared(cluster));
      return answers.size === 60;
    })).toBe(true);
    expect(most).toBeGreaterThan(20);
    expect(new Set(outcomes([...answers.values()]))).toEqual(new Set(["ACCEPTED"]));
    conserved(cluster);
    expect(balance(cluster, GROUP, "hot")).toBe(40);
  });

  it("never take more than it holds, whoever comes first, and those that are refused are so for a fact", () => {
    for (let seed = 1; seed <= 6; seed++) {
      const cluster = ready({ seed });
      const [here, there] = regions(cluster);
      cluster.execute(1, [mint("m", 1, here, "hot", "ore", 10)]);
      const operations = Array.from({ length: 30 }, (_, i) => (i % 3 === 0 ? give(`g${i}`, 1, here, "hot", `q${i}`, "ore", 1) : send(`s${i}`, 2, here, "hot", there, `p${i}`, "ore", 1)));
      const answers = cluster.submit(1 + (seed % 3), operations);
      expect(cluster.runUntil(() => answers.size === 30)).toBe(true);
      expect(outcomes([...answers.values()]).filter((outcome) => outcome === "ACCEPTED"), `seed ${seed}`).toHaveLength(10);
      conserved(cluster);
      expect(balance(cluster, GROUP, "hot")).toBe(0);
    }
  });

  it("that find too little beside what is set apart wait, and are decided once that came back", () => {
    const cluster = ready();
    const [here, there] = regions(cluster);
    cluster.execute(1, [mint("m", 1, here, "hot", "ore", 10)]);
    setApart(cluster, "hot", 6);
    // Four are left.
    expect(cluster.execute(1, [give("g", 1, here, "hot", "bob", "ore", 3)]).get("g")).toMatchObject({ outcome: Outcome.ACCEPTED });
    const across = cluster.submit(1, [send("s", 1, here, "hot", there, "eve", "ore", 2)]);
    const within = cluster.submit(1, [give("h", 2, here, "hot", "bob", "ore", 5)]);
    cluster.run(500);
    expect([across.size, within.size, prepared(cluster)]).toEqual([0, 0, 1]);
    // Nobody knows of the other transaction: it is let go without effect.
    expect(cluster.runUntil(() => across.size + within.size === 2, 10_000)).toBe(true);
    expect([across.get("s"), within.get("h")]).toMatchObject([{ outcome: Outcome.ACCEPTED }, { outcome: Outcome.ACCEPTED }]);
    conserved(cluster);
    expect(balance(cluster, GROUP, "hot")).toBe(0);
  });

  it("one after the other of what the one before brought are done in the order of their server", () => {
    const cluster = ready();
    const [here, there] = regions(cluster);
    cluster.execute(1, [mint("m", 1, here, "ada", "ore", 5)]);
    const answers = cluster.submit(1, [send("a", 1, here, "ada", there, "bob", "ore", 5), mint("b", 1, here, "ada", "ore", 5), give("c", 1, here, "ada", "eve", "ore", 5), send("d", 1, here, "eve", there, "bob", "ore", 5)]);
    expect(cluster.runUntil(() => answers.size === 4)).toBe(true);
    expect(outcomes(["a", "b", "c", "d"].flatMap((id) => answers.get(id) ?? []))).toEqual(["ACCEPTED", "ACCEPTED", "ACCEPTED", "ACCEPTED"]);
    conserved(cluster);
    expect(balance(cluster, OTHER, "bob")).toBe(10);
  });

  it("keep nobody for ever from what needs the account to itself", () => {
    const cluster = ready();
    const [here, there] = regions(cluster);
    cluster.execute(1, [mint("m", 1, here, "hot", "ore", 1_000), spawn("i", 1, here, "nugget", "ore", 7)]);
    const keep = underLoad(cluster);
    const picked = cluster.submit(1, [pickup("p", 2, here, "nugget", "hot")]);
    expect(cluster.runUntil(() => {
      keep(() => send(`s${keep.count}`, 1, here, "hot", there, "bob", "ore", 1));
      return picked.size === 1;
    }, 2_000)).toBe(true);
    expect(picked.get("p")).toMatchObject({ outcome: Outcome.ACCEPTED });
    conserved(cluster);
  });

  it("let a linearizable read of the account through within a second, however many come", () => {
    const cluster = ready();
    const [here, there] = regions(cluster);
    cluster.execute(1, [mint("m", 1, here, "hot", "ore", 100_000)]);
    const keep = underLoad(cluster);
    const more = (): void => keep(() => send(`s${keep.count}`, 1, here, "hot", there, "bob", "ore", 1));
    cluster.runUntil(() => {
      more();
      return prepared(cluster) > 5;
    });
    const leader = cluster.node(cluster.leaderOf(GROUP));
    const state = { state: (id: number) => leader.group(id).state, barrier: leader.barrier.bind(leader), whenApplied: (id: number, index: number, ms: number, done: (error: MeshError | undefined) => void) => leader.group(id).whenApplied(index, ms, done), stalenessMs: () => 0, eventualValues: () => [] };
    let answered: number | undefined;
    read(state, GROUP, here, ReadRequest.fromPartial({ level: ReadLevel.LINEARIZABLE, accounts: ["hot"] }), cluster.nowMs + 5_000, (response, error) => {
      if (error !== undefined) throw error;
      answered = response?.balances[0]?.quantity;
    });
    expect(cluster.runUntil(() => {
      more();
      return answered !== undefined;
    }, 1_000)).toBe(true);
    expect(answered).toBeLessThan(100_000);
    conserved(cluster);
  });
});

describe("a transaction over several groups", () => {
  it("is told once it is decided where its operations are at home, and the rest of it is seen by every linearizable read", () => {
    const cluster = ready({ seed: 3 });
    const [here, there] = regions(cluster);
    cluster.execute(1, [mint("m", 1, here, "ada", "ore", 9)]);
    const heard = submit(cluster, cluster.leaderOf(GROUP), "t-1", [send("s", 1, here, "ada", there, "bob", "ore", 9)]);
    expect(cluster.runUntil(() => heard.length === 1)).toBe(true);
    expect(heard.map((answer) => isDecision(answer) && answer.position?.groupId)).toEqual([GROUP]);
    // The other group has promised it, and not released it yet.
    expect(prepared(cluster, OTHER)).toBe(1);
    let read2: number | undefined;
    const other = cluster.node(1);
    const state = { state: (id: number) => other.group(id).state, barrier: other.barrier.bind(other), whenApplied: (id: number, index: number, ms: number, done: (error: MeshError | undefined) => void) => other.group(id).whenApplied(index, ms, done), stalenessMs: () => 0, eventualValues: () => [] };
    read(state, OTHER, there, ReadRequest.fromPartial({ level: ReadLevel.LINEARIZABLE, accounts: ["bob"] }), cluster.nowMs + 5_000, (response) => (read2 = response?.balances[0]?.quantity ?? 0));
    expect(cluster.runUntil(() => read2 !== undefined)).toBe(true);
    expect(read2).toBe(9);
    expect(cluster.runUntil(() => quiet(cluster))).toBe(true);
    conserved(cluster);
  });
});

/** Keeps some dozens of operations under way. */
function underLoad(cluster: VirtualCluster): ((next: () => Parameters<VirtualCluster["submit"]>[1][number]) => void) & { count: number } {
  let open: ReturnType<VirtualCluster["submit"]>[] = [];
  const keep = Object.assign((next: () => Parameters<VirtualCluster["submit"]>[1][number]): void => {
    open = open.filter((answers) => answers.size === 0);
    while (open.length < 40) {
      open.push(cluster.submit(1, [next()]));
      keep.count++;
    }
  }, { count: 0 });
  return keep;
}
