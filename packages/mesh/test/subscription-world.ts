// Nodes with real eventual and causal state and a made-up strong log, and a reader that checks what it is sent.
import { HybridClock } from "@statemesh/clocks";
import { type DeliveredEvent, type Entity, type EntityChange, Entity as EntityMessage, type EventualValue, type Region, type SubscribeResponse, type SubscriptionMoved } from "@statemesh/contract";
import { DEFAULT_POLICY } from "@statemesh/world";
import { CausalLog } from "../src/causal/index.ts";
import { EventualStore } from "../src/eventual/index.ts";
import { SubscriptionHub, type SubscriptionLimits } from "../src/subscriptions/index.ts";

export const REGIONS: Region[] = [{ x: 0, y: 0, z: 0 }, { x: 1, y: 0, z: 0 }, { x: 0, y: 9, z: 0 }, { x: 0, y: 9, z: 1 }];
/** Two regions a group. */
export const groupOf = (region: Region): number => (region.y === 0 ? 1 : 2);
export const nameOf = (region: Region | undefined): string => `${region?.x},${region?.y},${region?.z}`;

export interface LogRecord {
  readonly index: number;
  readonly term: number;
  readonly changes: EntityChange[];
}

/** The strong logs that all nodes apply. */
export class Logs {
  readonly records = new Map<number, LogRecord[]>([[1, []], [2, []]]);
  readonly #where = new Map<string, Entity>();

  /** Puts, moves and removes entities of one group in one entry. */
  append(groupId: number, writes: readonly { id: string; region: Region; remove: boolean }[]): void {
    const records = this.records.get(groupId) as LogRecord[];
    const index = records.length + 1;
    const changes: EntityChange[] = [];
    const push = (entity: Entity, removed: boolean): number => changes.push({ entity, removed, position: { groupId, term: 3, index } });
    for (const { id, region, remove } of writes) {
      const held = this.#where.get(id);
      if (held !== undefined && (remove || nameOf(held.region) !== nameOf(region))) push(held, true);
      this.#where.delete(id);
      if (remove) continue;
      const entity: Entity = { ...EntityMessage.fromPartial({}), entityId: id, kind: "structure", region, version: index };
      this.#where.set(id, entity);
      push(entity, false);
    }
    records.push({ index, term: 3, changes });
  }
}

export class Node {
  readonly store = new EventualStore({ settleMs: 0, repairRetryMs: 0, digestEveryTicks: 1 });
  readonly clock = new HybridClock();
  readonly causal: CausalLog;
  readonly hub: SubscriptionHub;
  readonly entities = new Map<string, Entity>();
  readonly applied = new Map<number, number>();
  readonly readable: number[] = [];
  readonly events: DeliveredEvent[] = [];
  nowMs = 1_700_000_000_000;

  constructor(nodeId: number, limits: Partial<SubscriptionLimits> = {}, clusterId = "world") {
    this.causal = new CausalLog({ nodeId, incarnation: 1 });
    this.hub = new SubscriptionHub({
      clusterId,
      groupOf,
      reader: {
        entitiesOf: (region) => [...this.entities.values()].filter((e) => nameOf(e.region) === nameOf(region)),
        valuesOf: (region, tombstones) => this.store.valuesOf(region, Number.POSITIVE_INFINITY, tombstones),
        positionOf: (groupId) => ({ term: 3, index: this.applied.get(groupId) ?? 0 }),
      },
      causal: this.causal,
      nowMs: () => this.nowMs,
      monotonicMs: () => this.nowMs,
      onReadable: (id) => this.readable.push(id),
      limits,
    });
    this.store.listen(this.hub);
    this.causal.listen((event) => {
      this.events.push(event);
      this.hub.onCausal(event);
    });
  }

  /** Applies the next entry of a group, if there is one. */
  apply(logs: Logs, groupId: number): boolean {
    const at = this.applied.get(groupId) ?? 0;
    const record = logs.records.get(groupId)?.[at];
    if (record === undefined) return false;
    for (const { entity, removed } of record.changes) {
      if (entity === undefined) continue;
      if (removed) this.entities.delete(entity.entityId);
      else this.entities.set(entity.entityId, entity);
    }
    this.applied.set(groupId, record.index);
    this.hub.onStrongChange(groupId, record.index, record.term, record.changes);
    return true;
  }

  publish(region: Region, key: string, value: number, deleted = false): void {
    this.store.publish([{ type: "creature_position", region, key, value: Uint8Array.of(value), deleted, timestampMs: 0 }], 1, this.nowMs, this.clock, DEFAULT_POLICY);
  }

  emit(region: Region, key: string): void {
    this.causal.publish([{ type: "event_sequence", region, key, payload: new Uint8Array(0) }], 1, undefined, DEFAULT_POLICY);
  }
}

