import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MeshClient, Subscription } from "@statemesh/client";
import { type DeliveredEvent, type EventualValue, Outcome, type Region, type SubscribeResponse, type VectorClock } from "@statemesh/contract";
import { type Cluster, startCluster, until } from "./cluster.ts";

const REGION: Region = { x: 1, y: 0, z: 1 };

/** Everything that a subscription has brought, in order. */
class Follower {
  readonly messages: SubscribeResponse[] = [];
  readonly #subscription: Subscription;
  readonly #done: Promise<void>;

  constructor(subscription: Subscription) {
    this.#subscription = subscription;
    this.#done = this.#follow();
  }

  async #follow(): Promise<void> {
    for await (const message of this.#subscription) this.messages.push(message);
  }

  get resumeToken(): string {
    return this.#subscription.resumeToken;
  }

  /** Values in the order in which they came. */
  get values(): EventualValue[] {
    return this.messages.flatMap(({ event }) => (event?.$case === "snapshot" || event?.$case === "changes" || event?.$case === "moved" ? event.value.values : []));
  }

  get events(): DeliveredEvent[] {
    return this.messages.flatMap(({ event }) => (event?.$case === "changes" ? event.value.events : []));
  }

  get started(): boolean {
    return this.messages.some(({ event }) => event?.$case === "snapshot" && event.value.complete);
  }

  /** The newest value of a key, as text. */
  latest(key: string): string | undefined {
    const value = this.values.findLast((each) => each.key === key);
    return value === undefined ? undefined : value.deleted ? "(deleted)" : Buffer.from(value.value).toString("utf8");
  }

  /** The keys of the events, in order. */
  get order(): string[] {
    return this.events.map(({ event }) => event?.key ?? "");
  }

  async close(): Promise<void> {
    this.#subscription.close();
    await this.#done;
  }
}

