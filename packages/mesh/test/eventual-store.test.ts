import { HybridClock } from "@statemesh/clocks";
import { EventualDelta, type EventualUpdate, type EventualValue, MeshError, type Region } from "@statemesh/contract";
import { DEFAULT_POLICY } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import { EventualStore, type EventualLimits } from "../src/eventual/index.ts";

const HOME: Region = { x: 0, y: 0, z: 0 };
const START_MS = 1_700_000_000_000;

function update(key: string, text: string, fields: Partial<EventualUpdate> = {}): EventualUpdate {
  return { type: "creature_position", region: HOME, key, value: new TextEncoder().encode(text), deleted: false, timestampMs: 0, ...fields };
}

class Node {
  readonly clock = new HybridClock();
  readonly store: EventualStore;
  readonly changes: EventualValue[] = [];
  nowMs = START_MS;

  constructor(limits: Partial<EventualLimits> = {}) {
    this.store = new EventualStore(limits);
    this.store.listen({ changed: (value) => this.changes.push(value), forgotten: () => undefined });
  }

  publish(updates: EventualUpdate[], serverId = 1) {
    return this.store.publish(updates, serverId, this.nowMs, this.clock, DEFAULT_POLICY);
  }

  receive(from: number, delta: Partial<EventualDelta>): void {
    this.store.onDelta(from, EventualDelta.fromPartial(delta), this.nowMs, this.clock);
  }

  text(key: string, region: Region = HOME): string | undefined {
    const value = this.store.get("creature_position", region, key);
    return value === undefined ? undefined : new TextDecoder().decode(value.value);
  }
}

function value(fields: Partial<EventualValue>): EventualValue {
  return {
    type: "creature_position", region: HOME, key: "wolf", value: Uint8Array.of(1), deleted: false, serverId: 5,
    stamp: { physicalMs: START_MS, logical: 0 }, ...fields,
  };
}

function thrown(action: () => unknown): MeshError {
  try {
    action();
  } catch (error) {
    if (error instanceof MeshError) return error;
  }
  throw new Error("expected a MeshError");
}

describe("eventual state: which write wins", () => {
  it("keeps the later stamp, then the lower server id, then the deletion, then the greater bytes", () => {
    const order: EventualValue[] = [
      value({ serverId: 9, value: Uint8Array.of(9) }),
      value({ serverId: 5, value: Uint8Array.of(1) }),
      value({ serverId: 5, value: Uint8Array.of(1, 0) }),
      value({ serverId: 5, value: Uint8Array.of(2) }),
      value({ serverId: 5, value: new Uint8Array(0), deleted: true }),
      value({ serverId: 4, value: Uint8Array.of(0) }),
      value({ serverId: 9, stamp: { physicalMs: START_MS, logical: 1 } }),
      value({ serverId: 9, stamp: { physicalMs: START_MS + 1, logical: 0 } }),
    ];
    for (let low = 0; low < order.length; low += 1) {
      for (let high = low; high < order.length; high += 1) {
        for (const pair of [[low, high], [high, low]] as const) {
          const node = new Node();
          for (const index of pair) node.receive(2, { values: [structuredClone(order[index] as EventualValue)], digests: [], wanted: [] });
          const winner = order[high] as EventualValue;
          const held = node.store.valuesOf(HOME, 10, true)[0];
          expect([held?.serverId, held?.deleted, [...(held?.value ?? [])], held?.stamp]).toEqual([winner.serverId, winner.deleted, [...winner.value], winner.stamp]);
        }
      }
    }
  });

  it("counts a write that is older than what is held as stale, and tells nobody", () => {
    const node = new Node();
    expect(node.publish([update("wolf", "new", { timestampMs: START_MS })])).toEqual({ updates: 1, staleUpdates: 0 });
    expect(node.publish([update("wolf", "old", { timestampMs: START_MS - 100 })])).toEqual({ updates: 0, staleUpdates: 1 });
    expect(node.text("wolf")).toBe("new");
    expect(node.changes).toHaveLength(1);
  });

  it("lets the last of equal claimed times within one request win", () => {
    const node = new Node();
    node.publish([update("wolf", "first", { timestampMs: START_MS }), update("wolf", "second", { timestampMs: START_MS })]);
    expect(node.text("wolf")).toBe("second");
  });

  it("stamps a write after what the node holds, also from a peer whose clock runs ahead", () => {
    const node = new Node();
    node.receive(2, { values: [value({ stamp: { physicalMs: START_MS + 20_000, logical: 3 } })], digests: [], wanted: [] });
    node.publish([update("wolf", "here")]);
    expect(node.text("wolf")).toBe("here");
  });

  it("keeps the time that a write claims, however late it comes: what was written after it wins", () => {
    const node = new Node();
    node.publish([update("wolf", "", { deleted: true, timestampMs: START_MS - 1_000 })]);
    node.publish([update("wolf", "late", { timestampMs: START_MS - 2_000 }), update("bear", "late", { timestampMs: START_MS - 2_000 })]);
    expect(node.text("wolf")).toBeUndefined();
    expect(node.store.get("creature_position", HOME, "bear")?.stamp?.physicalMs).toBe(START_MS - 2_000);
  });

  it("takes no write from so long ago that its deletion may be forgotten", () => {
    const node = new Node();
    const edgeMs = START_MS - node.store.limits.tombstoneHorizonMs / 2;
    expect(node.publish([update("wolf", "old", { timestampMs: edgeMs - 1 }), update("bear", "old", { timestampMs: edgeMs })])).toEqual({ updates: 1, staleUpdates: 1 });
    expect(node.text("wolf")).toBeUndefined();
    expect(node.text("bear")).toBe("old");
  });
});

