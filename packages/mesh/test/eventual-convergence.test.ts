import { HybridClock } from "@statemesh/clocks";
import type { EventualDelta, Region } from "@statemesh/contract";
import { DEFAULT_POLICY } from "@statemesh/world";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventualStore } from "../src/eventual/index.ts";

const START_MS = 1_700_000_000_000;
const TICK_MS = 50;
const REGIONS: Region[] = [{ x: 0, y: 0, z: 0 }, { x: -1, y: 0, z: 5 }, { x: 7, y: -9, z: 0 }];

/** Places in the list of nodes; a node's id is one more. */
interface Flight {
  readonly from: number;
  readonly to: number;
  readonly delta: EventualDelta;
}

class Cluster {
  readonly stores: EventualStore[] = [];
  readonly clocks: HybridClock[] = [];
  flights: Flight[] = [];
  nowMs = START_MS;

  constructor(size: number, skewMs: readonly number[]) {
    for (let i = 0; i < size; i += 1) {
      const store = new EventualStore({ maxValuesPerTick: 3, maxRepairValuesPerTick: 2, maxBacklogKeys: 4, digestEveryTicks: 2, settleMs: 100, repairRetryMs: 200, restlessMs: 500 }, { nodeId: i + 1, incarnation: 1, inParts: () => true });
      for (let peer = 0; peer < size; peer += 1) if (peer !== i) store.peerUp(peer + 1);
      this.stores.push(store);
      this.clocks.push(new HybridClock());
    }
    this.skewMs = skewMs;
  }

  readonly skewMs: readonly number[];

  wall(node: number): number {
    return this.nowMs + (this.skewMs[node] ?? 0);
  }

  tick(): void {
    this.nowMs += TICK_MS;
    this.stores.forEach((store, from) => {
      for (const { to, delta } of store.tick(this.wall(from))) this.flights.push({ from, to: to - 1, delta: structuredClone(delta) });
    });
  }

  deliver(flight: Flight): void {
    this.stores[flight.to]?.onDelta(flight.from + 1, structuredClone(flight.delta), this.wall(flight.to), this.clocks[flight.to] as HybridClock);
  }

  visible(node: number): string[] {
    return REGIONS.flatMap((region) => this.stores[node]?.valuesOf(region) ?? [])
      .map((v) => `${v.type} ${JSON.stringify(v.region)} ${v.key}=${[...v.value].join()} ${v.serverId} ${v.stamp?.physicalMs}.${v.stamp?.logical}`)
      .sort();
  }
}

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({
    kind: fc.constant("publish" as const), node: fc.nat(2), region: fc.nat(2), key: fc.constantFrom("a", "b", "c", "d", "e"),
    type: fc.constantFrom("creature_position", "power_grid_state"), server: fc.integer({ min: 1, max: 3 }), value: fc.nat(255), deleted: fc.boolean(),
    agoMs: fc.option(fc.nat(100), { nil: undefined }),
  }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("tick" as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom("deliver" as const, "lose" as const, "repeat" as const), which: fc.nat(1_000) }) },
);

