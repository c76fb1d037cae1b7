// When what is published goes to the nodes on which it is read.
import { type EventualUpdate, type Region } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { SpreadPace } from "../src/eventual/index.ts";
import { EventualCluster } from "./eventual-cluster.ts";
import { VirtualCluster } from "./virtual-cluster.ts";

const HOME: Region = { x: 0, y: 0, z: 0 };
const TICK_MS = 50;

function update(key: string): EventualUpdate {
  return { type: "creature_position", region: HOME, key, value: new Uint8Array([1]), deleted: false, timestampMs: 0 };
}

/** A mesh on whose node 2 somebody reads; node 1 has heard of it. */
function readOn2(): { cluster: VirtualCluster; publish: (key: string) => void; cameMs: Map<string, number> } {
  const cluster = new VirtualCluster();
  cluster.run(2_000);
  cluster.node(2).subscriptions.subscribe({ regions: [HOME], strong: false, eventual: true, causal: false, resumeToken: "" });
  cluster.run(200);
  const cameMs = new Map<string, number>();
  const { eventual } = cluster.node(2);
  const hub = cluster.node(2).subscriptions;
  eventual.listen({
    changed: (value, register) => {
      cameMs.set(value.key, cluster.nowMs);
      hub.changed(value, register);
    },
    forgotten: (register, region) => hub.forgotten(register, region),
  });
  const node = cluster.node(1);
  const publish = (key: string): void => {
    node.eventual.publish([update(key)], 1, cluster.nowMs, node.clock, node.options.policy);
  };
  return { cluster, publish, cameMs };
}

describe("what is published where another node reads it", () => {
  it("is there in the time of one message, whenever in a tick it was published", () => {
    const { cluster, publish, cameMs } = readOn2();
    for (let at = 0; at < 20; at += 1) {
      cluster.run(TICK_MS + 3);
      const sentMs = cluster.nowMs;
      publish(`key-${at}`);
      cluster.run(TICK_MS);
      expect((cameMs.get(`key-${at}`) ?? Number.POSITIVE_INFINITY) - sentMs).toBeLessThan(15);
    }
  });

  it("goes together with what is published within 10 ms", () => {
    const { cluster, publish, cameMs } = readOn2();
    cluster.run(3);
    const beforeFrames = cluster.frames;
    const beganMs = cluster.nowMs;
    for (let at = 0; at < 1_000; at += 1) {
      publish(`key-${at}`);
      if (at % 2 === 1) cluster.run(1);
    }
    cluster.run(20);
    expect(cameMs.size).toBe(1_000);
    // To two peers, and answers, and beats.
    expect(cluster.frames - beforeFrames).toBeLessThan(((cluster.nowMs - beganMs) / 10) * 6);
  });

  it("is urgent once, until it has gone; what nobody reads is not", () => {
    const stores = new EventualCluster(3, {}, [0, 1, 2]);
    stores.keeper = 1;
    stores.interests[2]?.hold(HOME);
    stores.run(1_000);
    let urgent = 0;
    stores.stores[0]?.listenUrgent(() => (urgent += 1));
    stores.publish(0, "far", "1", { x: 90, y: 0, z: 0 });
    expect(urgent).toBe(0);
    stores.publish(0, "near", "1");
    stores.publish(0, "near", "2");
    expect(urgent).toBe(1);
    expect(stores.stores[0]?.spread(stores.nowMs).map(({ to, delta }) => [to, delta.values.map(({ key }) => key), delta.digests])).toEqual([[2, ["far", "near"], []], [3, ["near"], []]]);
    stores.publish(0, "near", "3");
    expect(urgent).toBe(2);
  });

  it("takes no more of a way than the limits of a tick, however often it goes", () => {
    const stores = new EventualCluster(2, { maxValuesPerTick: 8 }, [0, 1]);
    stores.interests[1]?.hold(HOME);
    stores.run(1_000);
    const sent = (deltas: ReturnType<(typeof stores.stores)[number]["spread"]> = []): number => deltas.reduce((sum, { delta }) => sum + delta.values.length, 0);
    const parts = [0, 1, 2].map((part) => {
      stores.publishAll(0, Array.from({ length: 5 }, (_, at) => [`key-${part}-${at}`, "1"]));
      return sent(stores.stores[0]?.spread(stores.nowMs));
    });
    expect(parts).toEqual([5, 3, 0]);
    expect(sent(stores.stores[0]?.tick(stores.nowMs + TICK_MS))).toBe(7);
  });
});

describe("the pace", () => {
  it("lets a first change go at once, and the next ones 10 ms apart", () => {
    const pace = new SpreadPace(TICK_MS);
    expect(pace.due(1_000)).toBe(0);
    pace.goes(1_000, true);
    expect(pace.due(1_004)).toBe(6);
    pace.goes(1_010, true);
    expect(pace.due(2_000)).toBe(0);
  });

  it("lets more come together where the node comes late to it, up to a tick, and less again where it does not", () => {
    const pace = new SpreadPace(TICK_MS);
    let nowMs = 0;
    const turn = (lateMs: number): number => {
      const waitMs = pace.due(nowMs);
      nowMs += waitMs + lateMs;
      pace.goes(nowMs, true);
      return waitMs;
    };
    for (let at = 0; at < 10; at += 1) turn(30);
    expect(turn(30)).toBe(TICK_MS);
    for (let at = 0; at < 50; at += 1) turn(0);
    expect(turn(0)).toBe(10);
  });

  it("counts what went with a tick", () => {
    const pace = new SpreadPace(TICK_MS);
    pace.goes(1_000, false);
    expect(pace.due(1_002)).toBe(8);
  });
});
