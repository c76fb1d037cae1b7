// Escrow from the caller's view: what is set apart, what a node that is cut off promises, and that each promise counts once.
import { EscrowState, type ListEscrowsRequest, type ListEscrowsResponse, MemberChangeKind, type Operation, Outcome } from "@statemesh/contract";
import { BeginMemberChange } from "@statemesh/contract/log";
import { describe, expect, it } from "vitest";
import { conservationOf, flowsOf } from "../src/index.ts";
import { type Answer, Bench, CERTAIN_MS, SERVER } from "./escrow-bench.ts";
import { give, open } from "./operations.ts";
import { isDecision } from "./virtual-cluster.ts";

describe("an escrow", () => {
  it("takes the items out of the player's account, and gives back what was not spent", () => {
    const bench = new Bench();
    bench.opened("e", 2);
    expect(bench.balance(1, "ann")).toBe(50);
    expect(bench.spend(2, "s1", "e", 30).left).toBe(20);
    expect(bench.runUntil(() => bench.balance(1, "bob") === 30)).toBe(true);
    expect(bench.spend(2, "s2", "e", 5, { toPlayerId: "" }).left).toBe(15);
    expect(bench.close(2, "e")).toMatchObject({ state: EscrowState.CLOSED, returned: 15, spent: 35, spendings: 2 });
    bench.converge();
    expect(bench.balance(3, "ann")).toBe(65);
    expect(bench.node(1).group(1).state.ledger.totals("gold")).toMatchObject({ minted: 100, burned: 5 });
    bench.proves();
    expect(bench.close(2, "e")).toMatchObject({ state: EscrowState.CLOSED, returned: 15 });
    expect(bench.refused(2, "s3", "e", 1)).toBe("ESCROW_CLOSED");
  });

  it("is of the player whose items it holds, when a player's items are added up", () => {
    const bench = new Bench();
    bench.opened("e", 2);
    const [flow] = flowsOf(bench.node(1).groups.map(({ state }) => state), { playerId: "ann" });
    expect(flow).toMatchObject({ held: 100, conserved: true });
    expect(conservationOf(bench.node(1).groups.map(({ state }) => state)).items).toMatchObject([{ itemKind: "gold", held: 100, inEscrow: 50 }]);
  });

  it("refuses by name whoever may not, what is not there, and more than is left", () => {
    const bench = new Bench();
    bench.opened("e", 2);
    expect(bench.refused(2, "a", "x", 1)).toBe("NOT_FOUND");
    expect(bench.refused(1, "a", "e", 1)).toBe("ESCROW_ELSEWHERE");
    expect(bench.refused(2, "a", "e", 1, { serverId: 2 })).toBe("ESCROW_OF_OTHER_SERVER");
    expect(bench.refused(2, "a", "e", 51)).toBe("ESCROW_EXHAUSTED");
    expect(bench.refused(2, "a", "e", 1, { timestampMs: Math.floor(bench.nowMs) + 60_000 })).toBe("TIMESTAMP_IN_FUTURE");
    const timestampMs = Math.floor(bench.nowMs);
    expect(bench.spend(2, "a", "e", 1, { timestampMs })).toMatchObject({ left: 49, repeated: false });
    expect(bench.refused(2, "a", "e", 2, { timestampMs })).toBe("OPERATION_ID_REUSED");
    expect(bench.spend(2, "a", "e", 1, { timestampMs })).toMatchObject({ left: 49, repeated: true });
    bench.run(1_000);
    expect(bench.spend(2, "a", "e", 1, { timestampMs })).toMatchObject({ left: 49, repeated: true, position: { groupId: 1 } });
    expect(bench.balance(2, "bob")).toBe(1);
  });

  it("is opened once under a name, with a node that is there, of what the player has, and only so many", () => {
    const bench = new Bench();
    bench.opened("e", 2, 10);
    const outcome = (operation: Operation): unknown => bench.execute(1, [operation]).get(operation.operationId);
    const later = bench.nowMs + 60_000;
    expect(outcome(open("o1", SERVER, bench.region, "e", "ann", "gold", 1, 2, later))).toMatchObject({ outcome: Outcome.REJECTED, reason: "ALREADY_EXISTS" });
    expect(outcome(open("o2", SERVER, bench.region, "f", "ann", "gold", 1, 9, later))).toMatchObject({ outcome: Outcome.REJECTED, reason: "UNKNOWN_MEMBER" });
    expect(outcome(open("o3", SERVER, bench.region, "f", "ann", "gold", 91, 2, later))).toMatchObject({ outcome: Outcome.REJECTED, reason: "INSUFFICIENT_ITEMS" });
    expect(outcome(open("o4", SERVER, bench.region, "f", "ann", "gold", 1, 2, bench.nowMs + 32 * 86_400_000))).toMatchObject({ reason: "INVALID_FIELD" });
    const many = Array.from({ length: 20 }, (_, i) => open(`many-${i}`, SERVER, bench.region, `m${i}`, "ann", "gold", 1, 0, later));
    const answers = [...bench.execute(3, many).values()];
    expect(answers.filter((answer) => isDecision(answer) && answer.outcome === Outcome.ACCEPTED)).toHaveLength(15);
    expect(answers.filter((answer) => isDecision(answer) && answer.reason === "ESCROW_LIMIT")).toHaveLength(5);
    // Who names no node means the one that it asks, and hears the same from every other.
    expect(bench.node(1).group(1).state.escrows.open("m0")?.nodeId).toBe(3);
    const [first] = many;
    if (first !== undefined) expect(outcome(first)).toMatchObject({ outcome: Outcome.ACCEPTED, repeated: true });
  });

  it("ends by the clock of its node, which then gives back what is left by itself", () => {
    const bench = new Bench();
    bench.opened("e", 2, 50, { expiresMs: bench.nowMs + 20_000 });
    bench.spend(2, "s", "e", 7);
    bench.cutOff(2);
    bench.run(20_000);
    expect(bench.refused(2, "t", "e", 1)).toMatch(/^ESCROW_(EXPIRED|CLOSED)$/);
    // To the others it is as it was: nobody knows what was promised meanwhile.
    expect(bench.balance(1, "ann")).toBe(50);
    bench.heal();
    expect(bench.runUntil(() => bench.balance(1, "ann") === 93)).toBe(true);
    bench.proves();
  });
});

