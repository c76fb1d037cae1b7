// How long readers of snapshots may keep writers waiting.
import type { PendingOperation } from "@statemesh/replica";
import { DEFAULT_POLICY, fingerprintOf, footprintOf, validateOperation } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import { HOLD_MAX_MS, Holds } from "../src/flow/holds.ts";
import { claim, mint } from "./operations.ts";

const HERE = { x: 0, y: 0, z: 0 };
const THERE = { x: 1, y: 0, z: 0 };

function pending(operation: ReturnType<typeof claim>): PendingOperation {
  const type = validateOperation(operation, DEFAULT_POLICY);
  return { operation, type, touched: footprintOf(operation, type), stamp: { physicalMs: 1, logical: 0 }, fingerprint: fingerprintOf(operation), priority: 0 };
}

describe("a hold for a snapshot", () => {
  it("keeps back what is decided in its regions and what moves items of its players, and nothing else", () => {
    const holds = new Holds();
    expect(holds.take("s", ["region_0_0_0"], ["ada"], 100, 0)).toBe(true);
    expect(holds.blocks(pending(claim("a", 1, HERE, "vein", "bob")))).toBe(true);
    expect(holds.blocks(pending(mint("b", 1, THERE, "ada", "ore", 1)))).toBe(true);
    expect(holds.blocks(pending(mint("c", 1, THERE, "bob", "ore", 1)))).toBe(false);
    expect(holds.blocks(pending(claim("d", 1, THERE, "vein", "ada")))).toBe(false);
    holds.release("s", 10);
    expect(holds.blocks(pending(claim("a", 1, HERE, "vein", "bob")))).toBe(false);
  });

  it("ends by itself, and no reader, nor many together, hold a group for more than a quarter of the time", () => {
    const holds = new Holds();
    let heldMs = 0;
    for (let nowMs = 0; nowMs < 10_000; nowMs++) {
      for (let reader = 0; reader < 20; reader++) holds.take(`s${reader}`, ["region_0_0_0"], [], 60_000, nowMs);
      holds.expire(nowMs);
      if (!holds.isEmpty) heldMs++;
    }
    expect(heldMs).toBeGreaterThan(HOLD_MAX_MS);
    expect(heldMs).toBeLessThanOrEqual(2_600);
  });

  it("of a reader that is gone makes a group that has nothing to do rest no longer than others", () => {
    const holds = new Holds();
    expect(holds.take("gone", ["region_0_0_0"], [], 100, 0)).toBe(true);
    // Nobody looked meanwhile.
    expect(holds.take("s", ["region_0_0_0"], [], 100, 60_000)).toBe(true);
    expect(holds.take("late", ["region_0_0_0"], [], 100, 60_050)).toBe(true);
    // It says that it is done long after its time.
    holds.release("s", 120_000);
    expect(holds.take("t", ["region_0_0_0"], [], 100, 120_000)).toBe(true);
  });
});
