import type { CausalGroupEvents, DeliveredEvent, Region, StoreCausalEventsResponse } from "@statemesh/contract";
import { DEFAULT_POLICY } from "@statemesh/world";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CausalBehind, type CausalBehindLimits, CausalLog } from "../src/causal/index.ts";

const TICK_MS = 50;
const NODES = 3;
const GROUPS = 3;

/** What the region store does with what it is given. */
class Store {
  readonly events = new Map<number, DeliveredEvent[]>();
  readonly marks = new Map<string, number>();
  readonly terms = new Map<number, number>();
  missing = 0;

  take(groups: readonly CausalGroupEvents[]): StoreCausalEventsResponse {
    return {
      groups: groups.map(({ groupId, term, origins, events }) => {
        const known = this.terms.get(groupId) ?? 0;
        const mark = (origin: number): number => this.marks.get(`${groupId} ${origin}`) ?? 0;
        const standing = () => origins.flatMap(({ origin }) => (mark(origin) > 0 ? [{ origin, sequence: mark(origin) }] : []));
        if (term < known) return { groupId, applied: false, term: known, origins: standing() };
        this.terms.set(groupId, term);
        const list = this.events.get(groupId) ?? [];
        this.events.set(groupId, list);
        const last = new Map(origins.map((each) => [each.origin, each.afterSequence]));
        for (const event of events) {
          const { origin, sequence } = event.id ?? { origin: 0, sequence: 0 };
          expect(sequence, "an event is named behind what its origin says, and in order").toBeGreaterThan(last.get(origin) ?? Number.POSITIVE_INFINITY);
          last.set(origin, sequence);
          if (sequence > mark(origin)) list.push(event);
        }
        for (const { origin, afterSequence, throughSequence } of origins) {
          expect(throughSequence).toBeGreaterThanOrEqual(last.get(origin) ?? 0);
          if (throughSequence > mark(origin)) {
            this.missing += Math.max(0, afterSequence - mark(origin));
            this.marks.set(`${groupId} ${origin}`, throughSequence);
          }
        }
        return { groupId, applied: true, term, origins: standing() };
      }),
    };
  }

  keys(groupId: number): string[] {
    return (this.events.get(groupId) ?? []).map(({ event }) => event?.key ?? "");
  }
}

interface Call {
  readonly groups: CausalGroupEvents[];
  readonly done: (response: StoreCausalEventsResponse | undefined) => void;
}

/** Nodes that publish, each leading some groups by its own belief, and one store. */
class World {
  readonly store = new Store();
  readonly logs: CausalLog[] = [];
  readonly behind: CausalBehind[] = [];
  readonly calls: Call[] = [];
  readonly terms: number[] = Array.from({ length: GROUPS + 1 }, () => 0);
  /** By node and group, the term in which the node believes that it leads. */
  readonly beliefs: Map<number, number>[] = [];
  /** Keys by node, and what each event follows. */
  readonly delivered: string[][] = [];
  readonly past = new Map<string, ReadonlySet<string>>();
  nowMs = 0;
  #count = 0;

  constructor(limits: Partial<CausalBehindLimits> = {}, kept = 10_000) {
    for (let at = 0; at < NODES; at += 1) {
      const log = new CausalLog({ nodeId: at + 1, incarnation: 7, limits: { frontierEveryTicks: 2, maxKeptEvents: kept } });
      for (let peer = 0; peer < NODES; peer += 1) if (peer !== at) log.peerUp(peer + 1);
      const belief = new Map<number, number>();
      const behind = new CausalBehind({ log, groupOf: ({ x }: Region) => x, termOf: (groupId) => belief.get(groupId), store: (groups, done) => this.calls.push({ groups, done }), limits });
      log.listenBehind((event) => behind.delivered(event));
      const delivered: string[] = [];
      log.listen(({ event }) => delivered.push(event?.key ?? ""));
      this.delivered.push(delivered);
      this.logs.push(log);
      this.behind.push(behind);
      this.beliefs.push(belief);
    }
  }

  publish(node: number, groupId: number, count = 1): void {
    const events = Array.from({ length: count }, () => ({ type: "event_sequence", region: { x: groupId, y: 0, z: 0 }, key: `e${this.#count++}`, payload: Uint8Array.of(1) }));
    const past = new Set(this.delivered[node]);
    for (const { key } of events) this.past.set(key, past);
    // They follow all that was delivered here.
    this.logs[node]?.publish(events, 1, this.logs[node]?.frontier(), DEFAULT_POLICY);
  }

  /** The node comes to lead; who led may not know it yet. */
  elect(node: number, groupId: number, isKnown: boolean): void {
    this.terms[groupId] = (this.terms[groupId] ?? 0) + 1;
    for (let other = 0; other < NODES; other += 1) if (isKnown && other !== node && this.beliefs[other]?.delete(groupId) === true) this.behind[other]?.leaderChanged(groupId, false);
    this.beliefs[node]?.set(groupId, this.terms[groupId] ?? 0);
    this.behind[node]?.leaderChanged(groupId, true);
  }

  tick(node: number): void {
    this.nowMs += TICK_MS;
    for (const { to, batch } of this.logs[node]?.tick(this.nowMs) ?? []) this.logs[to - 1]?.onBatch(node + 1, structuredClone(batch));
    this.behind[node]?.tick(this.nowMs);
  }

