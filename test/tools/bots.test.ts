import { Entity, EventualValue, ReadResponse, type Region } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mostThatHold } from "../../tools/bench-players.ts";
import { BotBooks } from "../../tools/bots/bot-books.ts";
import { checkBots } from "../../tools/bots/bot-checks.ts";
import { type BotShardReport, handoffId, handoffOf, playerId, playerOf } from "../../tools/bots/bot-orders.ts";
import { BotWorld, type BotWorldSpec } from "../../tools/bots/bot-world.ts";

const specs = fc.record<BotWorldSpec>({
  seed: fc.nat(), players: fc.integer({ min: 1, max: 300 }), shards: fc.integer({ min: 1, max: 9 }), areaM: fc.integer({ min: 20, max: 3_000 }), walk: fc.constant(true),
});

describe("the world of bots", () => {
  it("keeps every player in regions that have a shard, at about walking speed, at all times", () => {
    fc.assert(
      fc.property(specs, fc.nat(299), fc.double({ min: 0, max: 7_200, noNaN: true }), (spec, number, seconds) => {
        const world = new BotWorld(spec);
        const player = number % spec.players;
        expect(world.shardOf(world.regionAt(player, seconds))).toBeDefined();
        const [from, to] = [world.positionOf(player, seconds), world.positionOf(player, seconds + 0.05)];
        // Half of the square's diagonal in the mean time between two points is the fastest.
        expect(Math.hypot(to.x - from.x, to.z - from.z)).toBeLessThan(0.05 * 15);
      }),
    );
  });

  it("has borders between shards at each place, and one owner of each region", () => {
    fc.assert(
      fc.property(specs, (spec) => {
        const world = new BotWorld(spec);
        const owned = Array.from({ length: spec.shards }, (_, shard) => world.regionsOf(shard));
        expect(owned.every((regions) => regions.length > 0)).toBe(true);
        expect(new Set(owned.flat().map(formatRegion)).size).toBe(world.regions.length);
        if (spec.shards > 1) for (let at = 0; at < world.regions.length; at += 4) expect(new Set(world.regions.slice(at, at + 4).map((region) => world.shardOf(region))).size).toBe(2);
      }),
    );
  });

  it("is the same for the same seed, and another for another", () => {
    const spec = { seed: 7, players: 3, shards: 2, areaM: 400, walk: true };
    expect(new BotWorld(spec).positionOf(2, 61.5)).toEqual(new BotWorld(spec).positionOf(2, 61.5));
    expect(new BotWorld(spec).positionOf(2, 61.5)).not.toEqual(new BotWorld({ ...spec, seed: 8 }).positionOf(2, 61.5));
  });

  it("leaves players where they are who do not walk", () => {
    const world = new BotWorld({ seed: 7, players: 3, shards: 2, areaM: 400, walk: false });
    expect(world.positionOf(1, 900)).toEqual(world.positionOf(1, 0));
  });
});

describe("what shards of bots tell", () => {
  it("adds up over parts, times too", () => {
    const [one, two, sum] = [new BotBooks(), new BotBooks(), new BotBooks()];
    one.counts.published = 3;
    one.took("arrival", 10);
    two.counts.published = 4;
    two.took("arrival", 90);
    two.took("arrival", 90);
    sum.add(one.take());
    sum.add(two.take());
    sum.add(two.take());
    expect(sum.counts.published).toBe(7);
    expect(sum.timesOf("arrival")).toBe(3);
    expect(sum.at("arrival", 1)).toBeCloseTo(10, 0);
    expect(sum.at("arrival", 99) / 90).toBeCloseTo(1, 1);
  });

  it("names who handed a player on, and when", () => {
    expect(handoffOf("b1-", handoffId("b1-", 3, 17, 1_700_000_000_000.25))).toEqual({ shard: 3, sentMs: 1_700_000_000_000.3 });
    expect(handoffOf("b1-", "b2-h.3.17.5.0")).toBeUndefined();
    expect(playerOf("b1-", playerId("b1-", 12))).toBe(12);
    expect(playerOf("b1-", "b1-s1.4")).toBeUndefined();
  });
});

describe("the most players that hold", () => {
  it("is found within 5%, without going beyond the limit", async () => {
    for (const limit of [50, 100, 101, 333, 799, 1_600, 99_999]) {
      const tried: number[] = [];
      const most = await mostThatHold(async (players) => {
        tried.push(players);
        return await Promise.resolve(players <= limit);
      }, 100, 10_000);
      expect(Math.max(...tried)).toBeLessThanOrEqual(10_000);
      expect(most).toBeLessThanOrEqual(limit);
      if (limit < 100) expect(most).toBe(0);
      else if (limit < 10_000) expect(most).toBeGreaterThanOrEqual(limit / 1.05 - 1);
      else expect(most).toBe(6_400);
    }
  });
});