describe("eventual state on three nodes", () => {
  it("converges after loss, duplication and reordering: same values, same digests, everywhere", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: "max" }), fc.array(fc.integer({ min: -400, max: 400 }), { minLength: 3, maxLength: 3 }), (steps, skewMs) => {
        const cluster = new Cluster(3, skewMs);
        for (const s of steps) {
          if (s.kind === "tick") cluster.tick();
          else if (s.kind === "publish") {
            const wall = cluster.wall(s.node);
            cluster.stores[s.node]?.publish(
              [{ type: s.type, region: REGIONS[s.region], key: s.key, value: Uint8Array.of(s.value), deleted: s.deleted, timestampMs: s.agoMs === undefined ? 0 : wall - s.agoMs }],
              s.server, wall, cluster.clocks[s.node] as HybridClock, DEFAULT_POLICY,
            );
          } else if (cluster.flights.length > 0) {
            const at = s.which % cluster.flights.length;
            const flight = cluster.flights[at] as Flight;
            if (s.kind !== "repeat") cluster.flights.splice(at, 1);
            if (s.kind !== "lose") cluster.deliver(flight);
          }
        }
        // Quiet: what is still on its way is lost, from now on everything arrives.
        cluster.flights = [];
        for (let i = 0; i < 80; i += 1) {
          cluster.tick();
          const flights = cluster.flights;
          cluster.flights = [];
          for (const flight of flights) cluster.deliver(flight);
        }
        expect(cluster.visible(1)).toEqual(cluster.visible(0));
        expect(cluster.visible(2)).toEqual(cluster.visible(0));
        for (const region of REGIONS) {
          expect(cluster.stores[1]?.digestOf(region)).toEqual(cluster.stores[0]?.digestOf(region));
          expect(cluster.stores[2]?.digestOf(region)).toEqual(cluster.stores[0]?.digestOf(region));
        }
        const asked = cluster.stores.map((store) => store.statistics().repairsAsked);
        for (let i = 0; i < 20; i += 1) {
          cluster.tick();
          for (const flight of cluster.flights.splice(0)) cluster.deliver(flight);
        }
        // Nothing is repaired where nothing differs.
        expect(cluster.stores.map((store) => store.statistics().repairsAsked)).toEqual(asked);
      }),
      { numRuns: 150, interruptAfterTimeLimit: 60_000 },
    );
  }, 120_000);

  it("gives a node that starts empty everything its peers hold, in bounded parts", () => {
    const cluster = new Cluster(2, [0, 0]);
    cluster.stores[1]?.peerDown(1);
    cluster.stores[0]?.peerDown(2);
    const updates = Array.from({ length: 200 }, (_, i) => ({
      type: "creature_position", region: REGIONS[i % 3], key: `k${i}`, value: Uint8Array.of(i), deleted: i % 10 === 0, timestampMs: 0,
    }));
    cluster.stores[0]?.publish(updates, 1, cluster.wall(0), cluster.clocks[0] as HybridClock, DEFAULT_POLICY);
    cluster.tick();
    cluster.stores[0]?.peerUp(2);
    cluster.stores[1]?.peerUp(1);
    for (let i = 0; i < 200; i += 1) {
      cluster.tick();
      for (const flight of cluster.flights.splice(0)) {
        expect(flight.delta.values.length).toBeLessThanOrEqual(5);
        cluster.deliver(flight);
      }
    }
    expect(cluster.visible(1)).toEqual(cluster.visible(0));
    expect(cluster.visible(1)).toHaveLength(180);
  });

  it("goes on repairing when a node's wall clock jumps back or ahead by an hour", () => {
    for (const jumpMs of [-3_600_000, 3_600_000]) {
      const skewMs = [0, 0];
      const cluster = new Cluster(2, skewMs);
      const publish = (key: string) =>
        cluster.stores[0]?.publish([{ type: "creature_position", region: REGIONS[0], key, value: Uint8Array.of(1), deleted: false, timestampMs: 0 }], 1, cluster.wall(0), cluster.clocks[0] as HybridClock, DEFAULT_POLICY);
      publish("before");
      cluster.tick();
      skewMs[1] = jumpMs;
      // Lost.
      cluster.flights = [];
      if (jumpMs > 0) publish("after");
      for (let i = 0; i < 100; i += 1) {
        cluster.tick();
        for (const flight of cluster.flights.splice(0)) cluster.deliver(flight);
        if (i === 50) skewMs[1] = 0;
      }
      expect(cluster.visible(1)).toEqual(cluster.visible(0));
    }
  });

  it("does not take every region for different while values are on their way", () => {
    const cluster = new Cluster(2, [0, 0]);
    for (let i = 0; i < 100; i += 1) {
      cluster.stores[i % 2]?.publish(
        [{ type: "creature_position", region: REGIONS[0], key: "wolf", value: Uint8Array.of(i), deleted: false, timestampMs: 0 }],
        1, cluster.wall(i % 2), cluster.clocks[i % 2] as HybridClock, DEFAULT_POLICY,
      );
      cluster.tick();
      for (const flight of cluster.flights.splice(0)) cluster.deliver(flight);
    }
    const asked = cluster.stores.map((store) => store.statistics().repairsAsked);
    // 5 seconds of change: at most one request a `restlessMs` and node.
    expect(Math.max(...asked)).toBeLessThanOrEqual(10);
  });
});
