// The doors of a node: one for each group, and what stands before them.
import { HybridClock } from "@statemesh/clocks";
import { type Decision, type Operation, type OperationError, Outcome, type Region } from "@statemesh/contract";
import type { PendingOperation } from "@statemesh/replica";
import { DEFAULT_POLICY, groupOf } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import { FREE } from "../src/flow/admission.ts";
import { QuotaKeeper } from "../src/flow/server-quotas.ts";
import { STAGES, stageTimes } from "../src/flow/stage-times.ts";
import { Edge, type Waiter } from "../src/index.ts";
import { claim, send } from "./operations.ts";

const GROUPS = 2;
const HERE = { x: 0, y: 0, z: 0 };
const [SLOW, QUICK] = [1, 2].map((group) => Array.from({ length: 64 }, (_, x): Region => ({ x: 8 * x, y: 0, z: 0 })).find((region) => groupOf(region, GROUPS) === group));

/** A node whose group 1 decides 400 operations a second, one after the other, while group 2 decides at once. */
class Node {
  nowMs = 0;
  readonly stages = stageTimes();
  readonly reasons = new Map<string, number>();
  lastError: OperationError | undefined;
  #waiting: { readonly dueMs: number; readonly operations: readonly PendingOperation[]; readonly waiter: Waiter }[] = [];
  #next = 0;
  #freeAtMs = 0;
  readonly edge = new Edge({
    nodeId: 1, incarnation: 1, groups: GROUPS, policy: DEFAULT_POLICY, clock: new HybridClock({ maxOffsetMs: DEFAULT_POLICY.maxOffsetMs }),
    quotas: new QuotaKeeper({}), stages: this.stages, queueTargetMs: 250,
    wallMs: () => 1_000_000 + this.nowMs, monotonicMs: () => this.nowMs,
    leaderOf: () => 1, isConnected: () => true, losingSide: () => undefined, answerKept: () => false, keep: () => undefined, sendCall: () => undefined,
    spansGroups: () => true, spansFootprints: () => true, hasContainers: () => true, hasEscrows: () => true, hasConditions: () => true, addressOf: () => "", knowsServer: () => true, refreshDirectory: () => undefined,
    submit: (groupId, operations, _, waiter) => {
      if (groupId === 1) this.#freeAtMs = Math.max(this.#freeAtMs, this.nowMs) + 2.5;
      this.#waiting.push({ dueMs: groupId === 1 ? this.#freeAtMs : this.nowMs, operations, waiter });
    },
  });

  readonly waiter: Waiter = {
    decided: () => this.#count("decided"),
    failed: (_, error) => {
      this.lastError = error;
      this.#count(error.reason);
    },
  };

  #count(reason: string): void {
    this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1);
  }

  next(): number {
    return this.#next++;
  }

  operation(region: Region | undefined, serverId = 7): Operation {
    const n = this.next();
    return claim(`op-${n}`, serverId, region ?? HERE, `r-${n}`, "ada");
  }

  step(ms: number): void {
    this.edge.flush();
    this.nowMs += ms;
    const due = this.#waiting.filter(({ dueMs }) => dueMs <= this.nowMs);
    this.#waiting = this.#waiting.filter(({ dueMs }) => dueMs > this.nowMs);
    for (const { operations, waiter } of due) {
      for (const { operation } of operations) waiter.decided({ operationId: operation.operationId, outcome: Outcome.ACCEPTED } as Decision);
    }
  }

  /** So much comes for a group, for a while. */
  load(region: Region | undefined, perStep: number, steps: number): void {
    for (let step = 0; step < steps; step++) {
      for (let i = 0; i < perStep; i++) this.edge.execute([this.operation(region)], this.nowMs + 10_000, this.waiter);
      this.step(50);
    }
  }
}

function overloaded(): Node {
  const node = new Node();
  node.load(SLOW, 80, 40);
  return node;
}

