import type { Region, SubscribeResponse } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import type { SubscriptionRequest } from "../src/subscriptions/index.ts";
import { Logs, Node, Reader, REGIONS } from "./subscription-world.ts";

const HOME = REGIONS[0] as Region;
const ALL: SubscriptionRequest = { regions: [HOME], strong: false, eventual: false, causal: false, resumeToken: "" };

function drain(node: Node, id: number, reader = new Reader()): SubscribeResponse[] {
  const messages: SubscribeResponse[] = [];
  for (let response = node.hub.next(id, 1_000_000); response !== undefined; response = node.hub.next(id, 1_000_000)) {
    reader.take(response);
    messages.push(response);
  }
  return messages;
}

function keysOf(messages: readonly SubscribeResponse[]): string[] {
  return messages.flatMap(({ event }) => (event?.$case === "changes" ? event.value.values.map(({ key, value }) => `${key}${value[0]}`) : []));
}

describe("a subscriber's rate", () => {
  it("brings each eventual key at most once in the interval, with its latest value", () => {
    const node = new Node(1);
    const id = node.hub.subscribe({ ...ALL, eventualIntervalMs: 1_000 });
    drain(node, id);
    const sent: string[] = [];
    for (let i = 1; i <= 40; i += 1) {
      node.nowMs += 50;
      node.publish(HOME, "wolf", i);
      node.hub.tick();
      sent.push(...keysOf(drain(node, id)));
    }
    expect(sent).toEqual(["wolf1", "wolf21"]);
    node.readable.length = 0;
    node.nowMs += 1_000;
    node.hub.tick();
    expect(node.readable).toEqual([id]);
    expect(keysOf(drain(node, id))).toEqual(["wolf40"]);
  });

  it("holds back no strong change and no causal event", () => {
    const node = new Node(1);
    const id = node.hub.subscribe({ ...ALL, eventualIntervalMs: 60_000 });
    const reader = new Reader();
    drain(node, id, reader);
    node.publish(HOME, "wolf", 1);
    drain(node, id, reader);
    const logs = new Logs();
    for (const name of ["a", "b"]) {
      logs.append(1, [{ id: name, region: HOME, remove: false }]);
      node.apply(logs, 1);
    }
    node.emit(HOME, "bell");
    node.publish(HOME, "wolf", 2);
    drain(node, id, reader);
    expect([[...reader.entities.keys()], reader.events, reader.values.get("0,0,0 wolf")?.value[0]]).toEqual([["a", "b"], ["bell"], 1]);
  });

  it("brings a round that is larger than a message whole, and what changed meanwhile in the next", () => {
    const node = new Node(1);
    const id = node.hub.subscribe({ ...ALL, eventual: true, eventualIntervalMs: 1_000 });
    drain(node, id);
    node.nowMs += 1_000;
    for (const key of ["a", "b", "c"]) node.publish(HOME, key, 1);
    const first = node.hub.next(id, 1);
    node.publish(HOME, "a", 2);
    node.publish(HOME, "c", 2);
    expect(keysOf([first as SubscribeResponse, ...drain(node, id)])).toEqual(["a1", "b1"]);
    node.nowMs += 1_000;
    expect(keysOf(drain(node, id))).toEqual(["a2", "c2"]);
  });

  it("is at most a minute", () => {
    const node = new Node(1);
    expect(() => node.hub.subscribe({ ...ALL, eventualIntervalMs: 60_001 })).toThrow("eventual_interval_ms");
  });
});

describe("a subscriber's fields", () => {
  it("are the kinds of entities and the types of values and events that it names, in snapshots and changes, and on resuming", () => {
    const node = new Node(1);
    const logs = new Logs();
    const write = (id: string): void => {
      logs.append(1, [{ id, region: HOME, remove: false }]);
      node.apply(logs, 1);
    };
    write("wall");
    node.publish(HOME, "wolf", 1);
    const wishes = [{ entityKinds: ["structure"], types: ["event_sequence"] }, { entityKinds: ["creature"], types: ["creature_position"] }];
    const readers = wishes.map((wish) => ({ wish, reader: new Reader(), id: node.hub.subscribe({ ...ALL, ...wish }) }));
    for (const { id, reader } of readers) drain(node, id, reader);
    write("tower");
    node.publish(HOME, "bear", 1);
    node.emit(HOME, "bell");
    for (const { id, reader } of readers) drain(node, id, reader);
    for (const { id } of readers) node.hub.unsubscribe(id);
    write("gate");
    node.emit(HOME, "horn");
    for (const { wish, reader } of readers) drain(node, node.hub.subscribe({ ...ALL, ...wish, resumeToken: reader.token }), reader);
    expect(readers.map(({ reader }) => [[...reader.entities.keys()], [...reader.values.values()].map(({ key }) => key), reader.events])).toEqual([
      [["wall", "tower", "gate"], [], ["bell", "horn"]],
      [[], ["wolf", "bear"], []],
    ]);
    expect(node.hub.statistics()).toMatchObject({ resumed: 2, snapshots: 2 });
  });

  it("leave out payloads where it wants none, for this reader only", () => {
    const node = new Node(1);
    node.publish(HOME, "wolf", 7);
    const lean = new Reader();
    const whole = new Reader();
    const ids = [node.hub.subscribe({ ...ALL, omitPayloads: true }), node.hub.subscribe(ALL)] as const;
    drain(node, ids[0], lean);
    drain(node, ids[1], whole);
    node.publish(HOME, "bear", 8);
    drain(node, ids[0], lean);
    drain(node, ids[1], whole);
    expect([...lean.values.values()].map(({ key, value }) => [key, value.length])).toEqual([["wolf", 0], ["bear", 0]]);
    expect([...whole.values.values()].map(({ key, value }) => [key, value[0]])).toEqual([["wolf", 7], ["bear", 8]]);
  });

  it("are part of what a token stands for: with other ones the reader starts again", () => {
    const node = new Node(1);
    const reader = new Reader();
    drain(node, node.hub.subscribe({ ...ALL, types: ["creature_position"] }), reader);
    drain(node, node.hub.subscribe({ ...ALL, resumeToken: reader.token }), reader);
    expect(node.hub.statistics()).toMatchObject({ resumed: 0, snapshots: 2 });
  });

  it("are at most 64 names of 1..64 bytes", () => {
    const node = new Node(1);
    expect(() => node.hub.subscribe({ ...ALL, entityKinds: [""] })).toThrow("entity_kinds[0]");
    expect(() => node.hub.subscribe({ ...ALL, types: Array.from({ length: 65 }, (_, at) => `t${at}`) })).toThrow("types");
  });
});
