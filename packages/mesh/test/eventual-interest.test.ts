// Node 0 publishes; node 1 keeps all regions, as the leader of their group does; node 2 reads some.
import type { Region } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { EventualCluster, HOME } from "./eventual-cluster.ts";

const FAR: Region = { x: 7, y: 0, z: 0 };
const TICK_MS = 50;
const NEVER = (): boolean => false;

/** Three nodes that have told each other what they read: nothing. */
function settled(saying = [0, 1, 2]): EventualCluster {
  const cluster = new EventualCluster(3, {}, saying);
  cluster.keeper = 1;
  cluster.run(1_000);
  return cluster;
}

describe("eventual values", () => {
  it("go at once to nodes on which they are read, and to the one that keeps them; to others within half a second", () => {
    const cluster = settled();
    cluster.interests[2]?.hold(FAR);
    cluster.run(2 * TICK_MS);
    cluster.publish(0, "near", "1", HOME);
    cluster.publish(0, "far", "1", FAR);
    cluster.run(TICK_MS);
    expect([cluster.holds(1, HOME), cluster.holds(1, FAR), cluster.holds(2, HOME), cluster.holds(2, FAR)]).toEqual([{ near: "1" }, { far: "1" }, {}, { far: "1" }]);
    cluster.run(500);
    expect(cluster.holds(2, HOME)).toEqual({ near: "1" });
    expect(cluster.stores[2]?.statistics().repairsAsked).toBe(0);
  });

  it("that nobody reads are sent with their latest value, in a fraction of the bytes", () => {
    const bytes = [[], [0, 1, 2]].map((saying) => {
      const cluster = settled(saying);
      const before = cluster.bytes;
      for (let step = 0; step < 100; step += 1) {
        cluster.publishAll(0, Array.from({ length: 50 }, (_, at) => [`creature-${at}`, `at ${step}, or about there`]));
        cluster.run(TICK_MS);
      }
      cluster.run(1_000);
      expect(cluster.holds(2)["creature-7"]).toBe("at 99, or about there");
      expect(cluster.stores[2]?.statistics().repairsAsked).toBe(0);
      return { sent: cluster.bytes - before, spared: cluster.stores[0]?.statistics().sparedBytes ?? 0 };
    });
    const [all = { sent: 0, spared: 0 }, some = { sent: 0, spared: 0 }] = bytes;
    expect(all.spared).toBe(0);
    expect(some.spared).toBeGreaterThan(0);
    // One of two peers keeps them; the other gets every tenth or eleventh.
    expect(some.sent / all.sent).toBeLessThan(0.58);
  });

  it("all go at once to a node that never said what it reads", () => {
    const cluster = settled([0]);
    cluster.publish(0, "near", "1");
    cluster.run(TICK_MS);
    expect(cluster.holds(2)).toEqual({ near: "1" });
  });

  it("that are held back come as soon as somebody reads there", () => {
    const cluster = settled();
    cluster.publish(0, "near", "1");
    cluster.run(TICK_MS);
    expect(cluster.holds(2)).toEqual({});
    cluster.interests[2]?.hold(HOME);
    cluster.run(2 * TICK_MS);
    expect(cluster.holds(2)).toEqual({ near: "1" });
    cluster.publish(0, "near", "2");
    cluster.run(TICK_MS);
    expect(cluster.holds(2)).toEqual({ near: "2" });
  });

  it("that are held back come then whenever that is, also where all is being said again", () => {
    for (let ticks = 0; ticks < 100; ticks += 1) {
      const cluster = settled();
      cluster.run(ticks * TICK_MS);
      cluster.publish(0, "near", "1");
      cluster.run(TICK_MS);
      cluster.interests[2]?.hold(HOME);
      cluster.run(2 * TICK_MS);
      expect([ticks, cluster.holds(2)]).toEqual([ticks, { near: "1" }]);
    }
  });

  it("of other regions are still held back when somebody begins to read", () => {
    const cluster = settled();
    cluster.publish(0, "near", "1", HOME);
    cluster.publish(0, "far", "1", FAR);
    cluster.run(TICK_MS);
    cluster.interests[2]?.hold(FAR);
    cluster.run(2 * TICK_MS);
    expect([cluster.holds(2, HOME), cluster.holds(2, FAR)]).toEqual([{}, { far: "1" }]);
    cluster.run(500);
    expect(cluster.holds(2, HOME)).toEqual({ near: "1" });
  });

  it("come at once for 10 s after somebody has read without a subscription, and for as long as one of several subscriptions is open", () => {
    const cluster = settled();
    cluster.stores[2]?.read(HOME);
    cluster.interests[2]?.hold(FAR);
    cluster.interests[2]?.hold(FAR);
    cluster.interests[2]?.release(FAR);
    let step = 0;
    const atOnce = (region: Region): boolean => {
      step += 1;
      cluster.publish(0, "key", String(step), region);
      cluster.run(TICK_MS);
      return cluster.holds(2, region)["key"] === String(step);
    };
    cluster.run(2 * TICK_MS);
    expect([atOnce(HOME), atOnce(FAR)]).toEqual([true, true]);
    cluster.run(8_000);
    expect([atOnce(HOME), atOnce(FAR)]).toEqual([true, true]);
    cluster.interests[2]?.release(FAR);
    cluster.run(10_000);
    expect([atOnce(HOME), atOnce(FAR)]).toEqual([false, false]);
  });

  it("that a session waits for come without the half second", () => {
    const cluster = settled();
    cluster.publish(0, "near", "1");
    const seen = cluster.stores[0]?.frontier() ?? [];
    const covers = (): boolean => cluster.stores[2]?.covers(seen, NEVER) === true;
    cluster.run(TICK_MS);
    expect([seen.length, covers()]).toEqual([1, false]);
    cluster.run(2 * TICK_MS);
    expect([covers(), cluster.holds(2)]).toEqual([true, { near: "1" }]);
  });

  it("reach everybody whatever is lost of what nodes say that they read, and are at once there again 5 s later", () => {
    const cluster = settled();
    cluster.losing = 12;
    cluster.interests[2]?.hold(HOME);
    cluster.publish(0, "near", "1");
    cluster.run(6_000);
    expect(cluster.holds(2)).toEqual({ near: "1" });
    cluster.publish(0, "near", "2");
    cluster.run(TICK_MS);
    expect(cluster.holds(2)).toEqual({ near: "2" });
  });

  it("go to whoever comes back as to somebody new: all at once, until it says what it reads", () => {
    const cluster = settled();
    cluster.cut(0, 2);
    cluster.publish(0, "near", "1");
    cluster.run(1_000);
    cluster.heal(0, 2);
    cluster.run(3 * TICK_MS);
    expect(cluster.holds(2)).toEqual({ near: "1" });
    cluster.publish(0, "near", "2");
    cluster.run(TICK_MS);
    expect(cluster.holds(2)).toEqual({ near: "1" });
    cluster.run(500);
    expect(cluster.holds(2)).toEqual({ near: "2" });
  });

  it("are all wanted where more regions are read than are named", () => {
    const cluster = settled();
    for (let x = 0; x < 4_097; x += 1) cluster.interests[2]?.hold({ x, y: 5, z: 0 });
    cluster.run(2 * TICK_MS);
    cluster.publish(0, "near", "1");
    cluster.run(TICK_MS);
    expect(cluster.holds(2)).toEqual({ near: "1" });
  });
});
