import type { VectorClockEntry } from "@statemesh/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventualCluster } from "./eventual-cluster.ts";

const NOBODY = () => false;

describe("what a session has seen of eventual values", () => {
  const covers = (cluster: EventualCluster, node: number, token: readonly VectorClockEntry[]) => cluster.stores[node]?.covers(token, NOBODY) === true;
  const tokenOf = (cluster: EventualCluster, node: number) => cluster.stores[node]?.frontier() ?? [];

  it("is on another node within a tick, and the node knows", () => {
    const cluster = new EventualCluster(3);
    cluster.run(500);
    cluster.publish(0, "wolf", "1");
    const token = tokenOf(cluster, 0);
    expect(covers(cluster, 0, token)).toBe(true);
    expect(covers(cluster, 1, token)).toBe(false);
    cluster.run(50);
    expect(covers(cluster, 1, token)).toBe(true);
    expect(cluster.holds(1)).toEqual({ wolf: "1" });
  });

  it("is sent to a node that was cut off, in bounded parts, before that node says that it has it", () => {
    const cluster = new EventualCluster(2, { maxValuesPerTick: 10, maxBacklogKeys: 20 });
    cluster.run(500);
    cluster.cut(0, 1);
    for (let at = 0; at < 100; at += 1) cluster.publish(0, `k${at}`, "1");
    cluster.run(500);
    cluster.publish(0, "last", "1");
    const token = tokenOf(cluster, 0);
    cluster.heal(0, 1);
    for (let ticks = 0; ticks < 40 && !covers(cluster, 1, token); ticks += 1) {
      cluster.run(50);
      if (covers(cluster, 1, token)) expect(Object.keys(cluster.holds(1))).toHaveLength(101);
    }
    expect(covers(cluster, 1, token)).toBe(true);
  });

  it("is sent again where more changed than may wait", () => {
    const cluster = new EventualCluster(2, { maxValuesPerTick: 5, maxBacklogKeys: 10, digestEveryTicks: 100_000 });
    cluster.run(500);
    for (let at = 0; at < 60; at += 1) cluster.publish(0, `k${at}`, "1");
    const token = tokenOf(cluster, 0);
    cluster.run(50);
    expect(covers(cluster, 1, token)).toBe(false);
    cluster.run(2_000);
    expect(covers(cluster, 1, token)).toBe(true);
    expect(Object.keys(cluster.holds(1))).toHaveLength(60);
  });

  it("is sent again where it was lost on the way", () => {
    // Digests would show what lacks, but not that nothing lacks.
    const cluster = new EventualCluster(2, { digestEveryTicks: 100_000 });
    cluster.run(500);
    cluster.publish(0, "wolf", "1");
    cluster.losing = 1;
    cluster.run(50);
    cluster.publish(0, "bear", "1");
    const token = tokenOf(cluster, 0);
    cluster.run(50);
    expect(cluster.holds(1)).toEqual({ bear: "1" });
    expect(covers(cluster, 1, token)).toBe(false);
    cluster.run(2_000);
    expect(cluster.holds(1)).toEqual({ bear: "1", wolf: "1" });
    expect(covers(cluster, 1, token)).toBe(true);
    // What comes later needs no asking.
    cluster.publish(0, "wolf", "2");
    const later = tokenOf(cluster, 0);
    cluster.run(50);
    expect(covers(cluster, 1, later)).toBe(true);
  });

  it("is sent again where the first of a new way was lost, though the count goes on as if nothing was", () => {
    for (let before = 1; before <= 12; before += 1) {
      const cluster = new EventualCluster(2);
      cluster.run(before * 50);
      cluster.cut(0, 1);
      cluster.heal(0, 1);
      cluster.publish(0, "wolf", "1");
      const token = tokenOf(cluster, 0);
      for (let lost = 0; lost < 4; lost += 1) {
        cluster.losing = 1;
        cluster.run(50);
      }
      cluster.run(20_000);
      expect(covers(cluster, 1, token)).toBe(true);
    }
  });

  it("is had where it once found no room, as soon as there is some", () => {
    const cluster = new EventualCluster(2, { maxRegisters: 3, tombstoneHorizonMs: 1_000 });
    cluster.run(500);
    for (const key of ["a", "b"]) cluster.publish(0, key, "1");
    for (const key of ["c", "d"]) cluster.publish(1, key, "1");
    const token = tokenOf(cluster, 0);
    cluster.run(10_000);
    expect(cluster.stores[1]?.statistics().refused).toBeGreaterThan(0);
    expect(covers(cluster, 1, token)).toBe(false);
    for (const key of ["c", "d"]) cluster.publish(1, key, undefined);
    cluster.run(100_000);
    expect(cluster.holds(1)).toEqual({ a: "1", b: "1" });
    for (const node of [0, 1]) for (const at of [0, 1]) expect(covers(cluster, at, tokenOf(cluster, node))).toBe(true);
  });

  it("does not wait for what a node refuses because its clock is far behind", () => {
    const cluster = new EventualCluster(2);
    cluster.run(500);
    cluster.aheadMs[0] = 120_000;
    cluster.publish(0, "wolf", "1");
    cluster.run(500);
    expect(cluster.stores[1]?.statistics().refused).toBeGreaterThan(0);
    cluster.aheadMs[0] = 0;
    const token = tokenOf(cluster, 0);
    expect(covers(cluster, 1, token)).toBe(true);
    expect(covers(cluster, 1, tokenOf(cluster, 1))).toBe(true);
    cluster.run(65_000);
    expect(cluster.holds(1)).toEqual({ wolf: "1" });
  });

  it("of a start that is over counts for ten seconds, until what is left of it has been exchanged", () => {
    const cluster = new EventualCluster(3);
    cluster.run(500);
    cluster.publish(0, "wolf", "1");
    const token = tokenOf(cluster, 0);
    cluster.restart(0);
    cluster.run(2_000);
    expect(covers(cluster, 1, token)).toBe(false);
    cluster.run(10_000);
    expect(covers(cluster, 1, token)).toBe(true);
    expect(covers(cluster, 0, token)).toBe(true);
    expect(cluster.stores[2]?.covers(token, (nodeId) => nodeId === 1)).toBe(true);
  });

  it("never goes back: a node that covers a token holds everything that was seen with it, whatever was cut, lost and healed", () => {
    const step = fc.record({ kind: fc.constantFrom("write", "write", "write", "tick", "tick", "lose", "cut", "heal"), node: fc.nat(2), other: fc.nat(2), key: fc.nat(9) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: "max" }), fc.subarray([0, 1, 2]), fc.constantFrom(3, 100), (steps, saying, maxBacklogKeys) => {
        const cluster = new EventualCluster(3, { maxValuesPerTick: 2, maxBacklogKeys }, saying);
        cluster.run(500);
        // What a session saw with a token: of each key its serial, which only grows.
        const seen: { token: VectorClockEntry[]; keys: Record<string, string> }[] = [];
        let serial = 0;
        for (const { kind, node, other, key } of steps) {
          if (kind === "write") {
            // Later writes have later stamps, whichever node gives them.
            cluster.nowMs += 1;
            cluster.publish(node, `k${key}`, String((serial += 1)).padStart(4, "0"));
            seen.push({ token: tokenOf(cluster, node), keys: cluster.holds(node) });
          } else if (kind === "tick") cluster.run(50);
          else if (kind === "lose") cluster.losing = 1;
          else if (node !== other && kind === "cut") cluster.cut(node, other);
          else if (node !== other) cluster.heal(node, other);
          for (const at of [0, 1, 2]) {
            const held = cluster.holds(at);
            for (const { token, keys } of seen) {
              if (!covers(cluster, at, token)) continue;
              for (const [name, value] of Object.entries(keys)) if ((held[name] ?? "") < value) throw new Error(`${name} of ${value} on ${at}`);
            }
          }
        }
        for (const [a, b] of [[0, 1], [0, 2], [1, 2]] as const) cluster.heal(a, b);
        cluster.run(20_000);
        for (const { token } of seen) for (const at of [0, 1, 2]) expect(covers(cluster, at, token)).toBe(true);
      }),
      { numRuns: 60, endOnFailure: true, interruptAfterTimeLimit: 20_000 },
    );
  });
});