  /** The store gets a call, or does not, and its answer gets back, or does not. */
  answer(arrives: boolean, returns: boolean): void {
    const call = this.calls.shift();
    if (call === undefined) return;
    const response = arrives ? this.store.take(structuredClone(call.groups)) : undefined;
    call.done(returns ? response : undefined);
  }

  settle(): void {
    for (let groupId = 1; groupId <= GROUPS; groupId += 1) this.elect(groupId - 1, groupId, true);
    for (let round = 0; round < 400; round += 1) {
      for (let node = 0; node < NODES; node += 1) this.tick(node);
      while (this.calls.length > 0) this.answer(true, true);
    }
  }
}

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("publish" as const), node: fc.nat(NODES - 1), groupId: fc.integer({ min: 1, max: GROUPS }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("tick" as const), node: fc.nat(NODES - 1) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("answer" as const), arrives: fc.boolean(), returns: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("elect" as const), node: fc.nat(NODES - 1), groupId: fc.integer({ min: 1, max: GROUPS }), isKnown: fc.boolean() }) },
);

describe("causal events written behind", () => {
  it("are in the store each once, none before what it follows, whoever leads, whatever is lost on the way", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), fc.constantFrom(1, 3, 2_048), fc.constantFrom(2, 65_536), (steps, maxEvents, maxWaiting) => {
        const world = new World({ maxEvents, maxWaiting, flushEveryMs: 100, retryMs: 100, markEvents: 2, markEveryMs: 300 });
        const published = new Map<string, number>();
        for (const each of steps) {
          if (each.do === "publish") {
            published.set(`e${published.size}`, each.groupId);
            world.publish(each.node, each.groupId);
          } else if (each.do === "tick") world.tick(each.node);
          else if (each.do === "answer") world.answer(each.arrives, each.returns);
          else world.elect(each.node, each.groupId, each.isKnown);
        }
        world.settle();
        for (let groupId = 1; groupId <= GROUPS; groupId += 1) {
          const keys = world.store.keys(groupId);
          expect(keys.toSorted()).toEqual([...published].filter(([, of]) => of === groupId).map(([key]) => key).sort());
          const before = new Set<string>();
          for (const key of keys) {
            for (const cause of world.past.get(key) ?? []) if (published.get(cause) === groupId) expect(before, `${cause} before ${key}`).toContain(cause);
            before.add(key);
          }
        }
        expect(world.store.missing).toBe(0);
        expect(world.behind.every((behind) => behind.isIdle && behind.statistics().waiting === 0)).toBe(true);
      }),
      { numRuns: 100 },
    );
  }, 120_000);

  it("wait up to a limit while the store is away; then the newest are kept, and the store hears how many it never got", () => {
    const world = new World({ maxWaiting: 50, flushEveryMs: 100, retryMs: 100 }, 20);
    world.elect(0, 1, true);
    const flow = (ticks: number, away: boolean): void => {
      for (let at = 0; at < ticks; at += 1) {
        world.tick(0);
        while (world.calls.length > 0) world.answer(!away, !away);
      }
    };
    flow(5, false);
    for (let at = 0; at < 40; at += 1) world.publish(0, 1);
    flow(20, true);
    expect(world.behind[0]?.statistics()).toMatchObject({ waiting: 40, overflowed: 0 });
    expect(world.behind[0]?.statistics().lagMs).toBeGreaterThan(900);
    for (let at = 0; at < 60; at += 1) world.publish(0, 1);
    expect(world.behind[0]?.statistics()).toMatchObject({ waiting: 0, overflowed: 1 });
    flow(10, false);
    expect(world.store.keys(1)).toEqual(Array.from({ length: 20 }, (_, at) => `e${80 + at}`));
    expect(world.store.missing).toBe(80);
    expect(world.behind[0]?.statistics()).toMatchObject({ waiting: 0, missing: 80, lagMs: 0 });
  });

  it("are written though more was kept than may wait, and more comes all the time", () => {
    const world = new World({ maxWaiting: 10, maxEvents: 5, flushEveryMs: 100, retryMs: 100 }, 300);
    world.elect(0, 1, true);
    for (let at = 0; at < 200; at += 1) world.publish(0, 1);
    for (let at = 0; at < 150; at += 1) {
      if (at % 4 === 0) world.publish(0, 1);
      world.tick(0);
      while (world.calls.length > 0) world.answer(true, true);
    }
    expect(world.store.keys(1).length).toBeGreaterThan(230);
    expect(world.store.missing).toBe(0);
  });

  it("say of an origin how far it has come though nothing of it is the group's, so that who comes to lead later misses nothing", () => {
    const world = new World({ flushEveryMs: 100, markEvents: 10, markEveryMs: 500 }, 30);
    world.elect(0, 1, true);
    world.elect(0, 2, true);
    for (let at = 0; at < 40; at += 1) {
      world.publish(0, 2, 5);
      for (let node = 0; node < NODES; node += 1) world.tick(node);
      while (world.calls.length > 0) world.answer(true, true);
    }
    for (let at = 0; at < 20; at += 1) {
      for (let node = 0; node < NODES; node += 1) world.tick(node);
      while (world.calls.length > 0) world.answer(true, true);
    }
    world.elect(1, 1, true);
    world.publish(0, 1);
    for (let at = 0; at < 20; at += 1) {
      for (let node = 0; node < NODES; node += 1) world.tick(node);
      while (world.calls.length > 0) world.answer(true, true);
    }
    expect(world.store.keys(1)).toEqual(["e200"]);
    expect(world.store.missing).toBe(0);
  });
});
