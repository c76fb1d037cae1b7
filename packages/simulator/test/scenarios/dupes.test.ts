// How players doubled their things elsewhere, or lost them: each trick step by step, with the fault at many moments of it. Whoever tries it
// finds the things once.
import { CustomAction_Expectation } from "@statemesh/contract";
import { describe, expect, test } from "vitest";
import type { PlainRecord } from "../../src/index.ts";
import { drop, give, mint, pickup, Script, write } from "./script.ts";

/** How long after a server sent it the fault comes, milliseconds: before it is decided, in the midst of it, after it. */
const MOMENTS = [0.2, 0.5, 1, 1.5, 2, 3, 4, 6, 10, 30] as const;
const momentOf = (seed: number): number => MOMENTS[(seed - 1) % MOMENTS.length] ?? 1;
/** What goes wrong while a wagon is on its way: of the nodes, of their disks, of the servers. */
const FAULTS: readonly (readonly [string, PlainRecord])[] = [
  ["kill of the leader", {}], ["pause of the leader", { ms: 900 }], ["isolate", { node: 1, ms: 900 }], ["isolate", { node: 3, ms: 900 }], ["lossy", { ms: 900 }], ["power cut for all", {}],
  ["leadership transfer", { node: 2, group: 1 }], ["leadership transfer", { node: 3, group: 2 }], ["shard killed", { shard: 1, ms: 900 }], ["clock jump", { node: 1, ms: 30_000 }],
];
const SEEDS = MOMENTS.map((_, at) => at + 1);

