import type { EventualValue } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { WriteBehind, type WriteBehindLimits } from "../src/eventual/write-behind.ts";
import { Restore } from "../src/eventual/restore.ts";

const HOME = { x: 0, y: 0, z: 0 };
const AWAY = { x: 100, y: 0, z: 0 };
const TICK_MS = 50;

function value(key: string, serial: number, region = HOME): EventualValue {
  return { type: "creature_position", region, key, value: Uint8Array.of(serial), deleted: false, serverId: 1, stamp: { physicalMs: serial, logical: 0 } };
}

/** A node that leads the group of HOME, and a store that may be away. */
class Node {
  readonly behind: WriteBehind;
  readonly keys = new Map<string, { value: EventualValue; register: object }>();
  readonly batches: EventualValue[][] = [];
  isAway = false;
  leads = true;
  answers: (() => void)[] = [];
  nowMs = 1_000_000;

  constructor(limits: Partial<WriteBehindLimits> = {}) {
    this.behind = new WriteBehind({
      leads: (region) => this.leads && region.x === 0,
      valuesOfGroup: () => [...this.keys.values()][Symbol.iterator](),
      store: (values, _beforeMs, done) => {
        const isAway = this.isAway;
        if (!isAway) this.batches.push([...values]);
        this.answers.push(() => done(!isAway));
      },
      horizonMs: 600_000,
      limits,
    });
  }

  write(key: string, serial: number, region = HOME): void {
    const held = this.keys.get(key) ?? { value: value(key, serial, region), register: {} };
    held.value = value(key, serial, region);
    this.keys.set(key, held);
    this.behind.changed(held.value, held.register);
  }

  run(ms: number): void {
    for (let passed = 0; passed < ms; passed += TICK_MS) {
      this.nowMs += TICK_MS;
      this.behind.tick(this.nowMs);
      for (const answer of this.answers.splice(0)) answer();
    }
  }

  get stored(): Record<string, number> {
    const newest = new Map<string, number>();
    for (const batch of this.batches) for (const { key, value: [serial = 0] } of batch) newest.set(key, Math.max(serial, newest.get(key) ?? 0));
    return Object.fromEntries(newest);
  }
}

describe("eventual values written behind", () => {
  it("leave within a flush interval, each key once with its latest value, and only where the node leads", () => {
    const node = new Node();
    node.run(100);
    for (let serial = 1; serial <= 20; serial += 1) {
      node.write("wolf", serial);
      node.write("bear", serial);
      node.write("crow", serial, AWAY);
    }
    node.run(1_050);
    expect(node.batches).toHaveLength(1);
    expect(node.stored).toEqual({ wolf: 20, bear: 20 });
    expect(node.behind.isIdle).toBe(true);
  });

  it("leave in batches of bounded size, one at a time, without waiting where there is more than one", () => {
    const node = new Node({ maxBatchValues: 10 });
    for (let at = 0; at < 95; at += 1) node.write(`k${at}`, 1);
    node.run(450);
    expect(node.batches).toHaveLength(9);
    node.run(1_000);
    expect(node.batches.map((batch) => batch.length)).toEqual([...Array.from({ length: 9 }, () => 10), 5]);
    for (let at = 0; at < 95; at += 1) node.write(`k${at}`, 2);
    node.behind.tick(node.nowMs + 1_000);
    node.behind.tick(node.nowMs + 5_000);
    expect(node.answers).toHaveLength(1);
  });

  it("wait while the store is away, and none is lost or goes back by what failed", () => {
    const node = new Node({ maxBatchValues: 4 });
    node.isAway = true;
    for (let at = 0; at < 10; at += 1) node.write(`k${at}`, 1);
    node.run(10_000);
    expect(node.behind.statistics()).toMatchObject({ waiting: 10, written: 0 });
    // Tried once a second, not in a loop.
    expect(node.behind.statistics().failed).toBeLessThanOrEqual(11);
    node.write("k3", 2);
    node.isAway = false;
    node.run(5_000);
    expect(node.stored).toEqual({ ...Object.fromEntries(Array.from({ length: 10 }, (_, at) => [`k${at}`, 1])), k3: 2 });
  });

  it("are written as a whole once more changed than may wait, and when the node comes to lead", () => {
    const node = new Node({ maxWaiting: 5, maxBatchValues: 4 });
    node.behind.leaderChanged(1, true);
    node.run(100);
    node.isAway = true;
    for (let at = 0; at < 20; at += 1) node.write(`k${at}`, 1);
    expect(node.behind.statistics()).toMatchObject({ overflowed: 1 });
    expect(node.behind.statistics().waiting).toBe(5);
    node.run(3_000);
    node.isAway = false;
    node.run(10_000);
    expect(Object.keys(node.stored)).toHaveLength(20);
    const heir = new Node();
    for (let at = 0; at < 20; at += 1) heir.keys.set(`k${at}`, { value: value(`k${at}`, 1), register: {} });
    heir.behind.leaderChanged(1, true);
    heir.run(2_000);
    expect(Object.keys(heir.stored)).toHaveLength(20);
    expect(heir.behind.isIdle).toBe(true);
  });
});

describe("a node that leads no more", () => {
  it.each(["waits", "is being written"])("never writes a value again that %s, nor after the store failed: it may be deleted elsewhere, and that forgotten", (where) => {
    const node = new Node();
    node.behind.leaderChanged(1, true);
    node.run(100);
    node.isAway = true;
    node.write("wolf", 1);
    if (where === "waits") node.run(3_000);
    else {
      node.nowMs += 2_000;
      node.behind.tick(node.nowMs);
      expect(node.answers).toHaveLength(1);
    }
    node.leads = false;
    node.behind.leaderChanged(1, false);
    // Deleted where another leads, and forgotten.
    node.keys.delete("wolf");
    node.run(3_000);
    expect(node.behind.isIdle).toBe(true);
    node.isAway = false;
    node.run(3_000);
    node.leads = true;
    node.write("bear", 1);
    node.behind.leaderChanged(1, true);
    node.run(3_000);
    expect(node.stored).toEqual({ bear: 1 });
  });
});

describe("a node that starts", () => {
  it("takes all pages of the store, and asks again for one that did not come", () => {
    const taken: string[] = [];
    let fails = 2;
    const restore = new Restore(
      (pageToken, done) => {
        if (pageToken === "2" && fails > 0) {
          fails -= 1;
          return done(undefined);
        }
        const page = Number(pageToken === "" ? "0" : pageToken);
        done({ values: [value(`k${page}`, 1)], nextPageToken: page === 4 ? "" : String(page + 1) });
      },
      (values) => taken.push(...values.map(({ key }) => key)),
    );
    const filling: boolean[] = [restore.isFilling];
    for (let nowMs = 0; nowMs < 10_000 && !restore.isDone; nowMs += TICK_MS) {
      restore.tick(nowMs);
      filling.push(restore.isFilling);
    }
    // While the store does not answer, peers are asked.
    expect(filling.filter((is, at) => is !== filling[at - 1])).toEqual([true, false, true, false]);
    expect(taken).toEqual(["k0", "k1", "k2", "k3", "k4"]);
    expect(restore).toMatchObject({ isDone: true, restored: 5 });
  });
});
