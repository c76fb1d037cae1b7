import { HybridClock } from "@statemesh/clocks";
import { type Decision, type Operation, type OperationError, TerrainModification_Mode } from "@statemesh/contract";
import { DEFAULT_POLICY } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import { Edge, OUTSTANDING_BYTES, OUTSTANDING_OPERATIONS, operationBytes } from "../src/index.ts";
import { QuotaKeeper } from "../src/flow/server-quotas.ts";
import { stageTimes } from "../src/flow/stage-times.ts";
import { mint } from "./operations.ts";

const REGION = { x: 0, y: 0, z: 0 };
const BRUSH = new Uint8Array(16_384);

/** An edge on a node that knows of no leader: what it takes stays. */
class Lonely {
  nowMs = 0;
  knows = true;
  readonly refreshes: (() => void)[] = [];
  readonly reasons = new Map<string, number>();
  readonly stages = stageTimes();
  readonly quotas = new QuotaKeeper({ inFlight: OUTSTANDING_OPERATIONS });
  readonly edge = new Edge({
    nodeId: 1, incarnation: 1, groups: 1, policy: DEFAULT_POLICY, clock: new HybridClock({ maxOffsetMs: DEFAULT_POLICY.maxOffsetMs }),
    quotas: this.quotas,
    stages: this.stages,
    queueTargetMs: 250,
    wallMs: () => 1_000_000 + this.nowMs,
    monotonicMs: () => this.nowMs,
    leaderOf: () => 0,
    isConnected: () => false,
    losingSide: () => undefined,
    answerKept: () => false,
    keep: () => undefined,
    submit: () => undefined,
    sendCall: () => undefined,
    spansGroups: () => true,
    spansFootprints: () => true,
    hasContainers: () => true,
    hasEscrows: () => true, hasConditions: () => true,
    addressOf: () => "",
    knowsServer: () => this.knows,
    refreshDirectory: (_, done) => void this.refreshes.push(() => done(undefined)),
  });

  execute(operation: Operation): void {
    this.edge.execute([operation], this.nowMs + 1_000, {
      decided: (decision: Decision) => this.#count(`decided ${decision.operationId}`),
      failed: (_, error: OperationError) => this.#count(`${error.reason}: ${error.message}`),
    });
  }

  #count(what: string): void {
    this.reasons.set(what, (this.reasons.get(what) ?? 0) + 1);
  }
}

function paint(id: string): Operation {
  const bounds = { minX: 1, minY: 1, minZ: 1, maxX: 2, maxY: 2, maxZ: 2 };
  const value = { mode: TerrainModification_Mode.PAINT, bounds, material: "moss", playerId: "", observedVersion: 0, brush: BRUSH };
  return { ...mint(id, 7, REGION, "p", "gold", 1), type: "terrain_modification", body: { $case: "terrainModification", value } };
}

describe("what a node holds of its callers' operations", () => {
  it("has a limit in bytes: beyond it callers get OVERLOADED, and afterwards there is room again", () => {
    const node = new Lonely();
    const fit = Math.ceil(OUTSTANDING_BYTES / operationBytes({ operation: paint("x") }));
    expect(fit).toBeLessThan(OUTSTANDING_OPERATIONS);
    for (let at = 0; at < fit + 10; at++) node.execute(paint(`p${at}`));
    expect([node.edge.outstanding, [...node.reasons]]).toEqual([fit, [[`OVERLOADED: bytes of operations not answered on this node: the limit of ${OUTSTANDING_BYTES} is reached`, 10]]]);
    node.nowMs += 1_001;
    node.reasons.clear();
    node.edge.expire();
    expect([node.edge.outstanding, [...node.reasons.values()]]).toEqual([0, [fit]]);
    node.execute(paint("again"));
    expect(node.edge.outstanding).toBe(1);
  });

  it("has a limit in operations", () => {
    const node = new Lonely();
    for (let at = 0; at < OUTSTANDING_OPERATIONS + 5; at++) node.execute(mint(`m${at}`, 7, REGION, "p", "gold", 1));
    expect([node.edge.outstanding, [...node.reasons.values()]]).toEqual([OUTSTANDING_OPERATIONS, [5]]);
  });

  it("counts what waits for the directory once", () => {
    const node = new Lonely();
    node.knows = false;
    const fit = Math.ceil(OUTSTANDING_BYTES / operationBytes({ operation: paint("x") }));
    for (let at = 0; at < fit + 10; at++) node.execute(paint(`p${at}`));
    expect([node.edge.outstanding, [...node.reasons.values()]]).toEqual([fit, [10]]);
    node.knows = true;
    // The directory answers for one: there is room for one, which it takes itself.
    node.refreshes[0]?.();
    node.execute(paint("beyond"));
    expect([node.edge.outstanding, [...node.reasons.values()]]).toEqual([fit, [11]]);
  });
});
