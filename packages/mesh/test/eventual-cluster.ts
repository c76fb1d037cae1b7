// Stores of several nodes, and what passes between them, over virtual time.
import { HybridClock } from "@statemesh/clocks";
import { EventualDelta, type EventualUpdate, type Region } from "@statemesh/contract";
import { DEFAULT_POLICY } from "@statemesh/world";
import { type EventualLimits, EventualStore, OwnInterest } from "../src/eventual/index.ts";

const TICK_MS = 50;
export const HOME: Region = { x: 0, y: 0, z: 0 };

export class EventualCluster {
  readonly stores: EventualStore[] = [];
  readonly #clocks: HybridClock[] = [];
  readonly #limits: Partial<EventualLimits>;
  readonly #cut = new Set<string>();
  readonly #starts: number[] = [];
  /** By node: how far its clock is ahead, milliseconds. */
  readonly aheadMs: number[] = [];
  nowMs = 1_700_000_000_000;
  /** By node: what is read there; none: the node is of a build that does not say it. */
  readonly interests: (OwnInterest | undefined)[] = [];
  /** Who keeps all regions beside those that read them. */
  keeper = 0;
  /** So many of the next deltas are lost, though the nodes hear one another. */
  losing = 0;
  /** Encoded bytes of all deltas that were sent. */
  bytes = 0;

  constructor(size: number, limits: Partial<EventualLimits> = {}, saying: readonly number[] = []) {
    this.#limits = limits;
    for (const node of saying) this.interests[node] = new OwnInterest();
    for (let node = 0; node < size; node += 1) this.restart(node);
  }

  /** The node begins anew, with nothing. */
  restart(node: number): void {
    this.#starts[node] = (this.#starts[node] ?? 0) + 1;
    const store = new EventualStore(this.#limits, { nodeId: node + 1, incarnation: this.#starts[node], inParts: () => true }, this.#portOf(node));
    for (let peer = 0; peer < this.stores.length; peer += 1) {
      if (peer === node) continue;
      this.stores[peer]?.peerDown(node + 1);
      if (!this.isCut(peer, node)) this.#join(peer, node, store);
    }
    this.stores[node] = store;
    this.#clocks[node] = new HybridClock();
  }

  #portOf(node: number): { own: OwnInterest; keeperOf: () => number } | undefined {
    const own = this.interests[node];
    return own === undefined ? undefined : { own, keeperOf: () => this.keeper + 1 };
  }

  isCut(a: number, b: number): boolean {
    return this.#cut.has(nameOf(a, b));
  }

  cut(a: number, b: number): void {
    if (this.isCut(a, b)) return;
    this.#cut.add(nameOf(a, b));
    this.stores[a]?.peerDown(b + 1);
    this.stores[b]?.peerDown(a + 1);
  }

  heal(a: number, b: number): void {
    if (!this.#cut.delete(nameOf(a, b))) return;
    this.stores[a]?.peerUp(b + 1);
    this.stores[b]?.peerUp(a + 1);
  }

  #wallMs(node: number): number {
    return this.nowMs + (this.aheadMs[node] ?? 0);
  }

  publish(node: number, key: string, value: string | undefined, region: Region = HOME): void {
    this.publishAll(node, [[key, value]], region);
  }

  /** Many at once, at most 1,024. */
  publishAll(node: number, writes: readonly (readonly [key: string, value: string | undefined])[], region: Region = HOME): void {
    const updates = writes.map(([key, value]): EventualUpdate => ({ type: "creature_position", region, key, value: new TextEncoder().encode(value ?? ""), deleted: value === undefined, timestampMs: 0 }));
    this.stores[node]?.publish(updates, 1, this.#wallMs(node), this.#clocks[node] as HybridClock, DEFAULT_POLICY);
  }

  /** Lets time pass; what is sent in a tick comes before the next. */
  run(ms: number, stepMs: number = TICK_MS): void {
    for (let passed = 0; passed < ms; passed += stepMs) {
      this.nowMs += stepMs;
      const sent = this.stores.flatMap((store, from) => store.tick(this.#wallMs(from)).map(({ to, delta }) => ({ from, to: to - 1, bytes: EventualDelta.encode(delta).finish() })));
      for (const { from, to, bytes } of sent) {
        this.bytes += bytes.length;
        if (this.isCut(from, to)) continue;
        if (this.losing > 0) this.losing -= 1;
        else this.stores[to]?.onDelta(from + 1, EventualDelta.decode(bytes), this.#wallMs(to), this.#clocks[to] as HybridClock);
      }
    }
  }

  /** Live keys with their values. */
  holds(node: number, region: Region = HOME): Record<string, string> {
    const entries = (this.stores[node]?.valuesOf(region) ?? []).map(({ key, value }): [string, string] => [key, new TextDecoder().decode(value)]);
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  #join(peer: number, node: number, store: EventualStore): void {
    this.stores[peer]?.peerUp(node + 1);
    store.peerUp(peer + 1);
  }
}

function nameOf(a: number, b: number): string {
  return `${Math.min(a, b)}-${Math.max(a, b)}`;
}
