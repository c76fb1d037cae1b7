/** Contests: two shards want the same at the same moment, on purpose, so that the rules have something to decide. */
import type { Place } from "@statemesh/client";
import { type Decision, type Operation, Outcome, type Position, type Region } from "@statemesh/contract";
import { regionOf, sameRegion } from "@statemesh/world";
import { boxAround } from "./demo-bot.ts";
import { tally } from "./demo-measure.ts";
import type { DemoSetting } from "./demo-setting.ts";
import type { DemoShard } from "./demo-shard.ts";
import type { WorldPath } from "./world-file.ts";
import { pathLength, pointAt } from "./world-path.ts";

/** A place where two shards meet. */
export interface ContestSite {
  readonly position: Position;
  /** Where each side writes: two regions at a border, or common ground twice. */
  readonly sides: readonly [Region, Region];
  readonly common: boolean;
}

/** What a side did, with its shard and place. */
interface Side {
  readonly shard: DemoShard;
  readonly place: Place;
  readonly playerId: string;
}

/** Places along a path where the owner changes, and one on each stretch of common ground. */
export function contestSites(demo: DemoSetting, path: WorldPath): ContestSite[] {
  const sites: ContestSite[] = [];
  const length = pathLength(path.points);
  let before = pointAt(path.points, 0).position;
  for (let metres = 2; metres <= length; metres += 2) {
    const here = pointAt(path.points, metres).position;
    const from = regionOf(before);
    const to = regionOf(here);
    if (!sameRegion(from, to)) {
      if (demo.isCommon(to)) sites.push({ position: pointAt(path.points, metres + 20).position, sides: [to, to], common: true });
      else if (!demo.isCommon(from) && demo.ownerOf(from) !== demo.ownerOf(to)) sites.push({ position: here, sides: [from, to], common: false });
    }
    before = here;
  }
  return sites;
}

const KINDS = ["structure", "dig", "claim", "paint", "creature", "item"] as const;
type ContestKind = (typeof KINDS)[number];

/** Holds contests at the sites of a world, one kind after the other. */
export class DemoContests {
  /** Contests that were decided for both sides. */
  readonly held = new Map<string, number>();
  /** Contests with a result that must never be, in words. */
  readonly troubles: string[] = [];
  readonly #demo: DemoSetting;
  readonly #sites: readonly ContestSite[];
  #made = 0;

  constructor(demo: DemoSetting) {
    this.#demo = demo;
    this.#sites = demo.world.paths.flatMap((path) => contestSites(demo, path));
  }

  get sites(): number {
    return this.#sites.length;
  }

  /** Holds the next contest: starts it and comes back at once. */
  next(): void {
    const number = this.#made++;
    const kind = KINDS[number % KINDS.length] ?? "dig";
    // Only who holds the region can pick up what lies there, so two shards can race for an item on common ground alone.
    const sites = kind === "item" ? this.#sites.filter((it) => it.common) : this.#sites;
    const site = sites[Math.floor(number / KINDS.length) % Math.max(1, sites.length)];
    const sides = site === undefined ? undefined : this.#sidesOf(site, number);
    if (site !== undefined && sides !== undefined) void this.#hold(kind, site, sides, number);
  }

  #sidesOf(site: ContestSite, number: number): [Side, Side] | undefined {
    const { shards, prefix } = this.#demo;
    const sides: Side[] = [];
    for (const [at, region] of site.sides.entries()) {
      const preferred = shards[(number + at) % shards.length];
      const writer = preferred === undefined ? undefined : this.#demo.writerOf(region, preferred);
      if (writer !== undefined) sides.push({ ...writer, playerId: `${prefix}rival-${number}-${at + 1}` });
    }
    const [first, second] = sides;
    return first === undefined || second === undefined || first.shard === second.shard ? undefined : [first, second];
  }

  async #hold(kind: ContestKind, site: ContestSite, sides: readonly [Side, Side], number: number): Promise<void> {
    const { ledger, prefix, random } = this.#demo;
    const id = `${prefix}prize-${number}`;
    const spot = { x: site.position.x, y: site.position.y + 50 + random.below(1_000), z: site.position.z };
    // Both boxes lie on the border itself, so both reach into both regions.
    const boxes = [boxAround(spot, 8, 4), boxAround({ ...spot, y: spot.y + 1 }, 8, 4)] as const;
    const [first, second] = sides;
    if (kind === "item") {
      const kindOfItem = "prize_cup";
      const laid = await first.shard.decide(first.shard.make.spawn(first.place, { itemKind: kindOfItem, quantity: 1, itemId: id, position: site.position }));
      if (laid?.outcome !== Outcome.ACCEPTED) return;
      ledger.lay(id, kindOfItem, 1, first.place.region);
    }
    const operationOf = (side: Side, at: 0 | 1): Operation => {
      const { make } = side.shard;
      switch (kind) {
        case "structure":
          return make.structurePlacement(side.place, { structureId: `${id}-${at + 1}`, kind: "outpost", bounds: boxes[at], playerId: side.playerId });
        case "dig":
          return make.dig(side.place, { bounds: boxes[at], playerId: side.playerId });
        case "paint":
          return make.paint(side.place, { bounds: boxes[at], playerId: side.playerId, material: at === 0 ? "moss" : "snow" });
        case "claim":
          return make.resourceClaim(side.place, { resourceId: id, playerId: side.playerId });
        case "creature":
          return make.creatureOwnership(side.place, { creatureId: id });
        case "item":
          return make.itemPickup(side.place, { itemId: id, playerId: side.playerId });
      }
    };
    // Sent in one turn of the event loop, through two nodes: they meet in one batch of the group's leader.
    const operations = [operationOf(first, 0), operationOf(second, 1)] as const;
    const decisions = await Promise.all(sides.map((side, at) => side.shard.decide(operations[at === 0 ? 0 : 1])));
    this.#settle(kind, id, sides, boxes, decisions);
  }

  #settle(kind: ContestKind, id: string, sides: readonly [Side, Side], boxes: readonly [ReturnType<typeof boxAround>, ReturnType<typeof boxAround>], decisions: readonly (Decision | undefined)[]): void {
    const { ledger } = this.#demo;
    const winners = sides.filter((_, at) => decisions[at]?.outcome === Outcome.ACCEPTED);
    sides.forEach((side, at) => {
      const decision = decisions[at];
      if (decision === undefined && kind === "item") ledger.unsure.add(side.playerId);
      if (decision?.outcome !== Outcome.ACCEPTED) return;
      if (kind === "item") ledger.pickUp(id, side.playerId);
      if (kind === "claim") ledger.setClaim(id, side.playerId, decision);
      if (kind === "structure") ledger.structures.set(`${id}-${at + 1}`, { region: side.place.region, bounds: boxes[at === 0 ? 0 : 1] });
    });
    if (decisions.includes(undefined)) return;
    tally(this.held, kind);
    // Overlapping digs merge, a painted spot may be painted again later, and a creature's owner may change: there both may win.
    const exclusive = kind === "item" || kind === "structure" || kind === "claim";
    if (exclusive && winners.length > 1) this.troubles.push(`both sides won ${kind} ${id}`);
    if ((kind === "item" || kind === "claim") && winners.length === 0) this.troubles.push(`nobody won ${kind} ${id}`);
  }
}
