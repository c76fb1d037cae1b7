import { emptyClock } from "@statemesh/clocks";
import { type CausalBatch, type CausalEvent, type DeliveredEvent, MeshError, type VectorClock } from "@statemesh/contract";
import { DEFAULT_POLICY } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import { CausalLog, type CausalLimits, originOf } from "../src/causal/index.ts";

const TICK_MS = 50;

function event(key: string, fields: Partial<CausalEvent> = {}): CausalEvent {
  return { type: "event_sequence", region: { x: 0, y: 0, z: 0 }, key, payload: new Uint8Array(0), ...fields };
}

class Node {
  readonly log: CausalLog;
  readonly delivered: string[] = [];

  constructor(nodeId: number, limits: Partial<CausalLimits> = {}, incarnation = 1) {
    this.log = new CausalLog({ nodeId, incarnation, limits });
    this.log.listen((e) => this.delivered.push(e.event?.key ?? ""));
  }

  publish(keys: string[], token?: VectorClock): VectorClock {
    return this.log.publish(keys.map((key) => event(key)), 1, token, DEFAULT_POLICY);
  }
}

/** Ticks every node and delivers everything, `rounds` times. */
function run(nodes: ReadonlyMap<number, Node>, rounds: number, nowMs: { value: number }, lose: (from: number, to: number, batch: CausalBatch) => boolean = () => false): void {
  for (let i = 0; i < rounds; i += 1) {
    nowMs.value += TICK_MS;
    for (const [from, node] of nodes) {
      for (const { to, batch } of node.log.tick(nowMs.value)) {
        if (!lose(from, to, batch)) nodes.get(to)?.log.onBatch(from, structuredClone(batch));
      }
    }
  }
}

function connect(nodes: ReadonlyMap<number, Node>): void {
  for (const [id, node] of nodes) for (const peer of nodes.keys()) if (peer !== id) node.log.peerUp(peer);
}

function cluster(ids: number[], limits: Partial<CausalLimits> = {}): Map<number, Node> {
  const nodes = new Map(ids.map((id) => [id, new Node(id, limits)]));
  connect(nodes);
  return nodes;
}

function remote(origin: number, sequence: number, key: string, dependencies: VectorClock = emptyClock()): DeliveredEvent {
  return { event: event(key), serverId: 1, id: { origin, sequence }, dependencies };
}

function batchOf(events: DeliveredEvent[], fields: Partial<CausalBatch> = {}): CausalBatch {
  return { events, frontier: [], wanted: [], keptFrom: [], ...fields };
}

function thrown(action: () => unknown): MeshError {
  try {
    action();
  } catch (error) {
    if (error instanceof MeshError) return error;
  }
  throw new Error("expected a MeshError");
}

const A = originOf(1, 1);
const B = originOf(2, 1);

describe("causal delivery", () => {
  it("delivers an event after its origin's previous one and after everything it depends on", () => {
    const node = new Node(3);
    node.log.onBatch(2, batchOf([remote(B, 1, "effect", { entries: [{ origin: A, sequence: 2 }] }), remote(B, 2, "later")]));
    node.log.onBatch(1, batchOf([remote(A, 2, "cause")]));
    expect(node.delivered).toEqual([]);
    node.log.onBatch(1, batchOf([remote(A, 1, "first")]));
    expect(node.delivered).toEqual(["first", "cause", "effect", "later"]);
  });

  it("ignores duplicates and malformed events, and counts them", () => {
    const node = new Node(3);
    node.log.onBatch(1, batchOf([remote(A, 1, "one"), remote(A, 1, "one"), { ...remote(A, 2, "two"), id: undefined }, remote(7, 1, "no origin")]));
    expect(node.delivered).toEqual(["one"]);
    expect(node.log.statistics()).toMatchObject({ delivered: 1, duplicates: 1, refused: 2 });
  });

  it("lets only so many events wait, and pulls the others again when there is room", () => {
    const nodes = cluster([1, 2], { maxPending: 3 });
    const [first, second] = [nodes.get(1) as Node, nodes.get(2) as Node];
    first.publish(Array.from({ length: 20 }, (_, i) => `e${i}`));
    const batch = first.log.tick(0)[0]?.batch as CausalBatch;
    second.log.onBatch(1, batchOf(structuredClone(batch.events.slice(1))));
    expect(second.log.statistics()).toMatchObject({ pending: 3, refused: 16 });
    run(nodes, 30, { value: 0 });
    expect(second.delivered).toEqual(first.delivered);
  });

  it("pulls what got lost from whoever has it, also when its origin is gone", () => {
    const nodes = cluster([1, 2, 3]);
    const now = { value: 0 };
    nodes.get(1)?.publish(["a", "b", "c"]);
    run(nodes, 1, now, (from, to) => from === 1 && to === 3);
    nodes.delete(1);
    for (const node of nodes.values()) node.log.peerDown(1);
    run(nodes, 20, now);
    expect(nodes.get(3)?.delivered).toEqual(["a", "b", "c"]);
  });
});

