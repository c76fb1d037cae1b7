import type { Region } from "@statemesh/contract";
import { regionsOfBall } from "@statemesh/world";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SubscriptionLimits } from "../src/subscriptions/index.ts";
import { connect, gossip, groupOf, Logs, nameOf, Node, placeOf, Reader, REGIONS } from "./subscription-world.ts";

const write = fc.record({ id: fc.integer({ min: 0, max: 3 }), region: fc.nat(1), remove: fc.boolean() });
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("append" as const), group: fc.integer({ min: 1, max: 2 }), writes: fc.array(write, { minLength: 1, maxLength: 5 }) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("apply" as const), node: fc.nat(1), group: fc.integer({ min: 1, max: 2 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("publish" as const), node: fc.nat(1), region: fc.nat(3), key: fc.constantFrom("a", "b", "c"), value: fc.nat(255), deleted: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("emit" as const), node: fc.nat(1), region: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("gossip" as const) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("read" as const), bytes: fc.constantFrom(1, 200, 600, 100_000) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("move" as const), place: fc.nat(4), told: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reconnect" as const), node: fc.nat(1) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Where a ball of 300 m reaches one or two of the regions, or a neighbour of them. */
const PLACES = [at(1_000, 1_000, 1_000), at(1_950, 1_000, 1_000), at(3_600, 1_000, 1_000), at(1_000, 19_000, 1_950), at(1_000, 19_000, 2_350)];

function at(x: number, y: number, z: number): { x: number; y: number; z: number } {
  return { x, y, z };
}

/** Runs the steps with one reader of `regions` (none: of an area that moves), then brings everything to rest and reads to the end. */
function play(steps: readonly Step[], regions: readonly Region[], limits: Partial<SubscriptionLimits>) {
  const logs = new Logs();
  const nodes = [new Node(1, limits), new Node(2, limits)];
  connect(nodes);
  const reader = new Reader();
  let at = 0;
  let events = 0;
  let area = regions.length > 0 ? undefined : { center: PLACES[0], radius: 300 };
  const subscribe = (node: number): number => (nodes[node] as Node).hub.subscribe({ regions, area, strong: false, eventual: false, causal: false, resumeToken: reader.token });
  let id = subscribe(0);
  const read = (bytes: number): boolean => {
    const response = nodes[at]?.hub.next(id, bytes);
    if (response !== undefined) reader.take(response);
    return response !== undefined;
  };
  // From its first message on it has a token to come back with.
  read(1);
  for (const s of steps) {
    if (s.kind === "append") {
      const home = REGIONS.filter((region) => groupOf(region) === s.group);
      logs.append(s.group, s.writes.map((w) => ({ id: `s${s.group}-${w.id}`, region: home[w.region] as Region, remove: w.remove })));
    } else if (s.kind === "apply") nodes[s.node]?.apply(logs, s.group);
    else if (s.kind === "publish") nodes[s.node]?.publish(REGIONS[s.region] as Region, s.key, s.value, s.deleted);
    else if (s.kind === "emit") nodes[s.node]?.emit(REGIONS[s.region] as Region, `e${events++}`);
    else if (s.kind === "gossip") gossip(nodes);
    else if (s.kind === "move") {
      if (area === undefined) continue;
      area = { center: PLACES[s.place], radius: 300 };
      // Some reach another node only when the reader comes back there.
      if (s.told) nodes[at]?.hub.move(id, area);
    } else if (s.kind === "read") {
      const told = nodes[at]?.readable.includes(id) === true;
      if (read(s.bytes) && !told) throw new Error("something to read, but nobody was told");
    } else {
      nodes[at]?.hub.unsubscribe(id);
      at = s.node;
      (nodes[at] as Node).readable.length = 0;
      id = subscribe(at);
      reader.reconnect();
    }
  }
  for (const node of nodes) for (const group of [1, 2]) while (node.apply(logs, group));
  for (let i = 0; i < 30; i += 1) gossip(nodes);
  if (area !== undefined) nodes[at]?.hub.move(id, area);
  for (let i = 0; read(300); i += 1) if (i > 10_000) throw new Error("never at the end");
  return { logs, node: nodes[at] as Node, reader, area };
}

function checkState({ node, reader }: ReturnType<typeof play>, regions: readonly Region[]): void {
  const names = new Set(regions.map(nameOf));
  const entities = [...node.entities.values()].filter((e) => names.has(nameOf(e.region)));
  expect([...reader.entities.values()].sort(byId)).toEqual(entities.sort(byId));
  const values = regions.flatMap((region) => node.store.valuesOf(region)).map((v) => `${nameOf(v.region)} ${v.key}=${v.value[0]}`);
  expect([...reader.values.values()].map((v) => `${nameOf(v.region)} ${v.key}=${v.value[0]}`).sort()).toEqual(values.sort());
}

function check(result: ReturnType<typeof play>, regions: readonly Region[]): void {
  checkState(result, regions);
  const { logs, reader } = result;
  const names = new Set(regions.map(nameOf));
  for (const group of [1, 2]) {
    const all = (logs.records.get(group) ?? []).flatMap((record) => record.changes.filter((c) => names.has(nameOf(c.entity?.region))).map(placeOf));
    const seen = reader.changes.get(group) ?? [];
    // In order, without a gap, without a repeat, up to the end.
    expect(seen).toEqual(all.slice(all.length - seen.length));
  }
}

const byId = (a: { entityId: string }, b: { entityId: string }): number => (a.entityId < b.entityId ? -1 : 1);
const someRegions = fc.subarray(REGIONS, { minLength: 1 });
/** Room for everything that a run makes. */
const WIDE: Partial<SubscriptionLimits> = { maxRecentChanges: 1_000 };
const NARROW: Partial<SubscriptionLimits> = { maxQueued: 4, maxRecentChanges: 5, maxSnapshotItems: 6 };

describe("a subscription, in any interleaving of changes, reads and reconnects to nodes that are ahead or behind", () => {
  it("gives the state, then every change and every event, in order, once", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: "max" }), someRegions, (steps, regions) => {
        const result = play(steps, regions, WIDE);
        check(result, regions);
        expect(result.reader.lagged).toBe(0);
        const names = new Set(regions.map(nameOf));
        const events = result.node.events.filter((e) => names.has(nameOf(e.event?.region))).map((e) => e.event?.key ?? "");
        expect([...result.reader.events].sort()).toEqual(events.sort());
      }),
      { numRuns: 300 },
    );
  });

  it("starts a slow reader again with a snapshot, and is as exact from there", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: "max" }), someRegions, (steps, regions) => check(play(steps, regions, NARROW), regions)),
      { numRuns: 300 },
    );
  });
});

describe("a subscription whose area moves, in any interleaving with changes, reads and reconnects", () => {
  const checkArea = (result: ReturnType<typeof play>): void => {
    const { center, radius } = result.area as { center: { x: number; y: number; z: number }; radius: number };
    const { regions } = result.reader;
    for (const region of regionsOfBall(center, radius)) expect(regions).toContain(nameOf(region));
    const near = new Set(regionsOfBall(center, radius + 100).map(nameOf));
    expect(regions.filter((region) => !near.has(region))).toEqual([]);
    checkState(result, regions.map((name) => name.split(",").map(Number)).map(([x = 0, y = 0, z = 0]) => ({ x, y, z })));
  };

  it("holds in the end what stands in its regions, and is told nothing of others", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: "max" }), (steps) => {
        const result = play(steps, [], WIDE);
        checkArea(result);
        expect(result.reader.lagged).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it("starts again with a snapshot of where it is by then, where it is too slow", () => {
    fc.assert(fc.property(fc.array(step, { maxLength: 80, size: "max" }), (steps) => checkArea(play(steps, [], NARROW))), { numRuns: 300 });
  });
});