describe("things are not doubled", () => {
  test("by a chest, then a quick change of the server, before the first one has saved", async () => {
    const ends = new Set<string>();
    await Script.play({ shards: 2 }, SEEDS, async (script, seed) => {
      const [one, two] = [script.region(1), script.region(2)];
      expect(await script.ask(mint("m", 1, one, "ada", 8))).toBe("done");
      const leader = script.world.leaderOf(1);
      const chest = script.send(give("chest", 1, one, "ada", "chest", 8), leader);
      await script.run(momentOf(seed));
      script.fault("kill of the leader");
      script.fault("kill", { node: leader });
      script.fault("shard killed", { shard: 1, ms: 1_000 });
      // On the second server, which knows nothing of the chest.
      const along = await script.ask(give("along", 2, one, "ada", "ada", 8, { counterpartyRegion: two }), 1 + (leader % 3));
      const first = await script.ask(chest);
      expect([first, along].toSorted()).toEqual(["INSUFFICIENT_ITEMS", "done"]);
      await script.rest();
      expect(script.diamonds).toEqual(first === "done" ? { "1 player:chest": 8 } : { "2 player:ada": 8 });
      ends.add(first);
    });
    // Both ends were seen, or the moments were all on one side.
    expect(ends.size).toBe(2);
  });

  test("by laying something down, a restart, and the thing in two places", async () => {
    await Script.play({ shards: 2 }, SEEDS, async (script, seed) => {
      const one = script.region(1);
      await script.ask(mint("m", 1, one, "ada", 8));
      const dropped = script.send(drop("d-1", 1, one, "ada", "i-1", 8));
      await script.run(momentOf(seed));
      script.fault("power cut for all");
      // She logs in again and sees it in her bag or on the ground, and does it once more: with the old id, and as a new one.
      const again = await script.ask(dropped, 2);
      const twice = await script.ask(drop("d-2", 1, one, "ada", "i-2", 8), 3);
      expect([again, twice]).toEqual(["done", "INSUFFICIENT_ITEMS"]);
      const taken = [await script.ask(pickup("p-1", 1, one, "i-1", "ada"), 1), await script.ask(pickup("p-2", 2, one, "i-1", "bob"), 2)];
      expect(taken).toEqual(["done", "CONFLICT"]);
      await script.rest();
      expect(script.diamonds).toEqual({ "1 player:ada": 8 });
    });
  });

  test("by a home server that is down, a player who joins elsewhere with empty hands, and a copy that comes back over the good one", async () => {
    await Script.play({ shards: 2, leasing: true }, [1, 2, 3, 4], async (script, seed) => {
      const [one, two] = [script.region(1), script.region(2)];
      const epoch = await script.acquire(1, one);
      expect(epoch).toBe(1);
      await script.ask(mint("m", 1, one, "ada", 8, 1));
      // The home server stands still for longer than its lease, with a sale in mind; or dies.
      script.fault(seed % 2 === 0 ? "shard paused" : "shard killed", { shard: 1, ms: 9_000 });
      // Elsewhere she has another purse: it is empty, is filled, and is never taken for the first one.
      expect(await script.ask(give("pay", 2, two, "ada", "bob", 1))).toBe("INSUFFICIENT_ITEMS");
      expect(await script.ask(mint("found", 2, two, "ada", 1))).toBe("done");
      let taken = await script.acquire(2, one);
      while (taken === "LEASE_HELD") {
        await script.run(300);
        taken = await script.acquire(2, one);
      }
      expect(taken).toBe(2);
      expect(await script.ask(give("along", 2, one, "ada", "ada", 8, { counterpartyRegion: two, under: 2 }))).toBe("done");
      // Home comes back, and saves what it had.
      expect(await script.ask(give("late", 1, one, "ada", "carl", 8, { under: 1 }))).toBe("FENCED");
      await script.rest();
      expect(script.diamonds).toEqual({ "2 player:ada": 9 });
    });
  });

  test("by a lock that ran out while its holder had a write on its way", async () => {
    const ends = new Set<string>();
    await Script.play({ shards: 2, leasing: true, leaseMs: 1_500 }, SEEDS, async (script, seed) => {
      const one = script.region(1);
      expect(await script.acquire(1, one)).toBe(1);
      await script.ask(mint("m", 1, one, "ada", 1_000, 1));
      script.fault("shard paused", { shard: 1, ms: 20_000 });
      // It stands still and renews nothing; what it had sent arrives. The next one asks in short turns, and the old holder writes about when it gets it.
      let taken: number | string = "LEASE_HELD";
      const late: string[] = [];
      for (let turn = 0; taken === "LEASE_HELD"; turn++) {
        const write = script.send(give(`late-${turn}`, 1, one, "ada", "carl", 1, { under: 1 }), 1 + (seed % 3));
        taken = await script.acquire(2, one, 1 + ((seed + turn) % 3));
        await script.run(momentOf(seed) * 20);
        await script.until(() => write.answer !== undefined);
        late.push(write.answer ?? "");
      }
      expect(taken).toBe(2);
      // From then on nothing of it comes into force.
      const held = script.diamonds["1 player:ada"] ?? 0;
      expect(await script.ask(give("after", 1, one, "ada", "carl", 1, { under: 1 }))).toBe("FENCED");
      expect(await script.ask(give("all", 2, one, "ada", "dan", held, { under: 2 }))).toBe("done");
      for (const each of late) ends.add(each);
      await script.rest();
      expect(Object.values(script.diamonds).reduce((sum, each) => sum + each, 0)).toBe(1_000);
    });
    expect([...ends]).toContain("done");
  });

  test.each(FAULTS)("by a server that goes on saving the wagon that it sent away, whose saves come late: %s", async (fault, args) => {
    const [EXISTS, ABSENT] = [CustomAction_Expectation.EXISTS, CustomAction_Expectation.ABSENT];
    const ends = new Set<string>();
    await Script.play({ shards: 2, hasStore: true }, SEEDS.filter((seed) => seed % 2 === 1), async (script, seed) => {
      const [one, two] = [script.region(1), script.region(2)];
      expect(await script.ask(write("new", 1, one, "tr-wagon", { expectation: ABSENT }))).toBe("done");
      // The timer of the first server runs on: each save is sent once, through whichever node, before the move is decided and after it.
      const saves = [script.send(write("save-0", 1, one, "tr-wagon", { expectation: EXISTS }), 2)];
      const move = script.send(write("move", 1, one, "tr-wagon", { toRegion: two }), 1 + (seed % 3));
      for (let n = 1; n <= 3; n++) {
        saves.push(script.send(write(`save-${n}`, 1, one, "tr-wagon", { expectation: EXISTS }), 1 + ((seed + n) % 3)));
        await script.run(momentOf(seed) / 2);
        if (n === 2) script.fault(fault, args);
      }
      expect(await script.ask(move, 2)).toBe("done");
      saves.push(script.send(write("late", 1, one, "tr-wagon", { expectation: EXISTS }), 3));
      expect(await script.ask(write("there", 2, two, "tr-wagon", { expectation: EXISTS }), 3)).toBe("done");
      // What nobody heard of is asked for again, long after.
      for (const [n, save] of saves.entries()) {
        await script.until(() => save.answer !== undefined);
        ends.add(await script.ask(save, 1 + (n % 3)));
      }
      expect(await script.ask(write("later", 1, one, "tr-wagon", { expectation: EXISTS }))).toBe("NOT_FOUND");
      await script.rest();
      expect(script.standing("tr-wagon")).toEqual(["there in group 2"]);
    });
    expect([...ends].toSorted()).toEqual(["NOT_FOUND", "done"]);
  });

  test("by two servers with one name: the second is refused while the first lives, and gets a later epoch when it does not", async () => {
    await Script.play({ shards: 1, leasing: true, registrationTtlMs: 4_000 }, [1, 2, 3], async (script, seed) => {
      const one = script.region(1);
      const name = "shard-1";
      expect(await script.register(2, name, 1, 2)).toBe("SERVER_ALREADY_REGISTERED");
      expect(await script.register(1, "another", 77, 3)).toBe("SERVER_ALREADY_REGISTERED");
      expect(await script.acquire(2, one, 2)).toBe("SERVER_NOT_REGISTERED");
      expect(await script.acquire(1, one)).toBe(1);
      await script.ask(mint("m", 1, one, "ada", 8, 1));
      // The first is cut off for longer than it is remembered; then the name is free, and what it held is not its own any more.
      script.fault("shard cut off", { shard: 1, ms: 12_000 });
      await script.until(() => script.world.references[0]?.state.directory.server(1) === undefined);
      expect(await script.register(2, name, 1, 1 + (seed % 3))).toBe("ok");
      expect(await script.acquire(2, one, 3)).toBe(2);
      expect(await script.ask(give("late", 1, one, "ada", "carl", 8, { under: 1 }))).toMatch(/^(FENCED|SERVER_NOT_REGISTERED)$/);
      expect(await script.ask(give("now", 2, one, "ada", "bob", 8, { under: 2 }))).toBe("done");
      await script.rest();
      expect(script.diamonds).toEqual({ "1 player:bob": 8 });
    });
  });
});