/** Brings the eventual and causal state of all nodes together. */
export function gossip(nodes: readonly Node[]): void {
  nodes.forEach((node, from) => {
    node.nowMs += 50;
    const deltas = node.store.tick(node.nowMs);
    const batches = node.causal.tick(node.nowMs);
    for (const { to, delta } of deltas) nodes[to - 1]?.store.onDelta(from + 1, structuredClone(delta), node.nowMs, (nodes[to - 1] as Node).clock);
    for (const { to, batch } of batches) nodes[to - 1]?.causal.onBatch(from + 1, structuredClone(batch));
  });
}

export function connect(nodes: readonly Node[]): void {
  nodes.forEach((node, i) => {
    nodes.forEach((_, j) => {
      if (i === j) return;
      node.store.peerUp(j + 1);
      node.causal.peerUp(j + 1);
    });
  });
}

/** Keeps what it is sent, and fails on whatever breaks the promise. */
export class Reader {
  token = "";
  lagged = 0;
  snapshots = 0;
  readonly entities = new Map<string, Entity>();
  readonly values = new Map<string, EventualValue>();
  readonly events: string[] = [];
  /** What it reads, as the last snapshot and moves since said. */
  regions: string[] = [];
  /** Changes since the last snapshot, by group. */
  readonly changes = new Map<number, string[]>();
  /** A snapshot is coming in parts. */
  #inSnapshot = false;
  #isMoving = false;
  #movesTo: string[] = [];
  readonly #eventIds = new Set<string>();

  take(response: SubscribeResponse): void {
    this.token = response.resumeToken;
    const { event } = response;
    if (event === undefined) throw new Error("a message without content");
    if ((this.#inSnapshot || this.#isMoving) && event.$case === "changes") throw new Error("changes in the middle of a snapshot");
    switch (event.$case) {
      case "lagged":
        this.lagged += 1;
        this.#inSnapshot = false;
        this.#isMoving = false;
        return;
      case "snapshot":
        if (!this.#inSnapshot) this.#clear();
        this.#inSnapshot = !event.value.complete;
        for (const entity of event.value.entities) this.#put(entity);
        for (const value of event.value.values) this.values.set(`${nameOf(value.region)} ${value.key}`, value);
        if (event.value.complete) this.regions = event.value.regions.map(nameOf).sort();
        return;
      case "moved":
        this.#move(event.value);
        return;
      case "changes":
        for (const change of event.value.entities) this.#change(change);
        for (const value of event.value.values) {
          if (value.deleted) this.values.delete(`${nameOf(value.region)} ${value.key}`);
          else this.values.set(`${nameOf(value.region)} ${value.key}`, value);
        }
        for (const delivered of event.value.events) this.#event(delivered);
    }
  }

  /** It comes back with its token: parts of a snapshot that it has not whole are void. */
  reconnect(): void {
    this.#inSnapshot = false;
    this.#isMoving = false;
  }

  #clear(): void {
    this.snapshots += 1;
    this.entities.clear();
    this.values.clear();
    this.changes.clear();
  }

  /** What is out of reach is forgotten; what came into reach begins anew. */
  #move({ entered, left, entities, values, complete }: SubscriptionMoved): void {
    if (entered.length + left.length > 0) {
      const fresh = new Set([...entered, ...left].map(nameOf));
      for (const [id, { region }] of this.entities) if (fresh.has(nameOf(region))) this.entities.delete(id);
      for (const [key, { region }] of this.values) if (fresh.has(nameOf(region))) this.values.delete(key);
      this.#movesTo = [...this.regions.filter((region) => !fresh.has(region)), ...entered.map(nameOf)].sort();
    }
    for (const entity of entities) this.#put(entity);
    for (const value of values) this.values.set(`${nameOf(value.region)} ${value.key}`, value);
    this.#isMoving = !complete;
    if (complete) this.regions = this.#movesTo;
  }

  #put(entity: Entity): void {
    if (this.entities.has(entity.entityId)) throw new Error(`snapshot has ${entity.entityId} twice`);
    this.entities.set(entity.entityId, entity);
  }

  #change({ entity, removed, position }: EntityChange): void {
    if (entity === undefined || position === undefined) throw new Error("a change without entity");
    const seen = this.changes.get(position.groupId) ?? [];
    this.changes.set(position.groupId, seen);
    seen.push(placeOf({ entity, removed, position }));
    if (removed) {
      if (!this.entities.delete(entity.entityId)) throw new Error(`${entity.entityId} is removed, but was not there`);
    } else {
      const held = this.entities.get(entity.entityId);
      if (held !== undefined && held.version > entity.version) throw new Error(`${entity.entityId} goes back`);
      this.entities.set(entity.entityId, entity);
    }
  }

  #event(delivered: DeliveredEvent): void {
    const id = `${delivered.id?.origin}/${delivered.id?.sequence}`;
    if (this.#eventIds.has(id)) throw new Error(`event ${id} twice`);
    this.#eventIds.add(id);
    this.events.push(delivered.event?.key ?? "");
  }
}

export function placeOf({ entity, removed, position }: EntityChange): string {
  return `${position?.index} ${removed ? "-" : "+"}${entity?.entityId}`;
}
