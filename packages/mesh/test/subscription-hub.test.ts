import { MeshError, type Region } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import type { SubscriptionLimits, SubscriptionRequest } from "../src/subscriptions/index.ts";
import { gossip, Logs, Node, Reader, REGIONS } from "./subscription-world.ts";

const HOME = REGIONS[0] as Region;
const ALL: SubscriptionRequest = { regions: [HOME], strong: false, eventual: false, causal: false, resumeToken: "" };

function drain(node: Node, id: number, reader: Reader, maxBytes = 1_000_000): number {
  let messages = 0;
  for (let response = node.hub.next(id, maxBytes); response !== undefined; response = node.hub.next(id, maxBytes)) {
    reader.take(response);
    messages += 1;
  }
  return messages;
}

function build(count: number, node: Node, logs = new Logs()): Logs {
  for (let i = 0; i < count; i += 1) {
    logs.append(1, [{ id: `s${i}`, region: HOME, remove: false }]);
    node.apply(logs, 1);
  }
  return logs;
}

function thrown(action: () => unknown): MeshError {
  try {
    action();
  } catch (error) {
    if (error instanceof MeshError) return error;
  }
  throw new Error("expected a MeshError");
}

describe("a subscription", () => {
  it("starts with a snapshot, complete also where the region is empty, and says then that there is nothing more", () => {
    const node = new Node(1);
    const id = node.hub.subscribe(ALL);
    expect(node.readable).toEqual([id]);
    expect(node.hub.next(id, 1_000)?.event).toEqual({ $case: "snapshot", value: { entities: [], values: [], complete: true, regions: [HOME] } });
    expect(node.hub.next(id, 1_000)).toBeUndefined();
  });

  it("sends a snapshot in parts of about the wanted size, at least one item each", () => {
    const node = new Node(1);
    build(10, node);
    const id = node.hub.subscribe(ALL);
    const reader = new Reader();
    expect(drain(node, id, reader, 1)).toBe(10);
    expect(reader.entities.size).toBe(10);
    expect(node.hub.statistics().snapshotItems).toBe(0);
  });

  it("tells once that there is something to read, until all is read", () => {
    const node = new Node(1);
    const id = node.hub.subscribe(ALL);
    drain(node, id, new Reader());
    node.readable.length = 0;
    const logs = build(3, node);
    node.publish(HOME, "wolf", 1);
    node.emit(HOME, "bell");
    expect(node.readable).toEqual([id]);
    drain(node, id, new Reader());
    build(1, node, logs);
    expect(node.readable).toEqual([id, id]);
  });

  it("sends only the classes and regions that are wanted", () => {
    const node = new Node(1);
    const far = REGIONS[2] as Region;
    const ids = [node.hub.subscribe({ ...ALL, strong: true }), node.hub.subscribe({ ...ALL, eventual: true }), node.hub.subscribe({ ...ALL, causal: true }), node.hub.subscribe({ ...ALL, regions: [far] })];
    const readers = ids.map(() => new Reader());
    ids.forEach((id, i) => drain(node, id, readers[i] as Reader));
    build(1, node);
    node.publish(HOME, "wolf", 1);
    node.emit(HOME, "bell");
    ids.forEach((id, i) => drain(node, id, readers[i] as Reader));
    expect(readers.map((r) => [r.entities.size, r.values.size, r.events.length])).toEqual([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]);
  });

  it("sends a key that changed a thousand times as its latest value, and counts no reader as slow for it", () => {
    const node = new Node(1, { maxQueued: 4 });
    const id = node.hub.subscribe(ALL);
    drain(node, id, new Reader());
    for (let i = 0; i < 1_000; i += 1) node.publish(HOME, i % 2 === 0 ? "wolf" : "bear", i % 256);
    const response = node.hub.next(id, 1_000_000);
    expect(response?.event?.$case === "changes" && response.event.value.values.map((v) => [v.key, v.value[0]])).toEqual([["wolf", 998 % 256], ["bear", 999 % 256]]);
    expect(node.hub.next(id, 1_000_000)).toBeUndefined();
    expect(node.hub.statistics().lagged).toBe(0);
  });

  it("tells a reader that is too slow for strong changes how many were dropped, and gives it a new snapshot", () => {
    const node = new Node(1, { maxQueued: 4 });
    const id = node.hub.subscribe(ALL);
    const reader = new Reader();
    drain(node, id, reader);
    build(10, node);
    expect(node.hub.next(id, 1_000)?.event).toEqual({ $case: "lagged", value: { dropped: 10 } });
    drain(node, id, reader);
    expect(reader.entities.size).toBe(10);
  });

  it("keeps causal events for a reader that was too slow, as long as the node keeps them", () => {
    const node = new Node(1, { maxQueued: 6 });
    const id = node.hub.subscribe(ALL);
    const reader = new Reader();
    drain(node, id, reader);
    for (const key of ["a", "b", "c"]) node.emit(HOME, key);
    build(10, node);
    drain(node, id, reader);
    expect(reader.lagged).toBe(1);
    expect(reader.events).toEqual(["a", "b", "c"]);
  });

  it("starts a reader again that missed a deletion whose tombstone is collected", () => {
    const node = new Node(1);
    const id = node.hub.subscribe({ ...ALL, eventual: true });
    const reader = new Reader();
    node.publish(HOME, "wolf", 1);
    drain(node, id, reader);
    expect(reader.values.size).toBe(1);
    node.publish(HOME, "wolf", 0, true);
    node.nowMs += 601_000;
    gossip([node]);
    drain(node, id, reader);
    expect([reader.lagged, reader.values.size]).toEqual([1, 0]);
  });

  it("starts again when a group's state was replaced by its leader's snapshot", () => {
    const node = new Node(1);
    const id = node.hub.subscribe(ALL);
    const reader = new Reader();
    const logs = build(2, node);
    drain(node, id, reader);
    node.entities.clear();
    node.applied.set(1, 50);
    node.hub.onGroupReplaced(1);
    drain(node, id, reader);
    expect([reader.lagged, reader.entities.size]).toEqual([1, 0]);
    expect(logs.records.get(1)).toHaveLength(2);
  });

  it("takes nobody back who came from a node that was ahead of the snapshot", () => {
    const [one, two] = [new Node(1), new Node(2)];
    const logs = build(4, one);
    const reader = new Reader();
    drain(one, one.hub.subscribe(ALL), reader);
    // Empty when the reader comes; its leader's snapshot is older than what the reader has.
    const id = two.hub.subscribe({ ...ALL, resumeToken: reader.token });
    two.applied.set(1, 1);
    two.hub.onGroupReplaced(1);
    drain(two, id, reader);
    expect([reader.lagged, reader.entities.size]).toEqual([0, 4]);
    for (let applied = true; applied; ) applied = two.apply(logs, 1);
    logs.append(1, [{ id: "new", region: HOME, remove: false }]);
    two.apply(logs, 1);
    drain(two, id, reader);
    expect([reader.lagged, reader.entities.size]).toEqual([0, 5]);
  });

  it("says nothing more to who has unsubscribed, and holds nothing for it", () => {
    const node = new Node(1);
    build(5, node);
    const id = node.hub.subscribe(ALL);
    node.hub.unsubscribe(id);
    node.hub.unsubscribe(id);
    expect(node.hub.next(id, 1_000)).toBeUndefined();
    expect(node.hub.statistics()).toMatchObject({ subscribers: 0, regions: 0, snapshotItems: 0 });
  });
});