describe("operations for a group that is slow", () => {
  it("are refused with a delay, and those for another group are not", () => {
    const node = overloaded();
    expect(node.reasons.get("OVERLOADED")).toBeGreaterThan(500);
    expect(Number(node.lastError?.metadata.get("retry_delay_ms"))).toBeGreaterThanOrEqual(50);
    expect(node.lastError?.metadata.get("server_id")).toBe("7");
    const before = node.reasons.get("OVERLOADED");
    node.load(QUICK, FREE, 10);
    expect(node.reasons.get("OVERLOADED")).toBe(before);
  });

  it("are refused before anything is done for them: not even a wrong one is looked at", () => {
    const node = overloaded();
    node.edge.execute(Array.from({ length: FREE }, () => node.operation(SLOW)), node.nowMs + 1_000, node.waiter);
    const before = node.reasons.get("OVERLOADED") ?? 0;
    node.edge.execute([{ ...node.operation(SLOW), type: "no_such_type" }], node.nowMs + 1_000, node.waiter);
    expect(node.reasons.get("OVERLOADED")).toBe(before + 1);
    expect(node.reasons.get("UNKNOWN_TYPE")).toBeUndefined();
  });

  it("are taken of a server that brings few of them", () => {
    const node = overloaded();
    const { outstanding } = node.edge;
    node.edge.execute([node.operation(SLOW, 8)], node.nowMs + 1_000, node.waiter);
    expect(node.edge.outstanding).toBe(outstanding + 1);
  });

  it("leave transactions their own room", () => {
    const node = overloaded();
    const { outstanding } = node.edge;
    node.edge.transact("tx", [node.operation(SLOW), node.operation(SLOW)], node.nowMs + 1_000, node.waiter);
    expect(node.edge.outstanding).toBe(outstanding + 2);
  });

  it("are taken again once they do not take so long", () => {
    const node = overloaded();
    for (let i = 0; i < 200 && node.edge.outstanding > 0; i++) node.step(50);
    expect(node.edge.outstanding).toBe(0);
    const before = node.reasons.get("OVERLOADED");
    node.load(SLOW, 4, 40);
    expect(node.reasons.get("OVERLOADED")).toBe(before);
  });
});

describe("operations whose home is in a group that is quick, and which reach one that is slow", () => {
  function reaching(node: Node, perStep: number, steps: number): void {
    for (let step = 0; step < steps; step++) {
      for (let i = 0; i < perStep; i++) {
        const n = node.next();
        node.edge.execute([send(`send-${n}`, 7, QUICK ?? HERE, "ada", SLOW ?? HERE, "bob", "gold", 1)], node.nowMs + 10_000, node.waiter);
      }
      node.step(50);
    }
  }

  it("are refused when they take too long, as transactions are", () => {
    const node = new Node();
    reaching(node, 80, 80);
    expect(node.reasons.get("OVERLOADED")).toBeGreaterThan(500);
    expect(node.edge.outstanding).toBeLessThan(1_000);
  });

  it("keep nobody out who stays in one of the two", () => {
    const node = new Node();
    reaching(node, 80, 80);
    for (let i = 0; i < 200 && node.edge.outstanding > 0; i++) node.step(50);
    const before = node.reasons.get("OVERLOADED");
    node.edge.execute(Array.from({ length: 2 * FREE }, () => node.operation(SLOW)), node.nowMs + 10_000, node.waiter);
    node.edge.execute(Array.from({ length: 2 * FREE }, () => node.operation(QUICK)), node.nowMs + 10_000, node.waiter);
    expect(node.reasons.get("OVERLOADED")).toBe(before);
  });
});

describe("the time of operations", () => {
  it("is counted once an operation by each stage that it passed on this node", () => {
    const node = new Node();
    node.load(QUICK, 3, 2);
    node.step(1);
    const counts = STAGES.map((stage) => [stage, node.stages[stage].counts.reduce((sum, count) => sum + count, 0)]);
    expect(Object.fromEntries(counts)).toEqual({ edge: 6, leader: 6, whole: 6, queue: 0, decide: 0, log: 0 });
    expect(node.stages.whole.sumMs).toBe(node.stages.edge.sumMs + node.stages.leader.sumMs);
  });
});
