// Readers of the same get the same, worked out once; how fast each reads, and where it stands, stays its own.
import type { EventualValue, Region, SubscribeResponse } from "@statemesh/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { connect, gossip, Logs, nameOf, Node, Reader, REGIONS } from "./subscription-world.ts";

const READERS = 6;
const HOME = REGIONS[0] as Region;

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("publish" as const), node: fc.nat(1), region: fc.nat(3), key: fc.constantFrom("a", "b", "c"), value: fc.nat(255), deleted: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("append" as const), id: fc.nat(3), remove: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("emit" as const), region: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("gossip" as const) }) },
  { weight: 10, arbitrary: fc.record({ kind: fc.constant("read" as const), reader: fc.nat(READERS - 1), bytes: fc.constantFrom(1, 100, 200, 100_000) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("read all" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reconnect" as const), reader: fc.nat(READERS - 1), node: fc.nat(1) }) },
);

/** One of several readers, at the node to which it is connected. */
class Follower {
  readonly reader = new Reader();
  readonly #wishes: { readonly strong: boolean; readonly eventualIntervalMs: number };
  readonly #stamps = new Map<string, number>();
  #node: Node;
  #id: number;

  constructor(node: Node, wishes: { readonly strong: boolean; readonly eventualIntervalMs: number }) {
    this.#wishes = wishes;
    this.#node = node;
    this.#id = this.#subscribe();
  }

  #subscribe(): number {
    return this.#node.hub.subscribe({ ...this.#wishes, regions: REGIONS, eventual: true, causal: this.#wishes.strong, resumeToken: this.reader.token });
  }

  read(bytes: number): boolean {
    const response = this.#node.hub.next(this.#id, bytes);
    if (response === undefined) return false;
    if (response.event?.$case === "changes") for (const value of response.event.value.values) this.#check(value);
    this.reader.take(response);
    return true;
  }

  #check(value: EventualValue): void {
    const name = `${nameOf(value.region)} ${value.key}`;
    const at = (value.stamp?.physicalMs ?? 0) * 1_000 + (value.stamp?.logical ?? 0);
    if (at < (this.#stamps.get(name) ?? 0)) throw new Error(`${name} goes back`);
    this.#stamps.set(name, at);
  }

  reconnect(node: Node): void {
    this.#node.hub.unsubscribe(this.#id);
    this.#node = node;
    // What it gets again may be older than what it had from the other node.
    this.#stamps.clear();
    this.reader.reconnect();
    this.#id = this.#subscribe();
  }
}

describe("readers of the same regions", () => {
  it("each end with everything, at whatever pace they read and wherever they come back", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const logs = new Logs();
        const nodes = [new Node(1), new Node(2)];
        connect(nodes);
        const followers = Array.from({ length: READERS }, (_, at) => new Follower(nodes[0] as Node, { strong: at % 2 === 0, eventualIntervalMs: at < 4 ? 0 : 100 }));
        const applyAll = (): void => {
          for (const node of nodes) while (node.apply(logs, 1));
        };
        for (const s of steps) {
          if (s.kind === "publish") nodes[s.node]?.publish(REGIONS[s.region] as Region, s.key, s.value, s.deleted);
          else if (s.kind === "append") {
            logs.append(1, [{ id: `s${s.id}`, region: HOME, remove: s.remove }]);
            applyAll();
          } else if (s.kind === "emit") nodes[0]?.emit(REGIONS[s.region] as Region, "event");
          else if (s.kind === "gossip") gossip(nodes);
          else if (s.kind === "read") followers[s.reader]?.read(s.bytes);
          else if (s.kind === "read all") for (const follower of followers) follower.read(100_000);
          else followers[s.reader]?.reconnect(nodes[s.node] as Node);
        }
        for (let round = 0; round < 40; round += 1) gossip(nodes);
        for (let round = 0; round < 5; round += 1) {
          for (const node of nodes) node.nowMs += 1_000;
          for (const node of nodes) node.hub.tick();
          for (const follower of followers) while (follower.read(150));
        }
        const expected = Object.fromEntries(REGIONS.flatMap((region) => (nodes[0] as Node).store.valuesOf(region).map((value) => [`${nameOf(region)} ${value.key}`, value.value[0]])));
        for (const { reader } of followers) expect(Object.fromEntries([...reader.values].map(([key, value]) => [key, value.value[0]]))).toEqual(expected);
        for (const at of [0, 2, 4]) expect([...(followers[at]?.reader.entities.keys() ?? [])].sort()).toEqual([...(nodes[0] as Node).entities.keys()].sort());
      }),
      { numRuns: 300 },
    );
  });

  it("who stood at the same place get one list and one token; who wants other fields, or other regions, does not", () => {
    const node = new Node(1);
    const readers = [{}, {}, { omitPayloads: true }, { types: ["creature_position"] }, { regions: [REGIONS[1] as Region, HOME] }].map((other) =>
      node.hub.subscribe({ regions: [HOME, REGIONS[1] as Region], strong: true, eventual: true, causal: false, resumeToken: "", ...other }));
    const next = (): (SubscribeResponse | undefined)[] => readers.map((id) => node.hub.next(id, 100_000));
    const valuesOf = (response: SubscribeResponse | undefined): EventualValue[] => (response?.event?.$case === "changes" ? response.event.value.values : []);
    next();
    for (const value of [1, 2]) {
      node.publish(HOME, "wolf", value);
      node.publish(REGIONS[1] as Region, "bear", value);
      const [first, second, lean, typed, turned] = next();
      expect(valuesOf(first).map(({ value: [byte] }) => byte)).toEqual([value, value]);
      expect(valuesOf(second)).toBe(valuesOf(first));
      expect(second?.resumeToken).toBe(first?.resumeToken);
      expect(valuesOf(lean).map(({ value: bytes }) => bytes.length)).toEqual([0, 0]);
      expect(valuesOf(typed)).toEqual(valuesOf(first));
      expect(typed?.resumeToken).not.toBe(first?.resumeToken);
      expect(valuesOf(turned)).not.toBe(valuesOf(first));
      expect(next()).toEqual(readers.map(() => undefined));
    }
  });

  it("a reader that is behind gets what it lacks, not what the others got", () => {
    const node = new Node(1);
    const ids = [0, 1].map(() => node.hub.subscribe({ regions: [HOME], strong: false, eventual: true, causal: false, resumeToken: "" }));
    for (const id of ids) node.hub.next(id, 100_000);
    const keysOf = (id: number | undefined): string[] => {
      const response = node.hub.next(id ?? 0, 100_000);
      return response?.event?.$case === "changes" ? response.event.value.values.map(({ key }) => key) : [];
    };
    node.publish(HOME, "wolf", 1);
    expect(keysOf(ids[0])).toEqual(["wolf"]);
    node.publish(HOME, "bear", 1);
    expect(keysOf(ids[0])).toEqual(["bear"]);
    expect(keysOf(ids[1])).toEqual(["wolf", "bear"]);
    node.publish(HOME, "fox", 1);
    expect([keysOf(ids[0]), keysOf(ids[1])]).toEqual([["fox"], ["fox"]]);
  });
});