describe("a reader whose token is ahead of a node", () => {
  it("is told where the node must stand, so that no snapshot goes back behind what it has, whatever regions it asks for now", () => {
    const logs = new Logs();
    const [one, two] = [new Node(1), new Node(2)];
    const reader = new Reader();
    logs.append(1, [{ id: "wall", region: HOME, remove: false }]);
    one.apply(logs, 1);
    two.apply(logs, 1);
    const id = one.hub.subscribe(ALL);
    logs.append(1, [{ id: "gate", region: HOME, remove: false }]);
    one.apply(logs, 1);
    drain(one, id, reader);
    for (const regions of [[HOME], REGIONS.slice(0, 2)]) {
      expect(two.hub.aheadOf({ ...ALL, regions, resumeToken: reader.token })).toEqual([{ groupId: 1, index: 2 }]);
      expect(one.hub.aheadOf({ ...ALL, regions, resumeToken: reader.token })).toEqual([]);
    }
    expect(two.hub.aheadOf({ ...ALL, regions: REGIONS.slice(2), resumeToken: reader.token })).toEqual([]);
    expect(two.hub.aheadOf(ALL)).toEqual([]);
    two.apply(logs, 1);
    expect(two.hub.aheadOf({ ...ALL, resumeToken: reader.token })).toEqual([]);
  });

  it("gets a whole snapshot, and none from before the one that it has a part of", () => {
    const [one, two] = [new Node(1), new Node(2)];
    const logs = build(4, one);
    const reader = new Reader();
    const id = one.hub.subscribe(ALL);
    const part = one.hub.next(id, 1);
    if (part !== undefined) reader.take(part);
    expect([reader.snapshots, reader.entities.size]).toEqual([1, 1]);
    two.apply(logs, 1);
    expect(two.hub.aheadOf({ ...ALL, resumeToken: reader.token })).toEqual([{ groupId: 1, index: 4 }]);
    while (two.apply(logs, 1));
    expect(two.hub.aheadOf({ ...ALL, resumeToken: reader.token })).toEqual([]);
    reader.reconnect();
    drain(two, two.hub.subscribe({ ...ALL, resumeToken: reader.token }), reader);
    expect([reader.snapshots, reader.entities.size]).toEqual([2, 4]);
  });
});

