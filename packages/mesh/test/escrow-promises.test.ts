// What a node promised of an escrow holds through what operators and disks do to it: a node that goes, a file that is damaged or full, a restart.
import { MemberChangeKind, type MeshError, type SpendEscrowRequest } from "@statemesh/contract";
import { BeginMemberChange } from "@statemesh/contract/log";
import { describe, expect, it } from "vitest";
import { Bench, SERVER } from "./escrow-bench.ts";
import { give, mint, open } from "./operations.ts";

describe("a node that is to go, and is well", () => {
  it.each([0, 500])("is let go once all that it promised is in the log: none of it is lost (%d ms)", (afterMs) => {
    const bench = new Bench({ nodes: 4 });
    const nodeId = bench.follower;
    const stays = bench.members.find((id) => id !== nodeId) ?? 0;
    bench.opened("e", nodeId, 90);
    bench.run(afterMs);
    const change = BeginMemberChange.fromPartial({ changeId: "c", kind: MemberChangeKind.REMOVE, removedNodeId: nodeId });
    expect(bench.membership({ $case: "begin", value: change }, stays).reason).toBe("");
    let promised = 0;
    let asked = 0;
    const spend = (): void => {
      const request = { operationId: `s${asked++}`, serverId: SERVER, region: bench.region, escrowId: "e", quantity: 1, toPlayerId: "bob", timestampMs: Math.floor(bench.nowMs) };
      bench.node(nodeId).escrows.spend(request, bench.nowMs + 900, (response) => {
        if (response !== undefined) promised++;
      });
    };
    const isGone = (): boolean => bench.node(stays).membership.member(nodeId) === undefined;
    // What it says is lost for a moment, and nobody knows.
    const others = bench.members.filter((id) => id !== nodeId);
    for (const other of others) bench.loseFrames(nodeId, other, true);
    bench.at(600, () => {
      for (const other of others) bench.loseFrames(nodeId, other, false);
    });
    for (let i = 0; i < 2_000 && !isGone(); i++) {
      spend();
      bench.run(25);
    }
    expect(isGone()).toBe(true);
    for (let i = 0; i < 100; i++) {
      spend();
      bench.run(50);
    }
    expect(promised).toBeGreaterThan(0);
    expect(bench.balance(stays, "bob")).toBe(promised);
    expect(bench.balance(stays, "ann")).toBe(100 - promised);
  });
});

describe("a node whose file of escrows is damaged", () => {
  /** A node that is down, of whose escrow `e` the file has lost everything. */
  function damaged(): { readonly bench: Bench; readonly nodeId: number } {
    const bench = new Bench();
    const nodeId = bench.follower;
    bench.opened("e", nodeId);
    bench.opened("f", nodeId, 10);
    bench.spend(nodeId, "s", "e", 5);
    bench.run(1_000);
    bench.kill(nodeId);
    return { bench, nodeId };
  }

  const request = (bench: Bench, operationId: string, escrowId: string): SpendEscrowRequest => ({ operationId, serverId: SERVER, region: bench.region, escrowId, quantity: 1, toPlayerId: "bob", timestampMs: Math.floor(bench.nowMs) });

  it.each([1_000, 1_250, 1_500, 1_750, 2_000])("spends no more from what it lost, also where calls come as it finds out what that is (%d ms after its start)", (afterMs) => {
    const { bench, nodeId } = damaged();
    bench.escrowRecords(nodeId).splice(0, Infinity, { record: { $case: "damaged", value: true } });
    bench.escrowNoteMs = 300;
    bench.start(nodeId);
    bench.run(afterMs);
    const outcomes: string[] = [];
    const ask = (operationId: string, escrowId: string): void => bench.node(nodeId).escrows.spend(request(bench, operationId, escrowId), bench.nowMs + 900, (response, error) => outcomes.push(response === undefined ? (error?.reason ?? "") : "spent"));
    ask("t", "e");
    for (let i = 0; i < 40; i++) {
      bench.run(100);
      ask(`t${i}`, "f");
    }
    expect(outcomes).not.toContain("spent");
    expect(bench.runUntil(() => bench.balance(1, "ann") === 95)).toBe(true);
  });

  it("spends no more from what it has left of it, also after one more restart", () => {
    const { bench, nodeId } = damaged();
    const others = bench.members.filter((id) => id !== nodeId);
    bench.escrowRecords(nodeId).push({ record: { $case: "damaged", value: true } });
    bench.start(nodeId);
    // What it first says is lost on its way.
    for (const other of others) bench.loseFrames(nodeId, other, true);
    bench.run(200);
    for (const other of others) bench.loseFrames(nodeId, other, false);
    const last = (): boolean => bench.escrowRecords(nodeId).some(({ record }) => record?.$case === "damaged" && !record.value);
    expect(bench.runUntil(last, 4_000)).toBe(true);
    bench.kill(nodeId);
    bench.cut([nodeId], others);
    bench.start(nodeId);
    bench.run(2_500);
    expect(bench.refused(nodeId, "t", "e", 1)).toBe("ESCROW_CLOSED");
  });
});

