/** A bot: where it is, what it holds, and what it wants to do next. Knows nothing of the mesh. */
import type { Bounds, Position, Region } from "@statemesh/contract";
import { formatRegion, regionOf, sameRegion } from "@statemesh/world";
import type { DemoRandom } from "./demo-random.ts";
import type { WorldPath } from "./world-file.ts";
import { pathLength, pointAt } from "./world-path.ts";

/** What a bot wants to do. */
export type Intent =
  | { readonly kind: "wander" }
  | { readonly kind: "pick_up"; readonly itemId: string }
  | { readonly kind: "drop" | "craft"; readonly itemKind: string; readonly quantity: number }
  | { readonly kind: "trade"; readonly other: DemoBot; readonly gives: string; readonly takes: string }
  | { readonly kind: "build"; readonly bounds: Bounds }
  | { readonly kind: "demolish"; readonly structureId: string }
  | { readonly kind: "dig" | "fill" | "paint"; readonly bounds: Bounds }
  | { readonly kind: "claim" | "release"; readonly resourceId: string }
  | { readonly kind: "tame"; readonly creatureId: string };

/** What a bot can see from where it is. */
export interface Surroundings {
  /** Items that lie in its region. */
  readonly items: readonly string[];
  /** Resources of its region. */
  readonly resources: readonly string[];
  /** Creatures of its region. */
  readonly creatures: readonly string[];
  /** Other bots on its path. */
  readonly companions: readonly DemoBot[];
}

/** How often each wish comes up, against the others that are possible. */
const WEIGHTS = { pick_up: 20, drop: 5, craft: 3, trade: 10, build: 14, demolish: 5, dig: 16, fill: 6, paint: 6, claim: 4, release: 6, tame: 3, wander: 8 } as const;

/** Structures that a bot keeps standing before it takes some down again. */
const STRUCTURES_MAX = 6;

/** A box of some metres around a point. */
export function boxAround(center: Position, width: number, height: number): Bounds {
  const half = width / 2;
  return {
    minX: center.x - half, minY: center.y - height / 2, minZ: center.z - half,
    maxX: center.x + half, maxY: center.y + height / 2, maxZ: center.z + half,
  };
}

/** A bot that walks round after round on its path. */
export class DemoBot {
  readonly playerId: string;
  readonly path: WorldPath;
  readonly #offset: number;
  position: Position;
  region: Region;
  /** An operation of the bot is on its way: it waits for the answer, as a player would. */
  busy = false;
  /** What it was told it holds, by item kind. */
  readonly inventory = new Map<string, number>();
  /** Its structures with their home regions. */
  readonly structures = new Map<string, Region>();
  /** Its claims with their home regions. */
  readonly claims = new Map<string, Region>();

