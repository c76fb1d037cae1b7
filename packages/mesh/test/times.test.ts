// Which time counts: the receiver's, or the claimed one inside the compensation window; and that no time buys what is decided.
import { HybridClock } from "@statemesh/clocks";
import { type HybridTimestamp, type Operation, Outcome, TerrainModification_Mode } from "@statemesh/contract";
import { parsePolicy } from "@statemesh/world";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Edge } from "../src/index.ts";
import { claim, dig, ownCreature, pickup, place, removeStructure, spawn } from "./operations.ts";
import { QuotaKeeper } from "../src/flow/server-quotas.ts";
import { stageTimes } from "../src/flow/stage-times.ts";
import { VirtualCluster } from "./virtual-cluster.ts";

const REGION = { x: 0, y: 0, z: 0 };

/** What an edge makes of a claimed time: the stamp, or the reason. */
class Receiver {
  wallMs = 0;
  #stamp: HybridTimestamp | undefined;
  readonly #edge: Edge;

  constructor(compensationMs: number, offsetMs: number) {
    this.#edge = new Edge({
      nodeId: 1, incarnation: 1, groups: 1, policy: parsePolicy(`version: 1\nwindows: {compensation_ms: ${compensationMs}, max_offset_ms: ${offsetMs}}\n`, "p"), clock: new HybridClock({ maxOffsetMs: 500 }),
      quotas: new QuotaKeeper({}),
      stages: stageTimes(),
      queueTargetMs: 250,
      wallMs: () => this.wallMs, monotonicMs: () => 0, leaderOf: () => 1, addressOf: () => "", isConnected: () => true, losingSide: () => undefined, answerKept: () => false, keep: () => undefined, sendCall: () => undefined, spansGroups: () => true, spansFootprints: () => true, hasContainers: () => true, hasEscrows: () => true, hasConditions: () => true, knowsServer: () => true,
      refreshDirectory: () => undefined,
      submit: (_, [pending]) => {
        this.#stamp = pending?.stamp;
      },
    });
  }

  take(timestampMs: number): HybridTimestamp | string {
    let reason = "";
    this.#stamp = undefined;
    this.#edge.execute([claim("op", 1, REGION, "vein", "ada", { timestampMs })], 1_000, { decided: () => undefined, failed: (_, error) => void (reason = error.reason) });
    this.#edge.flush();
    return this.#stamp ?? reason;
  }
}

describe("the time that counts", () => {
  it("is the claimed one inside the window, its edge before, the receiver's clock after, and beyond the offset it is refused", () => {
    const claims = fc.record({ wall: fc.double({ min: 100_000, max: 1e12, noNaN: true }), compensation: fc.integer({ min: 0, max: 60_000 }), offset: fc.integer({ min: 0, max: 60_000 }), away: fc.integer({ min: -70_000, max: 70_000 }) });
    fc.assert(fc.property(claims, ({ wall, compensation, offset, away }) => {
      const receiver = new Receiver(compensation, offset);
      receiver.wallMs = wall;
      const now = Math.floor(wall);
      const claimed = Math.max(1, now + away);
      const taken = receiver.take(claimed);
      if (claimed > wall + offset) expect(taken).toBe("TIMESTAMP_IN_FUTURE");
      else if (claimed > now) expect(taken).toEqual({ physicalMs: now, logical: 0 });
      else if (claimed < now - compensation) expect(taken).toEqual({ physicalMs: now - compensation, logical: 0 });
      else expect(taken).toEqual({ physicalMs: claimed, logical: 0 });
    }), { numRuns: 500 });
  });

  it("where none is claimed is the receiver's, and never the same twice, nor earlier than before", () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: -500, max: 500 }), { minLength: 1, maxLength: 40 }), (steps) => {
      const receiver = new Receiver(200, 500);
      receiver.wallMs = 1_000_000;
      let last: HybridTimestamp = { physicalMs: 0, logical: 0 };
      for (const step of steps) {
        receiver.wallMs += step;
        const taken = receiver.take(0);
        if (typeof taken === "string") throw new Error(taken);
        expect(taken.physicalMs > last.physicalMs || (taken.physicalMs === last.physicalMs && taken.logical > last.logical)).toBe(true);
        last = taken;
      }
    }));
  });
});

describe("a late operation", () => {
  const policy = parsePolicy("version: 1\nservers: {priorities: {2: 1000}}\nwindows: {concurrency_ms: 60000}\n", "p");
  const late = (operation: Operation, timestampMs: number): Operation => ({ ...operation, timestampMs });
  const kinds: [string, Operation[], Operation][] = [
    ["structure", [place("won", 1, REGION, [10, 10, 10])], place("late", 2, REGION, [12, 10, 10])],
    ["removal", [place("house", 1, REGION, [10, 10, 10]), removeStructure("won", 1, REGION, "s-house")], removeStructure("late", 2, REGION, "s-house")],
    ["claim", [claim("won", 1, REGION, "vein", "ada")], claim("late", 2, REGION, "vein", "bob")],
    ["pickup", [spawn("lay", 1, REGION, "coin", "gold", 1), pickup("won", 1, REGION, "coin", "ada")], pickup("late", 2, REGION, "coin", "bob")],
    ["creature", [ownCreature("won", 1, REGION, "wolf", 1)], ownCreature("late", 2, REGION, "wolf", 2)],
    ["terrain edit", [dig("won", 1, REGION, [10, 10, 10])], dig("late", 2, REGION, [11, 10, 10], TerrainModification_Mode.PAINT)],
  ];

  it.each(kinds)("against a committed winner is refused and names it, whatever its time and priority: %s", (_, before, after) => {
    fc.assert(fc.property(fc.integer({ min: -900_000, max: 500 }), fc.nat(), (away, seed) => {
      const cluster = new VirtualCluster({ groups: 1, seed: seed + 1, node: { policy }, arbiter: () => undefined });
      cluster.settle();
      cluster.register(1, 2);
      for (const operation of before) expect(cluster.execute(1, [operation]).get(operation.operationId)).toMatchObject({ outcome: Outcome.ACCEPTED });
      const claimed = Math.max(1, Math.floor(cluster.nowMs) + away);
      expect(cluster.execute(2, [late(after, claimed)]).get("late")).toMatchObject({ outcome: Outcome.REJECTED, reason: "CONFLICT", rule: "incumbent", winnerOperationId: "won" });
    }), { numRuns: 4 });
  });
});