describe("a node that is cut off", () => {
  it("promises no more than is set apart, through every restart, and each spending counts once, listed in a heal report", () => {
    const bench = new Bench();
    const nodeId = bench.follower;
    bench.opened("e", nodeId);
    bench.spend(nodeId, "before", "e", 10);
    bench.run(500);
    bench.cutOff(nodeId);
    const timestampMs = Math.floor(bench.nowMs);
    expect(bench.spend(nodeId, "first", "e", 10, { timestampMs })).toMatchObject({ left: 30, position: undefined, repeated: false });
    bench.kill(nodeId);
    bench.start(nodeId);
    bench.run(CERTAIN_MS);
    expect(bench.spend(nodeId, "first", "e", 10, { timestampMs })).toMatchObject({ left: 30, repeated: true });
    expect(bench.spend(nodeId, "second", "e", 25).left).toBe(5);
    expect(bench.refused(nodeId, "third", "e", 6)).toBe("ESCROW_EXHAUSTED");
    expect(bench.listed(nodeId)).toMatchObject([{ escrowId: "e", spent: 10, spentAside: 35, spendingsAside: 2 }]);
    expect(bench.balance(1, "bob")).toBe(10);
    bench.kill(nodeId);
    bench.start(nodeId);
    bench.heal();
    expect(bench.runUntil(() => bench.members.every((id) => bench.balance(id, "bob") === 45))).toBe(true);
    bench.run(2_000);
    bench.converge();
    expect(bench.balance(1, "bob")).toBe(45);
    bench.proves();
    const listed = bench.node(1).group(1).state.heals.rows.flatMap(({ operations }) => operations.map(({ operation }) => operation?.operationId));
    expect(listed).toEqual(["first", "second"]);
    expect(bench.spend(nodeId, "first", "e", 10, { timestampMs })).toMatchObject({ left: 5, repeated: true, position: { groupId: 1 } });
  });

  it("ends an escrow at once for its callers, and in the log when it is heard", () => {
    const bench = new Bench();
    const nodeId = bench.follower;
    bench.opened("e", nodeId);
    bench.cutOff(nodeId);
    bench.spend(nodeId, "s", "e", 20);
    expect(bench.close(nodeId, "e")).toMatchObject({ state: EscrowState.CLOSING, spentAside: 20 });
    bench.kill(nodeId);
    bench.start(nodeId);
    bench.run(CERTAIN_MS);
    expect(bench.refused(nodeId, "t", "e", 1)).toBe("ESCROW_CLOSED");
    bench.heal();
    expect(bench.runUntil(() => bench.balance(1, "ann") === 80 && bench.balance(1, "bob") === 20)).toBe(true);
    expect(bench.runUntil(() => bench.node(nodeId).escrows.size === 0)).toBe(true);
    bench.converge();
    bench.proves();
  });

  it("counts what it promised where the player had moved on, the decisions of the others are forgotten and the id was used there", () => {
    const bench = new Bench({ node: { decisionWindow: 16 } });
    const nodeId = bench.follower;
    const other = bench.members.find((id) => id !== nodeId) ?? 0;
    bench.opened("e", nodeId);
    bench.cutOff(nodeId);
    bench.spend(nodeId, "s", "e", 20);
    bench.ask(give("s", SERVER, bench.region, "ann", "cid", "gold", 1, { timestampMs: Math.floor(bench.nowMs) }), other);
    for (let i = 0; i < 60; i++) {
      bench.run(60);
      bench.ask({ ...give(`g${i}`, SERVER, bench.region, i % 2 === 0 ? "ann" : "cid", i % 2 === 0 ? "cid" : "ann", "gold", 1), timestampMs: Math.floor(bench.nowMs) }, other);
    }
    bench.heal();
    expect(bench.runUntil(() => bench.balance(1, "bob") === 20)).toBe(true);
    expect(bench.runUntil(() => bench.node(nodeId).escrows.spendingsAside === 0)).toBe(true);
    bench.converge();
    bench.proves();
  });

  it("that never comes back and is removed keeps nobody's items for ever", () => {
    const bench = new Bench({ nodes: 4 });
    const nodeId = bench.follower;
    bench.opened("e", nodeId);
    bench.spend(nodeId, "known", "e", 5);
    bench.run(1_000);
    bench.cutOff(nodeId);
    bench.spend(nodeId, "unknown", "e", 20);
    bench.kill(nodeId);
    const change = BeginMemberChange.fromPartial({ changeId: "c", kind: MemberChangeKind.REMOVE, removedNodeId: nodeId });
    expect(bench.membership({ $case: "begin", value: change }, bench.members.find((id) => id !== nodeId)).reason).toBe("");
    const left = bench.members.filter((id) => id !== nodeId);
    expect(bench.runUntil(() => left.every((id) => bench.balance(id, "ann") === 95), 60_000)).toBe(true);
    expect(bench.listed(left[0] ?? 0)).toMatchObject([{ state: EscrowState.CLOSED, nodeRemoved: true, returned: 45 }]);
    bench.proves();
  });
});