describe("eventual values, causal events and subscriptions", () => {
  let cluster: Cluster;
  let server: MeshClient;
  /** The same server, through one node each. */
  let through: MeshClient[];

  beforeAll(async () => {
    cluster = await startCluster({ groups: 2 });
    server = await cluster.server(1);
    await cluster.server(2);
    await cluster.server(9);
    through = cluster.nodes.map((node) => cluster.only(server, node));
  });

  afterAll(async () => cluster.close());

  /** A client of node `id` (1..3). */
  const by = (id: number): MeshClient => {
    const client = through[id - 1];
    if (client === undefined) throw new Error(`no node ${id}`);
    return client;
  };

  const update = (key: string, value: string, fields: object = {}) => ({ type: "creature_position", region: REGION, key, value: Buffer.from(value), deleted: false, timestampMs: 0, ...fields });
  const event = (key: string, region = REGION) => ({ type: "event_sequence", region, key, payload: Buffer.from(key) });

  async function follow(node: number, target: object): Promise<Follower> {
    const follower = new Follower(by(node).subscribe({ regions: [REGION], ...target }));
    await until("the subscription has begun", () => follower.started);
    return follower;
  }

  /** What each node holds of a key. */
  async function held(key: string): Promise<(EventualValue | undefined)[]> {
    return await Promise.all([1, 2, 3].filter((id) => cluster.node(id).running).map(async (id) => (await by(id).read({ region: REGION, level: 4, includeEventual: true })).values.find((value) => value.key === key)));
  }

  test("a subscriber on another node gets the newest value, and fewer messages than were published", async () => {
    const follower = await follow(3, { eventual: true });
    const steps = 2_000;
    for (let step = 1; step <= steps; step++) await by(1).publish({ updates: [update("wolf", `step ${step}`)] });
    await until("the newest step arrives", () => follower.latest("wolf") === `step ${steps}`, () => follower.latest("wolf") ?? "nothing");
    const seen = follower.values.filter(({ key }) => key === "wolf").map(({ value }) => Number(Buffer.from(value).toString("utf8").slice("step ".length)));
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.length, "every single step was sent on: nothing was coalesced").toBeLessThan(steps);
    await by(2).publish({ updates: [update("wolf", "", { deleted: true })] });
    await until("the deletion arrives", () => follower.latest("wolf") === "(deleted)");
    await follower.close();
  });

  test("of writes with one time the server id decides, the same on every node and in any order", async () => {
    for (let round = 0; round < 10; round++) {
      const key = `tie-${round}`;
      const timestampMs = Date.now();
      const writes = [[1, 1], [2, 2], [9, 3]] as const;
      const order = round % 2 === 0 ? writes : [...writes].reverse();
      await Promise.all(order.map(async ([serverId, node]) => {
        const client = cluster.only(cluster.stranger(serverId), cluster.node(node));
        await client.publish({ updates: [update(key, `by ${serverId}`, { timestampMs })] });
      }));
      await until("all nodes hold the same", async () => {
        const values = await held(key);
        return values.every((value) => value !== undefined && value.serverId === values[0]?.serverId) && values[0]?.stamp?.physicalMs === timestampMs && values[0].serverId === 1;
      }, () => key);
      expect((await held(key)).map((value) => Buffer.from(value?.value ?? []).toString("utf8"))).toEqual(["by 1", "by 1", "by 1"]);
    }
  });

  test("a session reads what it wrote on any node, and never goes back: operations, values and events", async () => {
    let { token } = by(1).session();
    await until("the nodes say what sessions have seen", async () => ((await by(1).session().publish({ updates: [update("hawk", "step 0")] })).session?.eventual.length ?? 0) > 0);
    for (let step = 1; step <= 45; step++) {
      const [writes, reads] = [by((step % 3) + 1), by(((step + 1 + (step % 2)) % 3) + 1)];
      const writer = writes.session(token);
      await writer.publish({ updates: [update("hawk", `step ${step}`)], events: [event(`hawk-${step}`)] });
      await writer.execute(writes.operations.mint({ region: REGION, epoch: 0 }, { playerId: "hawk", itemKind: "gold", quantity: 1 }));
      const reader = reads.session(writer.token);
      const { values, balances } = await reader.read({ region: REGION, level: 4, includeEventual: true, accounts: ["hawk"] });
      expect(Buffer.from(values.find(({ key }) => key === "hawk")?.value ?? []).toString("utf8")).toBe(`step ${step}`);
      expect(balances.map(({ quantity }) => quantity)).toEqual([step]);
      if (step % 9 === 0) {
        const begun: string[] = [];
        for await (const { event: got } of reader.subscribe({ regions: [REGION], eventual: true })) {
          if (got?.$case !== "snapshot") continue;
          for (const { key, value } of got.value.values) if (key === "hawk") begun.push(Buffer.from(value).toString("utf8"));
          if (got.value.complete) break;
        }
        expect(begun).toEqual([`step ${step}`]);
      }
      // An event there follows what the session wrote elsewhere: it is taken at once.
      await reader.publish({ events: [event(`hawk-${step}-answer`)] });
      ({ token } = reader);
    }
    expect(token.eventual.length).toBeLessThanOrEqual(3);
    expect(token.causal?.entries.length).toBeLessThanOrEqual(3);
  });

  test("an older write changes nothing, wherever it arrives", async () => {
    const now = Date.now();
    await by(1).publish({ updates: [update("owl", "new", { timestampMs: now })] });
    await until("all nodes have it", async () => (await held("owl")).every((value) => value !== undefined));
    const late = await by(2).publish({ updates: [update("owl", "old", { timestampMs: now - 50 })] });
    expect(late).toMatchObject({ staleUpdates: 1 });
    expect((await held("owl")).map((value) => Buffer.from(value?.value ?? []).toString("utf8"))).toEqual(["new", "new", "new"]);
  });

  test("a node that was killed holds what the others hold again, also what was written and deleted meanwhile", async () => {
    for (let at = 0; at < 50; at++) await by(1).publish({ updates: [update(`deer-${at}`, "before")] });
    await until("node 3 has all", async () => (await by(3).read({ region: REGION, level: 4, includeEventual: true })).values.filter(({ key }) => key.startsWith("deer-")).length === 50);
    const { causalToken } = await by(3).publish({ events: Array.from({ length: 200 }, (_, at) => event(`before-${at}`)) });
    await by(1).publish({ events: [event("follows")], ...(causalToken === undefined ? {} : { causalToken }) });
    await cluster.node(3).kill();
    for (let at = 0; at < 25; at++) await by(2).publish({ updates: [update(`deer-${at}`, "meanwhile")] });
    await by(2).publish({ updates: [update("deer-49", "", { deleted: true }), update("deer-new", "meanwhile")] });
    await cluster.node(3).start();
    // Events from before it began are no news to a reader that begins on a node that has just started, whatever it still has to fetch.
    const reader = await follow(3, { causal: true });
    await by(3).publish({ events: [event("news")] });
    await until("the first event is there", () => reader.order.length > 0);
    expect(reader.order).toEqual(["news"]);
    await reader.close();
    await until("node 3 has converged", async () => {
      const [first, , third] = await Promise.all([1, 2, 3].map(async (id) => (await by(id).read({ region: REGION, level: 4, includeEventual: true })).values));
      const shown = (values: EventualValue[] | undefined) => (values ?? []).filter(({ key }) => key.startsWith("deer-")).map(({ key, value, stamp, serverId }) => JSON.stringify([key, Buffer.from(value).toString("utf8"), stamp, serverId])).sort().join();
      return first !== undefined && shown(first) === shown(third) && shown(third).includes("deer-new") && !shown(third).includes("deer-49");
    });
  });

  test("causal events arrive after what they depend on, on every node, though each is published through another", async () => {
    const followers = await Promise.all([1, 2, 3].map((node) => follow(node, { causal: true })));
    let token: VectorClock | undefined;
    const chain: string[] = [];
    for (let step = 0; step < 60; step++) {
      const key = `quest-${String(step).padStart(3, "0")}`;
      chain.push(key);
      // Beside the chain there are events that depend on nothing.
      await by(((step + 1) % 3) + 1).publish({ events: [event(`noise-${step}`)] });
      const { causalToken } = await by((step % 3) + 1).publish({ events: [event(key)], ...(token === undefined ? {} : { causalToken: token }) });
      token = causalToken;
    }
    for (const [at, follower] of followers.entries()) {
      await until(`all events are at node ${at + 1}`, () => follower.events.length >= 120, () => String(follower.events.length));
      expect(follower.order.filter((key) => key.startsWith("quest-")), `order at node ${at + 1}`).toEqual(chain);
      expect(new Set(follower.order).size).toBe(120);
      await follower.close();
    }
  });

  test("a subscription that is resumed goes on without gap or repeat, on another node too", async () => {
    const first = await follow(1, { causal: true, strong: true });
    let token: VectorClock | undefined;
    const publish = async (from: number, to: number): Promise<void> => {
      for (let at = from; at < to; at++) {
        const { causalToken } = await by((at % 3) + 1).publish({ events: [event(`tale-${at}`)], ...(token === undefined ? {} : { causalToken: token }) });
        token = causalToken;
        await build(server, `tale-${at}`, at);
      }
    };
    await publish(0, 10);
    const built = (follower: Follower): string[] => follower.messages.flatMap(({ event: it }) => (it?.$case === "changes" ? it.value.entities.map(({ entity }) => entity?.entityId ?? "") : []));
    await until("ten are there", () => first.events.length === 10 && built(first).length === 10);
    const { resumeToken } = first;
    await first.close();
    await publish(10, 20);

    for (const node of [1, 2]) {
      const resumed = new Follower(by(node).subscribe({ regions: [REGION], causal: true, strong: true, resumeToken }));
      await until("the others are there", () => resumed.events.length >= 10 && built(resumed).length >= 10, () => `${resumed.order.join()} ${built(resumed).join()}`);
      const rest = Array.from({ length: 10 }, (_, at) => `tale-${at + 10}`);
      expect(resumed.order, `events from node ${node}`).toEqual(rest);
      expect(built(resumed), `structures from node ${node}`).toEqual(rest);
      expect(resumed.messages.some(({ event: it }) => it?.$case === "snapshot" || it?.$case === "lagged")).toBe(false);
      await resumed.close();
    }
  });

  test("a subscription whose area moves enters with all that is there, also far away and on another node", async () => {
    const [near, far] = [{ x: 40, y: 0, z: 0 }, { x: 48, y: 0, z: 0 }] as const;
    const center = ({ x }: Region): { x: number; y: number; z: number } => ({ x: x * 2_000 + 1_000, y: 1_000, z: 1_000 });
    const at = (region: Region, name: string) => update(name, name, { region });
    await by(1).publish({ updates: [at(near, "oak"), at(far, "elm")] });
    const subscription = server.subscribe({ area: { center: center(near), radius: 500 }, types: ["creature_position"], eventualIntervalMs: 20 });
    const follower = new Follower(subscription);
    await until("the near tree is there", () => follower.latest("oak") === "oak");
    subscription.moveTo(center(far));
    await until("the far tree is there", () => follower.latest("elm") === "elm");
    const moves = follower.messages.flatMap(({ event }) => (event?.$case === "moved" ? [event.value] : []));
    expect([moves[0]?.entered, moves[0]?.left]).toEqual([[far], [near]]);
    await by(2).publish({ updates: [at(near, "ash"), at(far, "fir")] });
    await until("what changes there comes", () => follower.latest("fir") === "fir");
    expect(follower.latest("ash"), "what changes in the region that it left comes no more").toBeUndefined();
    subscription.elsewhere();
    subscription.moveTo(center(near));
    await until("it enters on another node where it was by then", () => follower.latest("ash") === "ash");
    await follower.close();
  });

  test("a subscriber that does not read is told how much it missed, and gets a snapshot of what stands by then", async () => {
    const place = { x: 60, y: 0, z: 0 };
    const subscription = by(2).subscribe({ regions: [place], strong: true });
    const messages = subscription[Symbol.asyncIterator]();
    expect((await messages.next()).value?.event?.$case).toBe("snapshot");
    const attributes = new Map([["sign", "x".repeat(1_000)]]);
    const stream = by(1).stream();
    const count = 6_500;
    const build = async (at: number): Promise<void> => {
      const corner = { minX: place.x * 2_000 + (at % 390) * 5, minY: Math.floor(at / 390) * 5, minZ: 10 };
      const bounds = { ...corner, maxX: corner.minX + 4, maxY: corner.minY + 4, maxZ: 14 };
      await stream.execute(server.operations.structurePlacement({ region: place, epoch: 0 }, { structureId: `slow-${at}`, kind: "wall", bounds, attributes }));
    };
    for (let built = 0; built < count; built += 500) await Promise.all(Array.from({ length: 500 }, async (_, at) => build(built + at)));
    stream.close();
    const held = new Set<string>();
    let dropped = 0;
    while (held.size < count || dropped === 0) {
      const { event } = (await messages.next()).value ?? {};
      if (event?.$case === "lagged") {
        dropped += event.value.dropped;
        held.clear();
      }
      if (event?.$case === "snapshot") for (const { entityId } of event.value.entities) held.add(entityId);
      if (event?.$case === "changes") for (const { entity } of event.value.entities) held.add(entity?.entityId ?? "");
    }
    expect(dropped).toBeGreaterThan(4_096);
    subscription.close();
  });

  test("strong changes reach subscribers on every node in the order of the log, after the snapshot, none twice", async () => {
    const place: Region = { x: 2, y: 0, z: 2 };
    await build(server, "wall-before", 0, place);
    const { position } = await server.read({ region: place });
    const followers = await Promise.all([1, 2, 3].map(async (node) => {
      const follower = new Follower(by(node).session({ positions: position === undefined ? [] : [position], causal: undefined, eventual: [] }).subscribe({ regions: [place], strong: true }));
      await until("the snapshot is there", () => follower.started);
      return follower;
    }));
    const versions: number[] = [];
    const walls: Promise<number>[] = [];
    for (let at = 1; at <= 100; at++) walls.push(build(by((at % 3) + 1), `wall-${at}`, at, place));
    versions.push(...(await Promise.all(walls)));
    const { outcome } = await server.execute(server.operations.structureRemoval({ region: place, epoch: 0 }, { structureId: "wall-50" }));
    expect(outcome).toBe(Outcome.ACCEPTED);
    for (const [at, follower] of followers.entries()) {
      const snapshot = follower.messages.flatMap(({ event: it }) => (it?.$case === "snapshot" ? it.value.entities.map(({ entityId }) => entityId) : []));
      expect(snapshot).toEqual(["wall-before"]);
      const changes = () => follower.messages.flatMap(({ event: it }) => (it?.$case === "changes" ? it.value.entities : []));
      await until(`all changes are at node ${at + 1}`, () => changes().length >= 101);
      const indexes = changes().map(({ position }) => position?.index ?? 0);
      expect(indexes, `order at node ${at + 1}`).toEqual([...indexes].sort((a, b) => a - b));
      expect(changes().length).toBe(101);
      expect(new Set(changes().filter(({ removed }) => !removed).map(({ entity }) => entity?.entityId)).size).toBe(100);
      expect(changes().at(-1)).toMatchObject({ removed: true, entity: { entityId: "wall-50" } });
      expect(changes().filter(({ removed }) => !removed).map(({ entity }) => entity?.version)).toEqual(versions.toSorted((a, b) => a - b));
      await follower.close();
    }
  });

  /** Puts up a structure and answers its version. */
  async function build(client: MeshClient, structureId: string, at: number, region = REGION): Promise<number> {
    const x = region.x * 2_000 + at * 5;
    const z = region.z * 2_000;
    const bounds = { minX: x, minY: 1, minZ: z + 1, maxX: x + 3, maxY: 4, maxZ: z + 4 };
    const decision = await client.execute(client.operations.structurePlacement({ region, epoch: 0 }, { structureId, kind: "wall", bounds }));
    expect(decision.outcome).toBe(Outcome.ACCEPTED);
    return decision.version;
  }
});