describe("a resume token", () => {
  function tokenAfter(node: Node): string {
    const id = node.hub.subscribe(ALL);
    const reader = new Reader();
    drain(node, id, reader);
    node.hub.unsubscribe(id);
    return reader.token;
  }

  it("continues without a snapshot, on another node too", () => {
    const [one, two] = [new Node(1), new Node(2)];
    const logs = new Logs();
    for (let i = 0; i < 3; i += 1) logs.append(1, [{ id: `s${i}`, region: HOME, remove: false }]);
    while (one.apply(logs, 1));
    const token = tokenAfter(one);
    logs.append(1, [{ id: "s9", region: HOME, remove: false }]);
    while (two.apply(logs, 1));
    const id = two.hub.subscribe({ ...ALL, resumeToken: token });
    const reader = new Reader();
    drain(two, id, reader);
    expect([reader.snapshots, [...reader.entities.keys()]]).toEqual([0, ["s9"]]);
    expect(two.hub.statistics().resumed).toBe(1);
  });

  it("starts with a snapshot where the node does not go back that far, the regions differ, or it is too old", () => {
    const cases: [Partial<SubscriptionLimits>, Partial<SubscriptionRequest>, number][] = [
      [{ maxRecentChanges: 2 }, {}, 0],
      [{}, { regions: [HOME, REGIONS[1] as Region] }, 0],
      [{}, { strong: true }, 0],
      [{}, {}, 600_000],
    ];
    for (const [limits, request, laterMs] of cases) {
      const node = new Node(1, limits);
      const logs = build(1, node);
      const token = tokenAfter(node);
      build(5, node, logs);
      node.nowMs += laterMs;
      const reader = new Reader();
      drain(node, node.hub.subscribe({ ...ALL, ...request, resumeToken: token }), reader);
      expect(reader.snapshots).toBe(1);
    }
  });

  it("is refused when damaged anywhere, cut, lengthened, or from another cluster", () => {
    const node = new Node(1);
    build(3, node);
    node.emit(HOME, "bell");
    const token = tokenAfter(node);
    const refused = (resumeToken: string) => expect(thrown(() => node.hub.subscribe({ ...ALL, resumeToken })).reason).toBe("INVALID_RESUME_TOKEN");
    for (let i = 0; i < token.length; i += 1) refused(token.slice(0, i) + (token[i] === "A" ? "B" : "A") + token.slice(i + 1));
    for (const text of [token.slice(1), token.slice(0, -1), `${token}A`, `${token}=`, "!", "nonsense", "A".repeat(70_000)]) refused(text);
    refused(tokenAfter(new Node(1, {}, "another world")));
    expect(node.hub.statistics().subscribers).toBe(0);
  });
});

describe("limits of subscriptions", () => {
  it("refuses no regions, too many, and malformed ones, by field", () => {
    const { hub } = new Node(1);
    expect(thrown(() => hub.subscribe({ ...ALL, regions: [] })).field).toBe("regions");
    expect(thrown(() => hub.subscribe({ ...ALL, regions: Array.from({ length: 344 }, (_, x) => ({ x, y: 0, z: 0 })) })).field).toBe("regions");
    expect(thrown(() => hub.subscribe({ ...ALL, regions: [HOME, { x: 0, y: 2 ** 21, z: 0 }] })).field).toBe("regions[1].y");
  });

  it("answers OVERLOADED beyond the subscribers of a node, and while snapshots of slow readers fill the room", () => {
    const full = new Node(1, { maxSubscribers: 1 });
    full.hub.subscribe(ALL);
    expect(thrown(() => full.hub.subscribe(ALL)).retryDelayMs).toBe(1_000);
    const node = new Node(1, { maxSnapshotItems: 5 });
    build(4, node);
    const id = node.hub.subscribe(ALL);
    expect(thrown(() => node.hub.subscribe(ALL)).reason).toBe("OVERLOADED");
    drain(node, id, new Reader());
    node.hub.subscribe(ALL);
  });

  it("lets a lagging reader wait for room, and tells it when there is", () => {
    const node = new Node(1, { maxSnapshotItems: 6, maxQueued: 2 });
    const slow = node.hub.subscribe(ALL);
    const reader = new Reader();
    drain(node, slow, reader);
    const logs = build(4, node);
    const other = node.hub.subscribe(ALL);
    expect(node.hub.next(slow, 1_000)).toBeUndefined();
    node.readable.length = 0;
    drain(node, other, new Reader());
    expect(node.readable).toContain(slow);
    drain(node, slow, reader);
    expect([reader.lagged, reader.entities.size, logs.records.get(1)?.length]).toEqual([1, 4, 4]);
  });
});
