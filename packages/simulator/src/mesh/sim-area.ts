// The area of a reader that walks: where it is, and what it was told of.
import type { Position, Region, SubscriptionArea, SubscriptionMoved } from "@statemesh/contract";
import { ballReaches, REGION_EDGE_M, regionsOfBall, sameRegion } from "@statemesh/world";
import type { SimRandom } from "../sim-random.ts";

const RADIUS_M = 300;
/** A region is left when the ball is this far away from it, metres. */
const LEAVE_M = 100;

export class SimArea {
  readonly #regions: readonly Region[];
  readonly #random: SimRandom;
  /** What the reader reads, as it was told. */
  covered: readonly Region[] = [];
  #entering: readonly Region[] = [];
  #center: Position;

  /** @param regions those that anything happens in: it walks along their borders, from one to the next */
  constructor(regions: readonly Region[], random: SimRandom) {
    this.#regions = regions;
    this.#random = random;
    this.#center = this.#place();
  }

  get wanted(): SubscriptionArea {
    return { center: this.#center, radius: RADIUS_M };
  }

  /** Goes somewhere else. */
  walk(): void {
    this.#center = this.#place();
  }

  /** Takes note of a part of a move; `true` with the first. */
  take({ entered, left, complete }: SubscriptionMoved, isFirst: boolean): void {
    if (isFirst) {
      this.#entering = entered;
      this.covered = this.covered.filter((region) => ![...left, ...entered].some((each) => sameRegion(each, region)));
    }
    if (complete) this.covered = [...this.covered, ...this.#entering];
  }

  /** What is wrong with what the reader was told of, once it stands still. */
  get problem(): string | undefined {
    const missing = regionsOfBall(this.#center, RADIUS_M).find((region) => !this.covered.some((each) => sameRegion(each, region)));
    if (missing !== undefined) return `never heard that region ${missing.x} ${missing.y} ${missing.z} came into reach`;
    const beyond = this.covered.find((region) => !ballReaches(this.#center, RADIUS_M + LEAVE_M, region));
    return beyond === undefined ? undefined : `never heard that region ${beyond.x} ${beyond.y} ${beyond.z} is out of reach`;
  }

  /** Inside of a region, or near its border, on either side. */
  #place(): Position {
    const region = this.#random.pick(this.#regions);
    const x = this.#random.pick([-350, -250, -50, 50, 1_000, 1_750, 1_950, 2_050, 2_250, 2_350]);
    return { x: region.x * REGION_EDGE_M + x, y: region.y * REGION_EDGE_M + 1_000, z: region.z * REGION_EDGE_M + 1_000 };
  }
}