describe("causal publishing", () => {
  it("names only what the event does not follow anyway", () => {
    const nodes = cluster([1, 2, 3]);
    const [one, two, three] = [1, 2, 3].map((id) => nodes.get(id) as Node) as [Node, Node, Node];
    const now = { value: 0 };
    const afterA = one.publish(["a"]);
    run(nodes, 2, now);
    const afterB = two.publish(["b"], afterA);
    run(nodes, 2, now);
    const seen: DeliveredEvent[] = [];
    three.log.listen((e) => seen.push(e));
    const both: VectorClock = { entries: [...afterA.entries, ...afterB.entries] };
    const token = three.publish(["c", "d"], both);
    three.publish(["e"], both);
    expect(token).toEqual({ entries: [{ origin: originOf(3, 1), sequence: 2 }] });
    // c follows b, which follows a; d follows c; e follows d.
    expect(seen.map((e) => [e.event?.key, e.dependencies?.entries])).toEqual([["c", afterB.entries], ["d", []], ["e", []]]);
  });

  it("names an event that only later events of another named origin follow", () => {
    const node = new Node(3);
    // B's second event follows A's; its first, which the caller saw, does not.
    node.log.onBatch(1, batchOf([remote(A, 1, "a")]));
    node.log.onBatch(2, batchOf([remote(B, 1, "b1"), remote(B, 2, "b2", { entries: [{ origin: A, sequence: 1 }] })]));
    const seen: DeliveredEvent[] = [];
    node.log.listen((e) => seen.push(e));
    const early: VectorClock = { entries: [{ origin: A, sequence: 1 }, { origin: B, sequence: 1 }] };
    const late: VectorClock = { entries: [{ origin: A, sequence: 1 }, { origin: B, sequence: 2 }] };
    node.publish(["c"], { entries: [{ origin: B, sequence: 1 }] });
    node.publish(["d"], early);
    expect(seen.map((e) => e.dependencies?.entries)).toEqual([[{ origin: B, sequence: 1 }], [{ origin: A, sequence: 1 }]]);
    const other = new Node(4);
    other.log.onBatch(1, batchOf([remote(A, 1, "a")]));
    other.log.onBatch(2, batchOf([remote(B, 1, "b1"), remote(B, 2, "b2", { entries: [{ origin: A, sequence: 1 }] })]));
    other.log.listen((e) => seen.push(e));
    other.publish(["e"], early);
    other.publish(["f"], late);
    expect(seen.slice(2).map((e) => e.dependencies?.entries)).toEqual([early.entries, [{ origin: B, sequence: 2 }]]);
  });

  it("asks a caller whose token this node does not cover to come again, and takes it once it does", () => {
    const nodes = cluster([1, 2]);
    const [one, two] = [nodes.get(1) as Node, nodes.get(2) as Node];
    const token = one.publish(["a"]);
    expect(two.log.covers(token)).toBe(false);
    const error = thrown(() => two.publish(["b"], token));
    expect([error.reason, error.retryDelayMs]).toEqual(["TOKEN_AHEAD", 50]);
    run(nodes, 1, { value: 0 });
    expect(two.log.covers(token)).toBe(true);
    two.publish(["b"], token);
    expect(two.delivered).toEqual(["a", "b"]);
  });

  it("hands the token back where nothing is published", () => {
    expect(new Node(1).publish([], { entries: [{ origin: B, sequence: 9 }] })).toEqual({ entries: [{ origin: B, sequence: 9 }] });
  });

  it.each([
    ["causal_token.entries[0].origin", { entries: [{ origin: 5, sequence: 1 }] }],
    ["causal_token.entries[0].origin", { entries: [{ origin: 2 ** 32 * 5, sequence: 1 }] }],
    ["causal_token.entries[0].sequence", { entries: [{ origin: A, sequence: 0 }] }],
    ["causal_token.entries[1].origin", { entries: [{ origin: B, sequence: 1 }, { origin: A, sequence: 1 }] }],
    ["causal_token.entries", { entries: Array.from({ length: 1_025 }, (_, i) => ({ origin: originOf(1, i + 1), sequence: 1 })) }],
  ])("refuses a token that breaks %s", (field, token) => {
    const node = new Node(1);
    expect(thrown(() => node.publish(["a"], token)).field).toBe(field);
    expect(node.delivered).toEqual([]);
  });

  it("refuses events that break a rule, all of the request, by field", () => {
    const { log } = new Node(1);
    const publish = (e: CausalEvent) => thrown(() => log.publish([event("good"), e], 1, undefined, DEFAULT_POLICY));
    expect(publish(event("")).field).toBe("events[1].key");
    expect(publish(event("k", { payload: new Uint8Array(4_097) })).field).toBe("events[1].payload");
    expect(publish(event("k", { region: undefined })).field).toBe("events[1].region");
    expect(publish(event("k", { type: "creature_position" })).reason).toBe("UNKNOWN_TYPE");
    expect(thrown(() => log.publish(Array.from({ length: 257 }, () => event("k")), 1, undefined, DEFAULT_POLICY)).field).toBe("events");
    expect(log.frontier().entries).toEqual([]);
  });

  it("answers OVERLOADED beyond the events of a tick, whatever the peers do", () => {
    const node = new Node(1, { maxPublishedPerTick: 3 });
    node.publish(["a", "b"]);
    expect(thrown(() => node.publish(["c", "d"])).reason).toBe("OVERLOADED");
    node.log.tick(0);
    node.publish(["c", "d"]);
    expect(node.delivered).toEqual(["a", "b", "c", "d"]);
  });
});

