// What a node takes of its callers where more comes than is decided: whatever it is that is slow.
import { describe, expect, it } from "vitest";
import { Admission, FREE, NodeLoad } from "../src/flow/admission.ts";

const TARGET_MS = 250;
const STEP_MS = 5;

interface Bringer {
  readonly serverId: number;
  readonly perSecond: number;
}

interface Done {
  readonly serverId: number;
  readonly cameMs: number;
  readonly atMs: number;
  readonly isFirst: boolean;
}

/** A mesh that decides so many a second, one after the other, and takes so long for each besides. */
class Mesh {
  nowMs = 0;
  perSecond = 2_000;
  besidesMs = 10;
  readonly admission: Admission;
  readonly decided: Done[] = [];
  readonly delaysMs: number[] = [];
  readonly refused = new Map<number, number>();
  #freeAtMs = 0;
  #underWay: Done[] = [];
  readonly #due = new Map<number, number>();

  constructor(node = new NodeLoad()) {
    this.admission = new Admission(TARGET_MS, 0, node);
  }

  run(seconds: number, bringers: readonly Bringer[]): void {
    for (const endMs = this.nowMs + seconds * 1_000; this.nowMs < endMs; this.nowMs += STEP_MS) {
      const ready = this.#underWay.filter(({ atMs }) => atMs <= this.nowMs);
      this.#underWay = this.#underWay.filter(({ atMs }) => atMs > this.nowMs);
      for (const done of ready) {
        this.admission.ended(done.serverId, 1, done.isFirst, done.atMs - done.cameMs, done.atMs);
        this.decided.push(done);
      }
      for (const { serverId, perSecond } of bringers) {
        let due = (this.#due.get(serverId) ?? 0) + (perSecond * STEP_MS) / 1_000;
        for (; due >= 1; due--) this.#offer(serverId);
        this.#due.set(serverId, due);
      }
    }
  }

  #offer(serverId: number): void {
    const delayMs = this.admission.refusal(serverId, 1, this.nowMs);
    if (delayMs !== undefined) {
      this.delaysMs.push(delayMs);
      this.refused.set(serverId, (this.refused.get(serverId) ?? 0) + 1);
      return;
    }
    const isFirst = this.admission.began(serverId, 1);
    this.#freeAtMs = Math.max(this.#freeAtMs, this.nowMs) + 1_000 / this.perSecond;
    this.#underWay.push({ serverId, cameMs: this.nowMs, atMs: this.#freeAtMs + this.besidesMs, isFirst });
  }

  /** Waits of what was decided since, ascending, milliseconds. */
  waits(sinceMs: number, serverId?: number): number[] {
    return this.decided.filter((done) => done.atMs >= sinceMs && (serverId ?? done.serverId) === done.serverId).map(({ cameMs, atMs }) => atMs - cameMs).sort((a, b) => a - b);
  }
}

function p99(sorted: readonly number[]): number {
  return sorted[Math.floor(sorted.length * 0.99)] ?? 0;
}

