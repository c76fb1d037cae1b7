import type { EventualValue, Region, VectorClock } from "@statemesh/contract";
import type { Wishes } from "./wishes.ts";

/** What readers got of eventual values who had those up to one change and took those up to another. */
export interface SharedValues {
  readonly from: number;
  readonly through: number;
  /** Never changed. */
  readonly values: EventualValue[];
  readonly bytes: number;
}

/** The token of readers who have everything up to somewhere. */
export interface SharedToken {
  /** Where the groups stood, in the order of the crowd's groups. */
  readonly indices: readonly number[];
  readonly terms: readonly number[];
  readonly clock: VectorClock;
  readonly issuedMs: number;
  readonly token: string;
}

/**
 * Readers that want the same of the same regions. What one of them gets, and the token of where it stands then, is worked out once for all that stood at
 * the same place: of ten thousand that watch one region mostly all do.
 */
export interface Crowd {
  readonly scope: number;
  readonly wishes: Wishes;
  readonly regions: readonly Region[];
  readonly groups: readonly number[];
  readers: number;
  values: SharedValues | undefined;
  token: SharedToken | undefined;
}

/** The crowds of a node. */
export class Crowds {
  /** By scope, which is a hash: of different crowds there may be several. */
  readonly #byScope = new Map<number, Crowd[]>();

  /** The crowd of one more reader. */
  enter(scope: number, wishes: Wishes, regions: readonly Region[], groupsOf: () => readonly number[]): Crowd {
    const known = this.#byScope.get(scope);
    let crowd = known?.find((each) => each.wishes.equals(wishes) && sameRegions(each.regions, regions));
    if (crowd === undefined) {
      crowd = { scope, wishes, regions, groups: groupsOf(), readers: 0, values: undefined, token: undefined };
      if (known === undefined) this.#byScope.set(scope, [crowd]);
      else known.push(crowd);
    }
    crowd.readers += 1;
    return crowd;
  }

  leave(crowd: Crowd): void {
    crowd.readers -= 1;
    if (crowd.readers > 0) return;
    const left = (this.#byScope.get(crowd.scope) ?? []).filter((each) => each !== crowd);
    if (left.length === 0) this.#byScope.delete(crowd.scope);
    else this.#byScope.set(crowd.scope, left);
  }
}

/** In the same order: who names them in another one is in a crowd of its own. */
function sameRegions(a: readonly Region[], b: readonly Region[]): boolean {
  return a.length === b.length && a.every(({ x, y, z }, at) => x === b[at]?.x && y === b[at].y && z === b[at].z);
}