describe("causal events that nobody has any more", () => {
  it("gives a node that joins late what is still kept, and counts the rest as a gap", () => {
    const nodes = cluster([1, 2], { maxKeptEvents: 10 });
    const now = { value: 0 };
    for (let i = 0; i < 30; i += 1) nodes.get(1)?.publish([`e${i}`]);
    run(nodes, 5, now);
    nodes.set(3, new Node(3, { maxKeptEvents: 10 }));
    connect(nodes);
    run(nodes, 20, now);
    const late = nodes.get(3) as Node;
    expect(late.delivered).toEqual(Array.from({ length: 10 }, (_, i) => `e${20 + i}`));
    expect(late.log.statistics().gaps).toBe(20);
    nodes.get(1)?.publish(["next"]);
    run(nodes, 2, now);
    expect(late.delivered.at(-1)).toBe("next");
  });

  it("waits for a node that is away, and goes on without its lost events once it has started anew", () => {
    const nodes = cluster([1, 2, 3], { lostAfterMs: 1_000 });
    const now = { value: 0 };
    const first = nodes.get(1) as Node;
    first.publish(["a"]);
    run(nodes, 2, now);
    // "b" is lost with its node; "c" gets out.
    first.publish(["b"]);
    first.publish(["c"]);
    const batch = first.log.tick(now.value)[0]?.batch as CausalBatch;
    nodes.delete(1);
    for (const node of nodes.values()) {
      node.log.peerDown(1);
      node.log.onBatch(1, batchOf(structuredClone(batch.events.filter((e) => e.event?.key === "c"))));
    }
    run(nodes, 100, now);
    expect(nodes.get(2)?.delivered).toEqual(["a"]);
    nodes.set(1, new Node(1, {}, 2));
    connect(nodes);
    run(nodes, 40, now);
    expect(nodes.get(2)?.delivered).toEqual(["a", "c"]);
    expect(nodes.get(2)?.log.statistics().gaps).toBe(1);
  });

  it("gives up on the events of a node that stays away only after minutes, and then ignores them when it comes back", () => {
    const nodes = cluster([1, 2, 3], { awayAfterMs: 60_000, lostAfterMs: 1_000 });
    const now = { value: 0 };
    const away = nodes.get(1) as Node;
    away.publish(["a", "b"]);
    const events = away.log.tick(now.value)[0]?.batch.events as DeliveredEvent[];
    nodes.delete(1);
    for (const node of nodes.values()) {
      node.log.peerDown(1);
      node.log.onBatch(1, batchOf(structuredClone(events.slice(1))));
    }
    run(nodes, 59_000 / TICK_MS, now);
    expect(nodes.get(2)?.delivered).toEqual([]);
    run(nodes, 2_000 / TICK_MS, now);
    expect(nodes.get(2)?.delivered).toEqual(["b"]);
    nodes.set(1, away);
    connect(nodes);
    run(nodes, 20, now);
    expect(nodes.get(2)?.delivered).toEqual(["b"]);
    expect(nodes.get(2)?.log.statistics()).toMatchObject({ gaps: 1, pending: 0 });
  });

  it("no longer waits for a token's events that were lost with the start of a node that gave it", () => {
    const nodes = cluster([1, 2]);
    const now = { value: 0 };
    const token = nodes.get(1)?.publish(["never sent"]) as VectorClock;
    nodes.get(2)?.log.peerDown(1);
    nodes.set(1, new Node(1, {}, 2));
    const two = nodes.get(2) as Node;
    expect(two.log.covers(token)).toBe(false);
    connect(nodes);
    run(nodes, 10, now);
    expect(two.log.covers(token)).toBe(true);
    two.publish(["on"], token);
    expect(two.delivered).toEqual(["on"]);
  });

  it("keeps bytes within their limit, the oldest going first", () => {
    const node = new Node(1, { maxKeptBytes: 10_000 });
    for (let i = 0; i < 200; i += 1) {
      node.log.publish([event(`e${i}`, { payload: new Uint8Array(100) })], 1, undefined, DEFAULT_POLICY);
      expect(node.log.statistics().keptBytes).toBeLessThanOrEqual(10_000);
    }
    const { events, lost } = node.log.since(emptyClock(), () => true);
    expect(events.at(-1)?.event?.key).toBe("e199");
    expect(events.length + lost).toBe(200);
  });
});