  /** @param share where on the path it starts, in [0, 1) */
  constructor(playerId: string, path: WorldPath, share: number) {
    this.playerId = playerId;
    this.path = path;
    this.#offset = share * pathLength(path.points);
    this.position = pointAt(path.points, this.#offset).position;
    this.region = regionOf(this.position);
  }

  /** Walks to where it is after `seconds`; the region that it left, where it crossed a border. */
  walkTo(seconds: number): Region | undefined {
    const before = this.region;
    this.position = pointAt(this.path.points, this.#offset + seconds * this.path.speed).position;
    this.region = regionOf(this.position);
    return sameRegion(before, this.region) ? undefined : before;
  }

  /** Adds what it was told it got (or lost, below 0). */
  hold(itemKind: string, quantity: number): void {
    const held = (this.inventory.get(itemKind) ?? 0) + quantity;
    if (held === 0) this.inventory.delete(itemKind);
    else this.inventory.set(itemKind, held);
  }

  /** What it wants to do now, of what is possible. */
  decide(random: DemoRandom, around: Surroundings): Intent {
    const possible: { weight: number; make: () => Intent | undefined }[] = [
      { weight: WEIGHTS.wander, make: () => ({ kind: "wander" }) },
      { weight: WEIGHTS.dig, make: () => ({ kind: "dig", bounds: boxAround(this.#near(random, 60), random.between(2, 8), 3) }) },
      { weight: WEIGHTS.fill, make: () => ({ kind: "fill", bounds: boxAround(this.#near(random, 60), random.between(2, 6), 2) }) },
      { weight: WEIGHTS.paint, make: () => ({ kind: "paint", bounds: boxAround(this.#near(random, 25), random.between(2, 6), 1) }) },
    ];
    if (this.structures.size < STRUCTURES_MAX) possible.push({ weight: WEIGHTS.build, make: () => ({ kind: "build", bounds: this.#plot(random) }) });
    const own = [...this.structures].filter(([, region]) => sameRegion(region, this.region));
    if (own.length > 0) possible.push({ weight: WEIGHTS.demolish, make: () => named(random.pick(own), (structureId) => ({ kind: "demolish", structureId })) });
    if (around.items.length > 0) {
      possible.push({ weight: WEIGHTS.pick_up, make: () => named([random.pick(around.items) ?? ""], (itemId) => ({ kind: "pick_up", itemId })) });
    }
    const kinds = [...this.inventory].filter(([, quantity]) => quantity > 0);
    if (kinds.length > 0) {
      possible.push({
        weight: WEIGHTS.drop,
        make: () => {
          const [itemKind = "", quantity = 0] = random.pick(kinds) ?? [];
          return { kind: "drop", itemKind, quantity: 1 + random.below(quantity) };
        },
      });
      possible.push({ weight: WEIGHTS.craft, make: () => ({ kind: "craft", itemKind: random.pick(kinds)?.[0] ?? "", quantity: 1 }) });
      const partners = around.companions.filter((other) => other !== this && other.inventory.size > 0);
      if (partners.length > 0) possible.push({ weight: WEIGHTS.trade, make: () => this.#trade(random, partners) });
    }
    const claimable = around.resources.filter((id) => !this.claims.has(id));
    if (claimable.length > 0) {
      possible.push({ weight: WEIGHTS.claim, make: () => named([random.pick(claimable) ?? ""], (resourceId) => ({ kind: "claim", resourceId })) });
    }
    const held = [...this.claims].filter(([, region]) => sameRegion(region, this.region));
    if (held.length > 0) possible.push({ weight: WEIGHTS.release, make: () => named(random.pick(held), (resourceId) => ({ kind: "release", resourceId })) });
    if (around.creatures.length > 0) {
      possible.push({ weight: WEIGHTS.tame, make: () => named([random.pick(around.creatures) ?? ""], (creatureId) => ({ kind: "tame", creatureId })) });
    }

    let rest = random.next() * possible.reduce((sum, { weight }) => sum + weight, 0);
    for (const { weight, make } of possible) {
      rest -= weight;
      if (rest < 0) return make() ?? { kind: "wander" };
    }
    return { kind: "wander" };
  }

  #trade(random: DemoRandom, partners: readonly DemoBot[]): Intent | undefined {
    const other = random.pick(partners);
    const gives = random.pick([...this.inventory.keys()]);
    const takes = other === undefined ? undefined : random.pick([...other.inventory.keys()]);
    if (other === undefined || gives === undefined || takes === undefined || gives === takes) return undefined;
    return { kind: "trade", other, gives, takes };
  }

  /** A point nearby in its own region; where it stands where chance would lead out of the region. */
  #near(random: DemoRandom, metres: number): Position {
    const { x, y, z } = this.position;
    const point = { x: x + random.between(-metres, metres), y, z: z + random.between(-metres, metres) };
    return sameRegion(regionOf(point), this.region) ? point : this.position;
  }

  /** Ground to build on: mostly somewhere in the region, sometimes right here, where others build too. */
  #plot(random: DemoRandom): Bounds {
    if (random.next() < 0.3) return boxAround(this.#near(random, 40), random.between(4, 9), 6);
    const corner = { x: this.region.x * 2000, y: this.region.y * 2000, z: this.region.z * 2000 };
    const center = { x: corner.x + random.between(20, 1980), y: corner.y + random.between(200, 1900), z: corner.z + random.between(20, 1980) };
    return boxAround(center, random.between(4, 9), 6);
  }
}

function named(entry: readonly [string, ...unknown[]] | readonly string[] | undefined, make: (id: string) => Intent): Intent | undefined {
  const id = entry?.[0];
  return typeof id === "string" && id !== "" ? make(id) : undefined;
}

/** All bots of a world, spread over their paths. Player ids are `prefix` and a number. */
export function makeBots(paths: readonly WorldPath[], prefix: string): DemoBot[] {
  const bots: DemoBot[] = [];
  for (const path of paths) {
    for (let at = 0; at < path.bots; at++) bots.push(new DemoBot(`${prefix}bot-${bots.length + 1}`, path, at / path.bots));
  }
  return bots;
}

/** A region's text, for maps. */
export function keyOf(region: Region): string {
  return formatRegion(region);
}
