import { emptyClock, merge } from "@statemesh/clocks";
import { type CausalBatch, MeshError, type VectorClock } from "@statemesh/contract";
import { DEFAULT_POLICY } from "@statemesh/world";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CausalLog } from "../src/causal/index.ts";

const NODES = 4;
const TICK_MS = 50;

interface Flight {
  readonly from: number;
  readonly to: number;
  readonly batch: CausalBatch;
}

/** What a session has really seen, beside the token that stands for it. */
interface Session {
  token: VectorClock;
  past: Set<string>;
}

class Cluster {
  readonly logs: CausalLog[] = [];
  readonly delivered: string[][] = [];
  /** The causal past of every event. */
  readonly past = new Map<string, Set<string>>();
  readonly lastOf: (string | undefined)[] = [];
  readonly sessions: Session[] = Array.from({ length: 3 }, () => ({ token: emptyClock(), past: new Set<string>() }));
  flights: Flight[] = [];
  nowMs = 0;
  #count = 0;

  constructor() {
    for (let i = 0; i < NODES; i += 1) {
      const log = new CausalLog({ nodeId: i + 1, incarnation: 7, limits: { maxPending: 6, window: 32, maxEventsPerTick: 4, frontierEveryTicks: 2 } });
      const order: string[] = [];
      log.listen((event) => order.push(event.event?.key ?? ""));
      for (let peer = 0; peer < NODES; peer += 1) if (peer !== i) log.peerUp(peer + 1);
      this.logs.push(log);
      this.delivered.push(order);
    }
  }

  publish(node: number, who: number, count: number): void {
    const session = this.sessions[who] as Session;
    const log = this.logs[node] as CausalLog;
    const keys = Array.from({ length: count }, (_, i) => `e${this.#count + i}`);
    try {
      session.token = log.publish(keys.map((key) => ({ type: "event_sequence", region: { x: 0, y: 0, z: 0 }, key, payload: Uint8Array.of(1) })), 1, session.token, DEFAULT_POLICY);
    } catch (error) {
      if (error instanceof MeshError && error.reason === "TOKEN_AHEAD") return;
      throw error;
    }
    this.#count += count;
    for (const key of keys) {
      const past = new Set(session.past);
      const previous = this.lastOf[node];
      if (previous !== undefined) for (const p of [previous, ...(this.past.get(previous) ?? [])]) past.add(p);
      this.past.set(key, past);
      this.lastOf[node] = key;
      session.past = new Set([...past, key]);
    }
  }

  /** The session sees an event that a node has delivered: not always the latest, as subscribers of one region do. */
  observe(node: number, who: number, which: number): void {
    const session = this.sessions[who] as Session;
    const keys = this.delivered[node] as string[];
    const key = keys[keys.length - 1 - (which % Math.max(1, keys.length))];
    if (key === undefined) return;
    const { events } = (this.logs[node] as CausalLog).since(emptyClock(), (e) => e.event?.key === key);
    const id = events[0]?.id;
    if (id === undefined) return;
    session.token = merge(session.token, { entries: [id] });
    session.past = new Set([...session.past, key, ...(this.past.get(key) ?? [])]);
  }

  tick(): void {
    this.nowMs += TICK_MS;
    this.logs.forEach((log, from) => {
      for (const { to, batch } of log.tick(this.nowMs)) this.flights.push({ from: from + 1, to, batch: structuredClone(batch) });
    });
  }

  deliver(flight: Flight): void {
    this.logs[flight.to - 1]?.onBatch(flight.from, structuredClone(flight.batch));
  }
}

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("publish" as const), node: fc.nat(NODES - 1), who: fc.nat(2), count: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("observe" as const), node: fc.nat(NODES - 1), who: fc.nat(2), which: fc.nat(5) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("tick" as const) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constantFrom("deliver" as const, "deliver" as const, "lose" as const, "repeat" as const), which: fc.nat(1_000) }) },
);

describe("causal events on four nodes", () => {
  it("arrive after their causes on every node, and exactly once, whatever is lost, doubled or reordered", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100, size: "max" }), (steps) => {
        const cluster = new Cluster();
        for (const s of steps) {
          if (s.kind === "tick") cluster.tick();
          else if (s.kind === "publish") cluster.publish(s.node, s.who, s.count);
          else if (s.kind === "observe") cluster.observe(s.node, s.who, s.which);
          else if (cluster.flights.length > 0) {
            const at = s.which % cluster.flights.length;
            const flight = cluster.flights[at] as Flight;
            if (s.kind !== "repeat") cluster.flights.splice(at, 1);
            if (s.kind !== "lose") cluster.deliver(flight);
          }
        }
        cluster.flights = [];
        for (let i = 0; i < 300 && cluster.delivered.some((order) => order.length < cluster.past.size); i += 1) {
          cluster.tick();
          for (const flight of cluster.flights.splice(0)) cluster.deliver(flight);
        }
        for (const order of cluster.delivered) {
          expect([...order].sort()).toEqual([...cluster.past.keys()].sort());
          const seen = new Set<string>();
          for (const key of order) {
            for (const cause of cluster.past.get(key) ?? []) if (!seen.has(cause)) throw new Error(`${key} before its cause ${cause}`);
            seen.add(key);
          }
        }
        for (const log of cluster.logs) {
          expect(log.statistics()).toMatchObject({ gaps: 0, pending: 0 });
          for (const session of cluster.sessions) expect(log.covers(session.token)).toBe(true);
        }
      }),
      { numRuns: 200 },
    );
  });
});
