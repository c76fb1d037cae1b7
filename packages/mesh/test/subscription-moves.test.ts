// Readers whose area moves: two regions of group 1 side by side at x = 2,000 m, and regions of group 2 far up.
import { MeshError, type Region, type SubscribeResponse } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import type { SubscriptionRequest } from "../src/subscriptions/index.ts";
import { Logs, nameOf, Node, Reader, REGIONS } from "./subscription-world.ts";

const [HOME, NEXT, UP] = REGIONS as [Region, Region, Region];
const at = (x: number, y = 1_000, z = 1_000): { x: number; y: number; z: number } => ({ x, y, z });
const AREA: SubscriptionRequest = { regions: [], area: { center: at(1_000), radius: 300 }, strong: false, eventual: false, causal: false, resumeToken: "" };

function drain(node: Node, id: number, reader: Reader, maxBytes = 1_000_000): SubscribeResponse[] {
  const messages: SubscribeResponse[] = [];
  for (let response = node.hub.next(id, maxBytes); response !== undefined; response = node.hub.next(id, maxBytes)) {
    reader.take(response);
    messages.push(response);
  }
  return messages;
}

function put(node: Node, logs: Logs, id: string, region: Region, remove = false): void {
  const groupId = region.y === 0 ? 1 : 2;
  logs.append(groupId, [{ id, region, remove }]);
  node.apply(logs, groupId);
}

function moveOf(messages: readonly SubscribeResponse[]): { entered: string[]; left: string[] } {
  const [first] = messages.flatMap(({ event }) => (event?.$case === "moved" ? [event.value] : []));
  return { entered: first?.entered.map(nameOf) ?? [], left: first?.left.map(nameOf) ?? [] };
}