describe("where more comes than is decided", () => {
  it("what is taken waits little longer than it may, and as much is decided as can be", () => {
    const mesh = new Mesh();
    mesh.run(5, [{ serverId: 1, perSecond: 8_000 }]);
    const fromMs = mesh.nowMs;
    mesh.run(10, [{ serverId: 1, perSecond: 8_000 }]);
    const waits = mesh.waits(fromMs);
    expect(p99(waits)).toBeLessThan(2 * TARGET_MS);
    expect(waits.length).toBeGreaterThan(0.95 * 10 * mesh.perSecond);
  });

  it("what waits while that is found out waits a second or so", () => {
    const mesh = new Mesh();
    mesh.run(5, [{ serverId: 1, perSecond: 8_000 }]);
    expect(mesh.waits(0).at(-1)).toBeLessThan(1_500);
  });

  it("a load that stands for ten minutes does not come to pass for none", () => {
    const mesh = new Mesh();
    mesh.perSecond = 400;
    mesh.run(600, [{ serverId: 1, perSecond: 1_600 }]);
    expect(p99(mesh.waits(590_000))).toBeLessThan(2 * TARGET_MS);
  });

  it("of one group, no other group of the node takes its waits for those without load", () => {
    const node = new NodeLoad();
    const busy = new Mesh(node);
    const other = new Mesh(node);
    const load = [{ serverId: 1, perSecond: 8_000 }];
    // Both are slow for the same reason, and begin at the same time.
    for (let second = 0; second < 60; second++) {
      busy.run(1, load);
      other.run(1, load);
    }
    for (const each of [busy, other]) expect(p99(each.waits(55_000))).toBeLessThan(2 * TARGET_MS);
  });

  it("who is refused is told to come again later the more is offered", () => {
    const twice = new Mesh();
    twice.run(10, [{ serverId: 1, perSecond: 4_000 }]);
    const eightTimes = new Mesh();
    eightTimes.run(10, [{ serverId: 1, perSecond: 16_000 }]);
    const [less = 0, more = 0] = [twice, eightTimes].map(({ delaysMs }) => delaysMs.at(-1));
    expect(less).toBeGreaterThanOrEqual(50);
    expect(more).toBeGreaterThan(1.5 * less);
    expect(more).toBeLessThanOrEqual(2_000);
  });

  it("a polite server beside a greedy one is refused nothing", () => {
    const mesh = new Mesh();
    mesh.run(20, [{ serverId: 1, perSecond: 8_000 }, { serverId: 2, perSecond: 100 }]);
    expect(mesh.refused.get(2)).toBeUndefined();
    expect(mesh.refused.get(1)).toBeGreaterThan(100_000);
    expect(mesh.waits(0, 2).length).toBeGreaterThan(1_900);
  });

  it("two that want more than there is get about as much", () => {
    const mesh = new Mesh();
    mesh.run(20, [{ serverId: 1, perSecond: 16_000 }, { serverId: 2, perSecond: 4_000 }]);
    const [one, other] = [mesh.waits(5_000, 1).length, mesh.waits(5_000, 2).length];
    expect(Math.min(one, other) / Math.max(one, other)).toBeGreaterThan(0.4);
  });
});

describe("where all is decided that comes", () => {
  it("nothing is refused", () => {
    const mesh = new Mesh();
    mesh.run(30, [{ serverId: 1, perSecond: 1_900 }]);
    expect(mesh.delaysMs).toEqual([]);
  });

  it("far peers are no load: nothing is refused however long one takes, and it does not matter when they went far", () => {
    const mesh = new Mesh();
    mesh.perSecond = 100_000;
    mesh.besidesMs = 600;
    mesh.run(5, [{ serverId: 1, perSecond: 100 }]);
    mesh.run(10, [{ serverId: 1, perSecond: 1_000 }]);
    expect(mesh.delaysMs).toEqual([]);
    mesh.besidesMs = 1_200;
    mesh.run(60, [{ serverId: 1, perSecond: 1_000 }]);
    const fromMs = mesh.nowMs;
    const before = mesh.delaysMs.length;
    mesh.run(20, [{ serverId: 1, perSecond: 1_000 }]);
    expect(mesh.waits(fromMs).length).toBeGreaterThan(0.9 * 20 * 1_000);
    expect(mesh.delaysMs.length - before).toBeLessThan(0.1 * 20 * 1_000);
  });

  it("a burst is taken whole after a while without any load", () => {
    const mesh = new Mesh();
    mesh.run(10, [{ serverId: 1, perSecond: 8_000 }]);
    mesh.run(30, []);
    const before = mesh.delaysMs.length;
    mesh.run(0.005, [{ serverId: 1, perSecond: 400_000 }]);
    expect([mesh.delaysMs.length - before, mesh.admission.inFlight]).toEqual([0, 2_000]);
  });

  it("a burst is taken whole after any load that was", () => {
    const mesh = new Mesh();
    mesh.run(10, [{ serverId: 1, perSecond: 8_000 }]);
    mesh.run(30, [{ serverId: 1, perSecond: 200 }]);
    const before = mesh.delaysMs.length;
    mesh.run(0.005, [{ serverId: 1, perSecond: 400_000 }]);
    expect(mesh.delaysMs.length).toBe(before);
    expect(mesh.admission.inFlight).toBeGreaterThan(FREE);
  });

  it("in a group that is slower than can count, no other group of the node is kept waiting for what would be found out", () => {
    const node = new NodeLoad();
    const slow = new Mesh(node);
    const quick = new Mesh(node);
    slow.perSecond = 30;
    for (let i = 0; i < 900; i++) {
      slow.run(0.1, [{ serverId: 1, perSecond: 300 }]);
      quick.run(0.1, [{ serverId: 1, perSecond: 500 }]);
    }
    expect(quick.delaysMs.length).toBe(0);
    expect(slow.admission.inFlight).toBeLessThanOrEqual(FREE);
  });
});