describe("eventual state: refusals change nothing", () => {
  it.each([
    ["updates[1].key", { key: "" }],
    ["updates[1].key", { key: "k".repeat(129) }],
    ["updates[1].key", { key: "é".repeat(65) }],
    ["updates[1].value", { value: new Uint8Array(4_097) }],
    ["updates[1].region", { region: undefined }],
    ["updates[1].region.x", { region: { x: 1_048_576, y: 0, z: 0 } }],
    ["updates[1].timestamp_ms", { timestampMs: -1 }],
  ])("names %s", (field, fields) => {
    const node = new Node();
    const error = thrown(() => node.publish([update("good", "1"), update("bad", "2", fields)]));
    expect([error.reason, error.field]).toEqual(["INVALID_FIELD", field]);
    expect(node.store.size).toBe(0);
  });

  it("refuses types that are unknown or strong, servers without id, times ahead, and too many updates", () => {
    const node = new Node();
    expect(thrown(() => node.publish([update("a", "", { type: "nonsense" })])).reason).toBe("UNKNOWN_TYPE");
    expect(thrown(() => node.publish([update("a", "", { type: "trade" })])).reason).toBe("UNKNOWN_TYPE");
    expect(thrown(() => node.publish([update("a", "")], 0)).field).toBe("server_id");
    expect(thrown(() => node.publish([update("a", "", { timestampMs: START_MS + 3_600_000 })])).reason).toBe("TIMESTAMP_IN_FUTURE");
    expect(thrown(() => node.publish(Array.from({ length: 1_025 }, () => update("a", "")))).field).toBe("updates");
    expect(node.store.size).toBe(0);
  });

  it("answers OVERLOADED with a delay where a new key finds no room, and still takes known keys", () => {
    const node = new Node({ maxRegisters: 2 });
    node.publish([update("a", "1"), update("b", "1")]);
    const error = thrown(() => node.publish([update("a", "2"), update("c", "1")]));
    expect([error.reason, error.retryDelayMs]).toEqual(["OVERLOADED", 1_000]);
    expect(node.text("a")).toBe("1");
    expect(node.publish([update("a", "3"), update("b", "3")]).updates).toBe(2);
  });

  it("refuses a peer's value that is malformed or stamped minutes ahead, and counts it", () => {
    const node = new Node();
    node.receive(2, {
      values: [value({ stamp: undefined }), value({ region: undefined }), value({ key: "" }), value({ stamp: { physicalMs: START_MS + 120_000, logical: 0 } })],
      digests: [], wanted: [],
    });
    expect(node.store.size).toBe(0);
    expect(node.store.statistics().refused).toBe(4);
  });
});

