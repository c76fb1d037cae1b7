import { readFileSync } from "node:fs";
import { join } from "node:path";
import { OperationBuilder } from "@statemesh/client";
import { DEFAULT_POLICY, formatRegion, quantizeBounds, reachesRegion, sectorOf, validateOperation } from "@statemesh/world";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type DemoBot, makeBots } from "../../tools/demo-bot.ts";
import { decodePosition, encodePosition } from "../../tools/demo-eventual.ts";
import { DemoRandom } from "../../tools/demo-random.ts";
import { decodeStep } from "../../tools/demo-quest.ts";
import { parseWorld } from "../../tools/world-file.ts";

const world = parseWorld(readFileSync(join(import.meta.dirname, "../../worlds/demo.yaml"), "utf8"), "worlds/demo.yaml");
const known = new Set(world.regions.map((it) => formatRegion(it.region)));

function bots(): DemoBot[] {
  return makeBots(world.paths, "t-");
}

describe("a bot of the demo", () => {
  it("stays in regions of the world and in one sector, wherever its walk leads", () => {
    fc.assert(
      fc.property(fc.nat(49), fc.double({ min: 0, max: 3_600, noNaN: true }), (at, seconds) => {
        const bot = bots()[at];
        const home = bot === undefined ? undefined : sectorOf(bot.region);
        bot?.walkTo(seconds);
        expect(known).toContain(formatRegion(bot?.region ?? { x: 99, y: 0, z: 0 }));
        expect(sectorOf(bot?.region ?? { x: 99, y: 0, z: 0 })).toEqual(home);
      }),
    );
  });

  it("tells the region that it left, once a border", () => {
    const [bot] = bots();
    const left: string[] = [];
    for (let seconds = 0; seconds < 60; seconds += 0.1) {
      const region = bot?.walkTo(seconds);
      if (region !== undefined) left.push(formatRegion(region));
    }
    expect(left.length).toBeGreaterThan(3);
    left.slice(1).forEach((region, at) => expect(region).not.toBe(left[at]));
  });

  it("only wants what the mesh takes: every box reaches into its own region", () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(49), fc.double({ min: 0, max: 600, noNaN: true }), (seed, at, seconds) => {
        const all = bots();
        const bot = all[at];
        if (bot === undefined) return;
        bot.walkTo(seconds);
        const random = new DemoRandom(seed);
        bot.hold("ore", 3);
        all[(at + 1) % all.length]?.hold("salt", 1);
        const make = new OperationBuilder(1);
        for (let turn = 0; turn < 20; turn++) {
          const intent = bot.decide(random, { items: ["i"], resources: ["r"], creatures: ["c"], companions: all });
          if (!("bounds" in intent)) continue;
          expect(reachesRegion(quantizeBounds(intent.bounds), bot.region)).toBe(true);
          const place = { region: bot.region, epoch: 1 };
          const operation = intent.kind === "build" ? make.structurePlacement(place, { structureId: "s", kind: "hut", bounds: intent.bounds }) : make.dig(place, { bounds: intent.bounds });
          validateOperation(operation, DEFAULT_POLICY);
        }
      }),
    );
  });

  it("never gives what it does not hold, and never trades one kind for itself", () => {
    const [bot, other] = bots();
    if (bot === undefined || other === undefined) throw new Error("no bots");
    const random = new DemoRandom(1);
    bot.hold("ore", 2);
    other.hold("ore", 1);
    other.hold("salt", 1);
    const kinds = new Set<string>();
    for (let turn = 0; turn < 2_000; turn++) {
      const intent = bot.decide(random, { items: [], resources: [], creatures: [], companions: [bot, other] });
      kinds.add(intent.kind);
      if (intent.kind === "drop" || intent.kind === "craft") {
        expect(intent.itemKind).toBe("ore");
        expect(intent.quantity).toBeLessThanOrEqual(2);
      }
      if (intent.kind === "trade") expect(intent).toMatchObject({ gives: "ore", takes: "salt" });
      expect(["pick_up", "claim", "release", "tame", "demolish"]).not.toContain(intent.kind);
    }
    expect([...kinds].sort()).toEqual(["build", "craft", "dig", "drop", "fill", "paint", "trade", "wander"]);
    bot.hold("ore", -2);
    expect(bot.inventory.size).toBe(0);
  });

  it("does the same again with the same seed", () => {
    const run = (): string[] => {
      const random = new DemoRandom(7);
      const [bot] = bots();
      return Array.from({ length: 50 }, () => JSON.stringify(bot?.decide(random, { items: ["a"], resources: ["b"], creatures: ["c"], companions: [] })));
    };
    expect(run()).toEqual(run());
  });
});

describe("what the demo publishes", () => {
  it("reads back as it was written", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true }), fc.double({ noNaN: true }), fc.double({ noNaN: true }), fc.nat(), (x, y, z, sentMs) => {
        expect(decodePosition(encodePosition({ x, y, z }, sentMs))).toEqual({ x, y, z, sentMs });
      }),
    );
    expect(decodePosition(new Uint8Array(3))).toBeUndefined();
  });

  it("is told apart from events of something else", () => {
    const event = { type: "event_sequence", region: undefined, key: "other-quest", payload: new Uint8Array(12) };
    expect(decodeStep(event, "r1-")).toBeUndefined();
    expect(decodeStep({ ...event, key: "r1-quest" }, "r1-")).toMatchObject({ step: 0 });
    expect(decodeStep({ ...event, key: "r1-quest", payload: new Uint8Array(1) }, "r1-")).toBeUndefined();
  });
});