describe("a subscription with an area", () => {
  it("covers the regions that the ball reaches, and says which", () => {
    const node = new Node(1);
    const reader = new Reader();
    drain(node, node.hub.subscribe({ ...AREA, area: { center: at(1_800), radius: 300 } }), reader);
    expect(reader.regions).toEqual([HOME, NEXT].map(nameOf));
  });

  it("that moves over a border gets all that is there, then its changes; what it left is told no more", () => {
    const node = new Node(1);
    const logs = new Logs();
    put(node, logs, "wall", HOME);
    put(node, logs, "tower", NEXT);
    node.publish(NEXT, "wolf", 1);
    const id = node.hub.subscribe(AREA);
    const reader = new Reader();
    drain(node, id, reader);
    expect([...reader.entities.keys()]).toEqual(["wall"]);
    node.hub.move(id, { center: at(1_900), radius: 300 });
    expect(moveOf(drain(node, id, reader))).toEqual({ entered: [nameOf(NEXT)], left: [] });
    expect([...reader.entities.keys(), ...reader.values.keys()]).toEqual(["wall", "tower", `${nameOf(NEXT)} wolf`]);
    put(node, logs, "gate", NEXT);
    node.publish(NEXT, "wolf", 2);
    node.emit(NEXT, "bell");
    drain(node, id, reader);
    expect([reader.entities.has("gate"), reader.values.get(`${nameOf(NEXT)} wolf`)?.value[0], reader.events]).toEqual([true, 2, ["bell"]]);
    node.hub.move(id, { center: at(3_000), radius: 300 });
    expect(moveOf(drain(node, id, reader))).toEqual({ entered: [], left: [nameOf(HOME)] });
    put(node, logs, "well", HOME);
    node.publish(HOME, "bear", 1);
    node.emit(HOME, "horn");
    expect(drain(node, id, reader)).toEqual([]);
    expect(node.hub.statistics()).toMatchObject({ moved: 2, lagged: 0, snapshots: 1, snapshotItems: 0 });
  });

  it("is refused, or ends, where all subscribers together would read more regions than a node has room for", () => {
    const node = new Node(1, { maxReads: 4 });
    const [still, walking] = [node.hub.subscribe({ ...AREA, area: undefined, regions: [HOME, NEXT] }), node.hub.subscribe(AREA)];
    for (const id of [still, walking]) drain(node, id, new Reader());
    expect(() => node.hub.subscribe({ ...AREA, area: { center: at(1_900), radius: 300 } })).toThrow(/at most 4 regions/);
    node.hub.move(walking, { center: at(1_900), radius: 300 });
    expect(moveOf(drain(node, walking, new Reader())).entered).toEqual([nameOf(NEXT)]);
    node.hub.move(walking, { center: at(1_900, 1_900), radius: 300 });
    expect(() => node.hub.next(walking, 1_000)).toThrow(/at most 4 regions/);
    node.hub.unsubscribe(walking);
    node.hub.subscribe({ ...AREA, area: { center: at(1_900), radius: 300 } });
  });

  it("keeps a region until the ball is 100 m away from it, and hears nothing of moves inside", () => {
    const node = new Node(1);
    const id = node.hub.subscribe({ ...AREA, area: { center: at(1_800), radius: 300 } });
    const reader = new Reader();
    drain(node, id, reader);
    node.hub.move(id, { center: at(1_601), radius: 300 });
    expect(drain(node, id, reader)).toEqual([]);
    node.hub.move(id, { center: at(1_599), radius: 300 });
    expect(moveOf(drain(node, id, reader)).left).toEqual([nameOf(NEXT)]);
    node.hub.move(id, { center: at(1_699), radius: 300 });
    expect(drain(node, id, reader)).toEqual([]);
    node.hub.move(id, { center: at(1_700), radius: 300 });
    expect(moveOf(drain(node, id, reader)).entered).toEqual([nameOf(NEXT)]);
  });

  it("hears what came before a move first, and of several moves the last", () => {
    const node = new Node(1);
    const logs = new Logs();
    const id = node.hub.subscribe(AREA);
    const reader = new Reader();
    drain(node, id, reader);
    put(node, logs, "wall", HOME);
    node.hub.move(id, { center: at(3_000), radius: 300 });
    node.hub.move(id, { center: at(1_000, 19_000), radius: 300 });
    put(node, logs, "gate", HOME);
    put(node, logs, "tower", UP);
    const messages = drain(node, id, reader);
    expect(messages.map(({ event }) => event?.$case)).toEqual(["changes", "moved"]);
    expect(moveOf(messages)).toEqual({ entered: [nameOf(UP)], left: [nameOf(HOME)] });
    expect([...reader.entities.keys()]).toEqual(["tower"]);
  });

  it("is sent a move in parts, and what changes meanwhile after them", () => {
    const node = new Node(1);
    const logs = new Logs();
    for (const name of ["a", "b", "c"]) put(node, logs, name, NEXT);
    const id = node.hub.subscribe(AREA);
    const reader = new Reader();
    drain(node, id, reader);
    node.hub.move(id, { center: at(2_000), radius: 300 });
    reader.take(node.hub.next(id, 1) as SubscribeResponse);
    put(node, logs, "b", NEXT, true);
    node.publish(NEXT, "wolf", 1);
    const rest = drain(node, id, reader, 1);
    expect(rest.map(({ event }) => event?.$case)).toEqual(["moved", "moved", "changes", "changes"]);
    expect([...reader.entities.keys(), ...reader.values.keys()]).toEqual(["a", "c", `${nameOf(NEXT)} wolf`]);
  });

  it("that is too slow gets a snapshot of where it is by then", () => {
    const node = new Node(1, { maxQueued: 4 });
    const logs = new Logs();
    put(node, logs, "tower", NEXT);
    const id = node.hub.subscribe(AREA);
    const reader = new Reader();
    drain(node, id, reader);
    node.hub.move(id, { center: at(3_000), radius: 300 });
    for (let i = 0; i < 6; i += 1) put(node, logs, `s${i}`, HOME);
    const messages = drain(node, id, reader);
    expect(messages.map(({ event }) => event?.$case)).toEqual(["lagged", "snapshot"]);
    expect([reader.regions, [...reader.entities.keys()]]).toEqual([[nameOf(NEXT)], ["tower"]]);
    put(node, logs, "gate", NEXT);
    drain(node, id, reader);
    expect(reader.entities.has("gate")).toBe(true);
  });

  it("goes on elsewhere from where it was, and enters there what is in reach by then", () => {
    const [first, second] = [new Node(1), new Node(2)];
    const logs = new Logs();
    const both = (id: string, region: Region): void => {
      put(first, logs, id, region);
      second.apply(logs, region.y === 0 ? 1 : 2);
    };
    both("wall", HOME);
    const reader = new Reader();
    const id = first.hub.subscribe(AREA);
    drain(first, id, reader);
    first.hub.move(id, { center: at(2_000), radius: 300 });
    drain(first, id, reader);
    first.hub.unsubscribe(id);
    both("gate", NEXT);
    both("tower", UP);
    const resumed = second.hub.subscribe({ ...AREA, area: { center: at(3_000, 19_000), radius: 300 }, resumeToken: reader.token });
    const messages = drain(second, resumed, reader);
    expect(messages.map(({ event }) => event?.$case)).toEqual(["changes", "moved"]);
    expect(moveOf(messages)).toEqual({ entered: ["1,9,0"], left: [HOME, NEXT].map(nameOf) });
    expect(second.hub.statistics()).toMatchObject({ resumed: 1, snapshots: 0 });
    expect(reader.entities.size).toBe(0);
  });

  it("that breaks off in the middle of a move enters again what it had not whole", () => {
    const node = new Node(1);
    const logs = new Logs();
    for (const name of ["a", "b"]) put(node, logs, name, NEXT);
    put(node, logs, "wall", HOME);
    const reader = new Reader();
    const id = node.hub.subscribe(AREA);
    drain(node, id, reader);
    node.hub.move(id, { center: at(1_900), radius: 300 });
    reader.take(node.hub.next(id, 1) as SubscribeResponse);
    node.hub.unsubscribe(id);
    reader.reconnect();
    put(node, logs, "gate", HOME);
    const resumed = node.hub.subscribe({ ...AREA, area: { center: at(1_900), radius: 300 }, resumeToken: reader.token });
    const messages = drain(node, resumed, reader);
    expect(messages.map(({ event }) => event?.$case)).toEqual(["changes", "moved"]);
    expect(moveOf(messages).entered).toEqual([nameOf(NEXT)]);
    expect([...reader.entities.keys()].sort()).toEqual(["a", "b", "gate", "wall"]);
  });

  it("that breaks off in the middle of a move, and turns back, leaves what it had in part", () => {
    const node = new Node(1);
    const logs = new Logs();
    for (const name of ["a", "b"]) put(node, logs, name, NEXT);
    const reader = new Reader();
    const id = node.hub.subscribe(AREA);
    drain(node, id, reader);
    node.hub.move(id, { center: at(1_900), radius: 300 });
    reader.take(node.hub.next(id, 1) as SubscribeResponse);
    node.hub.unsubscribe(id);
    reader.reconnect();
    put(node, logs, "gate", HOME);
    const messages = drain(node, node.hub.subscribe({ ...AREA, resumeToken: reader.token }), reader);
    expect(moveOf(messages)).toEqual({ entered: [], left: [nameOf(NEXT)] });
    expect([reader.regions, [...reader.entities.keys()]]).toEqual([[nameOf(HOME)], ["gate"]]);
  });

  it("refuses what is no ball, and to move a subscription that has none", () => {
    const node = new Node(1);
    const refusal = (run: () => unknown): string | undefined => {
      try {
        run();
      } catch (error) {
        return MeshError.from(error).field;
      }
      return undefined;
    };
    const subscribe = (more: Partial<SubscriptionRequest>) => (): unknown => node.hub.subscribe({ ...AREA, ...more });
    expect(refusal(subscribe({ area: { center: undefined, radius: 1 } }))).toBe("area.center");
    expect(refusal(subscribe({ area: { center: at(Number.NaN), radius: 1 } }))).toBe("area.center.x");
    for (const radius of [0, -1, 5_901, Number.NaN]) expect(refusal(subscribe({ area: { center: at(0), radius } }))).toBe("area.radius");
    expect(refusal(subscribe({ regions: [HOME] }))).toBe("area");
    const fixed = node.hub.subscribe({ ...AREA, regions: [HOME], area: undefined });
    expect(refusal(() => node.hub.move(fixed, { center: at(0), radius: 1 }))).toBe("move");
    expect(refusal(() => node.hub.move(fixed, { center: at(0), radius: 0 }))).toBe("move.radius");
    node.hub.move(99, { center: at(0), radius: 1 });
  });
});