describe("a node whose disk is full", () => {
  it("takes on and ends in time what was opened meanwhile, once there is room", () => {
    const bench = new Bench();
    bench.fullDisks.add(2);
    bench.ask(open("open-e", SERVER, bench.region, "e", "ann", "gold", 50, 2, bench.nowMs + 20_000));
    bench.run(5_000);
    expect(bench.refused(2, "s", "e", 1)).toBe("LOG_FULL");
    bench.fullDisks.clear();
    bench.run(25_000);
    expect(bench.balance(1, "ann")).toBe(100);
  });
});

it("a node whose disk hangs does not fill its queue with what it wants itself", () => {
  const bench = new Bench();
  const players = Array.from({ length: 8 }, (_, i) => `p${i}`);
  for (const player of players) {
    bench.ask(mint(`mint-${player}`, SERVER, bench.region, player, "gold", 16));
    for (let i = 0; i < 16; i++) bench.ask(open(`${player}-${i}`, SERVER, bench.region, `${player}-e${i}`, player, "gold", 1, 2, bench.nowMs + 15_000));
  }
  expect(bench.runUntil(() => bench.node(2).escrows.size === 128)).toBe(true);
  bench.run(1_000);
  bench.escrowNoteMs = 50_000;
  bench.run(48_000);
  const answers: string[] = [];
  const request = { operationId: "s", serverId: SERVER, region: bench.region, escrowId: "p0-e0", quantity: 1, toPlayerId: "bob", timestampMs: Math.floor(bench.nowMs) };
  bench.node(2).escrows.spend(request, bench.nowMs + 900, (response, error) => answers.push(error?.reason ?? (response === undefined ? "nothing" : "spent")));
  expect(answers).toEqual([]);
  bench.escrowNoteMs = 0.5;
  expect(bench.runUntil(() => players.every((player) => bench.balance(1, player) === 16), 60_000)).toBe(true);
  expect(answers).toEqual(["ESCROW_CLOSED"]);
});

describe("who asks again about a spending whose answer was lost is not told that nothing was spent", () => {
  it("where the decision is forgotten, and the escrow is closed", () => {
    const bench = new Bench({ node: { decisionWindow: 16 } });
    const nodeId = bench.follower;
    bench.opened("e", nodeId);
    const timestampMs = Math.floor(bench.nowMs);
    bench.spend(nodeId, "s", "e", 5, { timestampMs });
    for (let i = 0; i < 60; i++) {
      bench.run(60);
      bench.ask(give(`g${i}`, SERVER, bench.region, "ann", "cid", "gold", 1, { timestampMs: Math.floor(bench.nowMs) }));
      if (i === 40) bench.ask(mint("m2", SERVER, bench.region, "ann", "gold", 100));
    }
    expect(bench.refused(nodeId, "s", "e", 5, { timestampMs })).toBe("DECISION_FORGOTTEN");
    bench.close(nodeId, "e");
    expect(bench.refused(nodeId, "s", "e", 5, { timestampMs })).toBe("DECISION_FORGOTTEN");
    expect(bench.refused(nodeId, "new", "e", 5)).toBe("ESCROW_CLOSED");
  });

  it("where the node has just started, does not have the spending in its log again, and keeps no more", () => {
    const bench = new Bench();
    const nodeId = bench.follower;
    bench.opened("e", nodeId);
    const timestampMs = Math.floor(bench.nowMs);
    bench.spend(nodeId, "s", "e", 5, { timestampMs });
    bench.run(1_000);
    bench.cutOff(nodeId);
    bench.close(nodeId, "e");
    bench.kill(nodeId);
    bench.damage(nodeId, 1, 2, { isEndKnown: true, isVoteKnown: true });
    bench.start(nodeId);
    bench.run(2_000);
    expect(bench.refused(nodeId, "s", "e", 5, { timestampMs })).toBe("ESCROW_NOT_READY");
    expect(bench.refused(nodeId, "new", "e", 5)).toBe("ESCROW_CLOSED");
    bench.heal();
    expect(bench.runUntil(() => bench.balance(1, "ann") === 95)).toBe(true);
    bench.run(1_000);
    expect(bench.spend(nodeId, "s", "e", 5, { timestampMs })).toMatchObject({ repeated: true });
  });
});

it("a node that goes down answers everybody, also who asks while it does", () => {
  const bench = new Bench();
  bench.opened("e", 2);
  const answers: (MeshError | undefined)[] = [];
  const ask = (operationId: string): void => {
    const request = { operationId, serverId: SERVER, region: bench.region, escrowId: "e", quantity: 1, toPlayerId: "bob", timestampMs: Math.floor(bench.nowMs) };
    bench.node(2).escrows.spend(request, bench.nowMs + 900, (_, error) => {
      answers.push(error);
      if (answers.length < 5) ask(`again-${answers.length}`);
    });
  };
  ask("a");
  ask("b");
  bench.node(2).stop();
  ask("c");
  expect(answers.length).toBeGreaterThanOrEqual(5);
  expect(answers.map((error) => error?.reason)).toContain("OUTCOME_UNKNOWN");
});
