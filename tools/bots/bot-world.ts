/**
 * The land that bots walk on, and their walks. Players gather at *places*: points where four regions meet. The regions of a place belong to
 * two shards, so that each place has borders within a shard and between shards, and every second one lies on the border of a sector.
 * Everything follows from the seed, the player's number and the time, so any shard knows the walk of any player.
 */
import type { Position, Region } from "@statemesh/contract";
import { formatRegion, REGION_EDGE_M, regionOf } from "@statemesh/world";
import { DemoRandom } from "../demo-random.ts";

/** What a run's land and walks follow from. */
export interface BotWorldSpec {
  readonly seed: number;
  readonly players: number;
  readonly shards: number;
  /** Edge of the square around its place in which a player walks, metres. */
  readonly areaM: number;
  /** Players walk; else they stand where they began. */
  readonly walk: boolean;
}

export const PLAYERS_A_PLACE = 50;
/** A shard's regions and those around them are one subscription, which takes 343 regions. */
export const PLAYERS_A_SHARD_MAX = 500;
/** A place is so many regions from the next: half a sector. */
const PLACES_APART = 4;
/** Far from where demo worlds lie; corners of a sector. */
const FIRST_X = 800;
const Z = 804;
/** Players are well inside of their layer of regions: borders above and below are not reached. */
const GROUND_M = REGION_EDGE_M / 2;
const METRES_A_SECOND = 5;
/** Of two points of a square, by its edge. */
const MEAN_DISTANCE = 0.52;

interface Point {
  readonly x: number;
  readonly z: number;
}

const NOWHERE: Point = { x: 0, z: 0 };

/** What of a player's walk was worked out last. */
interface Walk {
  /** How much of its first leg, and of its first wish, was over at the beginning. */
  readonly share: number;
  readonly wishShare: number;
  leg: number;
  from: Point;
  to: Point;
}

/** The places of a run, whose they are, and where each player is at any time. */
export class BotWorld {
  readonly spec: BotWorldSpec;
  readonly places: number;
  readonly #legSeconds: number;
  readonly #owners = new Map<string, number>();
  readonly #regions: Region[] = [];
  readonly #walks = new Map<number, Walk>();

  constructor(spec: BotWorldSpec) {
    this.spec = spec;
    this.places = Math.max(spec.shards, Math.ceil(spec.players / PLAYERS_A_PLACE));
    this.#legSeconds = (spec.areaM * MEAN_DISTANCE) / METRES_A_SECOND;
    for (let place = 0; place < this.places; place++) {
      const corner = FIRST_X + place * PLACES_APART;
      for (const x of [corner - 1, corner]) {
        for (const z of [Z - 1, Z]) {
          const region = { x, y: 0, z };
          this.#regions.push(region);
          this.#owners.set(formatRegion(region), (place + (x === corner ? 1 : 0)) % spec.shards);
        }
      }
    }
  }

  /** All regions in which players may be. */
  get regions(): readonly Region[] {
    return this.#regions;
  }

  /** The shard (by number, from 0) to which a region is given at the start; undefined outside of the world. */
  shardOf(region: Region): number | undefined {
    return this.#owners.get(formatRegion(region));
  }

  regionsOf(shard: number): Region[] {
    return this.#regions.filter((region) => this.shardOf(region) === shard);
  }

  /** A shard's regions and those beside them: what its players can see. */
  surroundingsOf(shard: number): Region[] {
    const seen = new Map<string, Region>();
    for (const { x, y, z } of this.regionsOf(shard)) {
      for (const dx of [-1, 0, 1]) {
        for (const dz of [-1, 0, 1]) {
          const region = { x: x + dx, y, z: z + dz };
          seen.set(formatRegion(region), region);
        }
      }
    }
    return [...seen.values()];
  }

  /** Where a player is, seconds after the beginning. */
  positionOf(player: number, seconds: number): Position {
    const walk = this.#walkOf(player);
    const legs = (this.spec.walk ? seconds : 0) / this.#legSeconds + walk.share;
    const leg = Math.floor(legs);
    if (leg !== walk.leg) {
      walk.leg = leg;
      walk.from = this.#waypoint(player, leg);
      walk.to = this.#waypoint(player, leg + 1);
    }
    const { from, to } = walk;
    const share = legs - leg;
    return { x: from.x + (to.x - from.x) * share, y: GROUND_M, z: from.z + (to.z - from.z) * share };
  }

  /** How many wishes a player has had by then, at so many a second; players wish at different moments. */
  wishesOf(player: number, seconds: number, perSecond: number): number {
    return Math.floor(seconds * perSecond + this.#walkOf(player).wishShare);
  }

  #walkOf(player: number): Walk {
    let walk = this.#walks.get(player);
    if (walk === undefined) {
      walk = { share: this.randomOf(player, -1).next(), wishShare: this.randomOf(player, -2).next(), leg: Number.NaN, from: NOWHERE, to: NOWHERE };
      this.#walks.set(player, walk);
    }
    return walk;
  }

  regionAt(player: number, seconds: number): Region {
    return regionOf(this.positionOf(player, seconds));
  }

  /** Chance of one player for the `turn`th time. */
  randomOf(player: number, turn: number): DemoRandom {
    let mixed = Math.imul(this.spec.seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(player + 1, 0xc2b2ae35);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x27d4eb2f) ^ Math.imul(turn + 2, 0x165667b1);
    const random = new DemoRandom(mixed ^ (mixed >>> 13));
    // Neighbouring seeds begin alike.
    random.next();
    return random;
  }

  #waypoint(player: number, leg: number): Point {
    const random = this.randomOf(player, leg);
    const half = this.spec.areaM / 2;
    const corner = (FIRST_X + (player % this.places) * PLACES_APART) * REGION_EDGE_M;
    return { x: corner + random.between(-half, half), z: Z * REGION_EDGE_M + random.between(-half, half) };
  }
}