describe("eventual state: what ticks carry", () => {
  it("sends only the latest value of a key, to every peer, in one shared list", () => {
    const node = new Node();
    node.store.peerUp(2);
    node.store.peerUp(3);
    for (let i = 0; i < 10; i += 1) node.publish([update("wolf", String(i)), update("bear", String(i))]);
    const deltas = node.store.tick(node.nowMs);
    expect(deltas.map(({ to }) => to)).toEqual([2, 3]);
    expect(deltas[0]?.delta.values).toBe(deltas[1]?.delta.values);
    expect(deltas[0]?.delta.values.map((v) => [v.key, new TextDecoder().decode(v.value)])).toEqual([["wolf", "9"], ["bear", "9"]]);
    expect(node.store.tick(node.nowMs)).toEqual([]);
  });

  it("keeps the rest for the next tick beyond the limit, each key once with its latest value", () => {
    const node = new Node({ maxValuesPerTick: 2, digestEveryTicks: 1_000 });
    node.store.peerUp(2);
    node.publish(["a", "b", "c", "d", "e"].map((key) => update(key, "1")));
    const first = node.store.tick(node.nowMs);
    node.publish([update("e", "2")]);
    const rest = [node.store.tick(node.nowMs), node.store.tick(node.nowMs), node.store.tick(node.nowMs)];
    const sent = [first, ...rest].map((tick) => tick.flatMap(({ delta }) => delta.values.map((v) => v.key + new TextDecoder().decode(v.value))));
    expect(sent).toEqual([["a1", "b1"], ["c1", "d1"], ["e2"], []]);
  });

  it("holds keys for a peer that can't be written to, up to the limit, and counts what is left to repair", () => {
    const node = new Node({ maxBacklogKeys: 3, digestEveryTicks: 1_000 });
    node.store.peerUp(2);
    node.publish(["a", "b", "c", "d", "e"].map((key) => update(key, "1")));
    expect(node.store.tick(node.nowMs, () => false)).toEqual([]);
    expect(node.store.statistics().overflowed).toBe(2);
    expect(node.store.tick(node.nowMs)[0]?.delta.values.map((v) => v.key)).toEqual(["a", "b", "c"]);
  });

  it("keeps its own copy of a value's bytes", () => {
    const node = new Node();
    const message = new Uint8Array(4_096);
    node.publish([update("wolf", "", { value: message.subarray(10, 20) })]);
    expect(node.store.get("creature_position", HOME, "wolf")?.value.buffer.byteLength).toBe(10);
  });
});

describe("eventual state: deletions", () => {
  it("hides a deleted key, holds the tombstone against older writes until the horizon, then forgets it", () => {
    const node = new Node({ tombstoneHorizonMs: 60_000 });
    const old = value({ stamp: { physicalMs: START_MS - 10, logical: 0 } });
    node.publish([update("wolf", "here"), update("wolf", "", { deleted: true })]);
    node.receive(2, { values: [old], digests: [], wanted: [] });
    expect(node.text("wolf")).toBeUndefined();
    expect(node.store.statistics()).toMatchObject({ registers: 1, tombstones: 1 });
    node.nowMs += 59_999;
    node.store.tick(node.nowMs);
    expect(node.store.size).toBe(1);
    node.nowMs += 2;
    node.store.tick(node.nowMs);
    expect(node.store.statistics()).toMatchObject({ registers: 0, tombstones: 0, bytes: 0 });
  });

  it("does not collect a key that lives again, and keeps the list of tombstones as short as the keys", () => {
    const node = new Node({ tombstoneHorizonMs: 1_000 });
    for (let i = 0; i < 50; i += 1) {
      node.nowMs += 100;
      node.publish([update("wolf", "", { deleted: true }), update("wolf", "again")]);
      node.store.tick(node.nowMs);
    }
    node.nowMs += 10_000;
    node.store.tick(node.nowMs);
    expect(node.text("wolf")).toBe("again");
    node.publish([update("wolf", "", { deleted: true })]);
    node.nowMs += 999;
    node.store.tick(node.nowMs);
    expect(node.store.size).toBe(1);
    node.nowMs += 2;
    node.store.tick(node.nowMs);
    expect(node.store.size).toBe(0);
  });

  it("does not take a peer's tombstone beyond the horizon for a key it does not have", () => {
    const node = new Node();
    node.receive(2, { values: [value({ deleted: true, stamp: { physicalMs: START_MS - 700_000, logical: 0 } })], digests: [], wanted: [] });
    expect(node.store.size).toBe(0);
  });

  it("tells the listener of every write that takes effect, also of a deletion of a key that it never had", () => {
    const node = new Node();
    node.publish([update("ghost", "", { deleted: true }), update("wolf", "1"), update("wolf", "0", { timestampMs: START_MS - 400 }), update("wolf", "", { deleted: true })]);
    expect(node.changes.map((v) => [v.key, v.deleted])).toEqual([["ghost", true], ["wolf", false], ["wolf", true]]);
  });
});