describe("the checks of bots", () => {
  const run = "b1-";
  const world = new BotWorld({ seed: 1, players: 2, shards: 2, areaM: 40, walk: true });
  const [left, right] = [world.regionsOf(0)[0], world.regionsOf(1)[0]] as [Region, Region];
  const creature = (player: number, region: Region, serverId: number): Entity => Entity.fromPartial({ entityId: playerId(run, player), kind: "creature", region, serverId });
  const position = (player: number, region: Region): EventualValue => EventualValue.fromPartial({ type: "creature_position", key: playerId(run, player), region });
  const structure = Entity.fromPartial({ entityId: "b1-s0.1", kind: "structure", region: left });

  /** The names of the checks that fail, of a mesh that holds this and shards that say that. */
  const failed = async (entities: readonly Entity[], positions: readonly EventualValue[], reports: readonly Partial<BotShardReport>[], changed: object = {}): Promise<string[]> => {
    const of = (region: Region) => <T extends { readonly region: Region | undefined }>(each: T): boolean => each.region !== undefined && formatRegion(each.region) === formatRegion(region);
    const checks = await checkBots({
      world, run, serverIds: [11, 12], verified: 1, notConserved: 0,
      books: { counts: { ...new BotBooks().counts, published: 1, received: 1, accepted: 1 } },
      client: { read: async ({ region }) => await Promise.resolve(ReadResponse.fromPartial({ entities: entities.filter(of(region ?? left)), values: positions.filter(of(region ?? left)) })) },
      shards: reports.map((report, number) => ({ number, tell: async () => await Promise.resolve({ players: [], open: [], standing: [], unsure: [], ...report }) })),
      ...changed,
    }, 0);
    return checks.filter(({ ok }) => !ok).map(({ name }) => name);
  };
  const [PLACE, POSITION, STANDS] = ["each player is in one place", "each position is in one place", "what was said to stand stands"];
  const both = [creature(0, left, 11), creature(1, right, 12)];
  const shown = [position(0, left), position(1, right)];
  const reports = [{ players: [0], standing: ["b1-s0.1"] }, { players: [1] }];

  it("hold where everything is in its place", async () => {
    expect(await failed([...both, structure], shown, reports)).toEqual([]);
  });

  it("find a player who is in two regions, in none, simulated twice, by the wrong shard, or lost on the way", async () => {
    expect(await failed([...both, structure, creature(0, right, 12)], shown, reports)).toEqual([PLACE, POSITION]);
    expect(await failed([both[0] as Entity, structure], shown, reports)).toEqual([PLACE, POSITION]);
    expect(await failed([...both, structure], shown, [reports[0] ?? {}, { players: [0, 1] }])).toEqual([PLACE]);
    expect(await failed([...both, structure], shown, [{ players: [], standing: ["b1-s0.1"] }, { players: [0, 1] }])).toEqual([PLACE]);
    expect(await failed([...both, structure], shown, [reports[0] ?? {}, { players: [1], open: [1] }])).toEqual([PLACE]);
  });

  it("find a position that was left behind", async () => {
    expect(await failed([...both, structure], [...shown, position(0, right)], reports)).toEqual([POSITION]);
  });

  it("find a structure that is missing, and one that nobody was told of", async () => {
    expect(await failed(both, shown, reports)).toEqual([STANDS]);
    expect(await failed([...both, structure], shown, [{ players: [0] }, { players: [1] }])).toEqual([STANDS]);
    expect(await failed(both, shown, [{ players: [0], unsure: ["b1-s0.1"] }, { players: [1] }])).toEqual([]);
  });

  it("find a player whom two shards simulated for a while", async () => {
    expect(await failed([...both, structure], shown, reports, { books: { counts: { ...new BotBooks().counts, published: 1, received: 1, accepted: 1, doubled: 1 } } })).toEqual(["nobody was simulated twice at a time"]);
  });

  it("find items that are not conserved, and a run in which nothing happened", async () => {
    expect(await failed([...both, structure], shown, reports, { notConserved: 1 })).toEqual(["items are conserved"]);
    expect(await failed([...both, structure], shown, reports, { books: { counts: new BotBooks().counts } })).toEqual(["something was done"]);
  });
});