it("escrows come with a snapshot, and a node that was restored from one goes on with its own", () => {
  const bench = new Bench({ node: { snapshotLogBytes: 600, trailingEntries: 1, trailingBytes: 1 } });
  const nodeId = bench.follower;
  bench.opened("e", nodeId);
  bench.opened("f", nodeId, 10);
  bench.close(nodeId, "f");
  bench.cutOff(nodeId);
  bench.spend(nodeId, "s", "e", 20);
  const other = bench.members.find((id) => id !== nodeId) ?? 0;
  for (let i = 0; i < 30; i++) bench.ask(give(`g${i}`, SERVER, bench.region, "ann", "cid", "gold", 1), other);
  const before = bench.snapshotsSent;
  bench.heal();
  expect(bench.runUntil(() => bench.members.every((id) => bench.balance(id, "bob") === 20))).toBe(true);
  expect(bench.snapshotsSent).toBeGreaterThan(before);
  expect(bench.listed(nodeId)).toMatchObject([{ escrowId: "e", spent: 20 }, { escrowId: "f", state: EscrowState.CLOSED }]);
  bench.converge();
  bench.proves();
});

describe("who asks about an escrow", () => {
  it("and was told by another node that it is open finds it at its own at once, and hears which side stands alone where that cannot be known", () => {
    const bench = new Bench();
    const nodeId = bench.follower;
    const leader = bench.leaderOf(1);
    for (let i = 0; i < 5; i++) {
      bench.ask(open(`open-${i}`, SERVER, bench.region, `e${i}`, "ann", "gold", 10, nodeId, bench.nowMs + 3_600_000), leader);
      expect(bench.spend(nodeId, `s${i}`, `e${i}`, 1)).toMatchObject({ left: 9, repeated: false });
    }
    expect(bench.refused(nodeId, "x", "nothing", 1)).toBe("NOT_FOUND");
    bench.cutOff(nodeId);
    expect(bench.refused(nodeId, "y", "nothing", 1)).toBe("MINORITY_PARTITION");
  });

  it("hears at another node of a spending of before what the log has left of it", () => {
    const bench = new Bench();
    const nodeId = bench.follower;
    bench.opened("e", nodeId);
    const timestampMs = Math.floor(bench.nowMs);
    bench.spend(nodeId, "s", "e", 20, { timestampMs });
    bench.run(1_000);
    const other = bench.members.find((id) => id !== nodeId) ?? 0;
    expect(bench.spend(other, "s", "e", 20, { timestampMs })).toMatchObject({ left: 30, repeated: true });
    bench.close(nodeId, "e");
    bench.run(1_000);
    expect(bench.spend(other, "s", "e", 20, { timestampMs })).toMatchObject({ left: 0, repeated: true });
  });

  it("has no turn while it waits for a quorum that is not there", () => {
    const bench = new Bench();
    const nodeId = bench.follower;
    for (const other of bench.members) if (other !== nodeId) bench.loseFrames(nodeId, other, true);
    const heard: string[] = [];
    const turn = (run: () => void): void => {
      heard.push("turn");
      run();
    };
    const list = (stale: boolean): void => {
      const request = { region: bench.region, escrowId: "", serverId: 0, playerId: "", includeClosed: false, stale, pageSize: 2, pageToken: "" };
      bench.node(nodeId).escrows.list(request, bench.nowMs + 400, (_, error) => heard.push(error?.reason ?? "answered"), turn);
    };
    list(true);
    list(false);
    bench.run(1_000);
    expect(heard.slice(0, 2)).toEqual(["turn", "answered"]);
    expect(heard.slice(2)).toHaveLength(1);
    expect(heard[2]).not.toBe("answered");
  });

  it("reads page by page, with tokens that are for these wishes alone", () => {
    const bench = new Bench();
    const nodeId = bench.follower;
    for (const id of ["a", "b", "c"]) bench.opened(id, nodeId, 10);
    const page = (fields: Partial<ListEscrowsRequest>): ListEscrowsResponse | string => {
      let answer: Answer<ListEscrowsResponse> | undefined;
      const request = { region: bench.region, escrowId: "", serverId: 0, playerId: "", includeClosed: false, stale: true, pageSize: 2, pageToken: "", ...fields };
      bench.node(nodeId).escrows.list(request, 0, (response, error) => (answer = { response, error }));
      return answer?.response ?? answer?.error?.reason ?? "nothing";
    };
    const first = page({});
    if (typeof first === "string") throw new Error(first);
    const { nextPageToken: pageToken } = first;
    expect(page({ pageToken })).toMatchObject({ escrows: [{ escrowId: "c" }], nextPageToken: "" });
    expect(page({ pageToken, pageSize: 1 })).toMatchObject({ escrows: [{ escrowId: "c" }] });
    for (const other of [{ playerId: "ann" }, { serverId: SERVER }, { includeClosed: true }, { region: { x: 0, y: 0, z: 7 } }, { pageToken: "e.b" }, { pageToken: `${pageToken}x` }]) expect(page({ pageToken, ...other })).toBe("INVALID_PAGE_TOKEN");
  });
});
