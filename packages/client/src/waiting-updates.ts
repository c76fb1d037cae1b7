import type { EventualUpdate, Region } from "@statemesh/contract";

/** Places without updates that are kept for the next ones: a game's creatures are mostly where they were. */
const EMPTY_PLACES_MAX = 1_024;
const NOWHERE: Region = { x: 0, y: 0, z: 0 };

/** The updates of one type in one region. */
interface Place {
  readonly type: string;
  readonly region: Region;
  readonly hasRegion: boolean;
  readonly byKey: Map<string, EventualUpdate>;
}

/** The latest update of each key of type and region. Found by numbers and the key itself: a text made of all three would cost more than all else of an update. */
export class WaitingUpdates {
  readonly #places = new Map<number, Place[]>();
  #placeCount = 0;
  #size = 0;

  /** Keys. */
  get size(): number {
    return this.#size;
  }

  has(update: EventualUpdate): boolean {
    return this.#find(update)?.byKey.has(update.key) === true;
  }

  /** In place of one of the same key. */
  set(update: EventualUpdate): void {
    const { byKey } = this.#find(update) ?? this.#open(update);
    const before = byKey.size;
    byKey.set(update.key, update);
    this.#size += byKey.size - before;
  }

  clear(): void {
    this.#places.clear();
    this.#placeCount = 0;
    this.#size = 0;
  }

  /** Takes updates out while `wants` more. Of a place those that came first. */
  take(wants: (update: EventualUpdate) => boolean): EventualUpdate[] {
    const taken: EventualUpdate[] = [];
    for (const places of this.#places.values()) {
      for (const { byKey } of places) {
        for (const [key, update] of byKey) {
          if (!wants(update)) return taken;
          byKey.delete(key);
          this.#size -= 1;
          taken.push(update);
        }
      }
    }
    return taken;
  }

  #find({ type, region }: EventualUpdate): Place | undefined {
    const { x, y, z } = region ?? NOWHERE;
    const hasRegion = region !== undefined;
    return this.#places.get(hashOf(x, y, z))?.find((place) => place.region.x === x && place.region.y === y && place.region.z === z && place.type === type && place.hasRegion === hasRegion);
  }

  #open({ type, region }: EventualUpdate): Place {
    if (this.#placeCount >= EMPTY_PLACES_MAX) this.#closeEmpty();
    const { x, y, z } = region ?? NOWHERE;
    const place: Place = { type, region: { x, y, z }, hasRegion: region !== undefined, byKey: new Map() };
    const hash = hashOf(x, y, z);
    const others = this.#places.get(hash);
    if (others === undefined) this.#places.set(hash, [place]);
    else others.push(place);
    this.#placeCount += 1;
    return place;
  }

  #closeEmpty(): void {
    for (const [hash, places] of this.#places) {
      const left = places.filter(({ byKey }) => byKey.size > 0);
      this.#placeCount -= places.length - left.length;
      if (left.length === 0) this.#places.delete(hash);
      else if (left.length < places.length) this.#places.set(hash, left);
    }
  }
}

function hashOf(x: number, y: number, z: number): number {
  const mixed = Math.imul(x, 0x9e3779b1) ^ Math.imul(y, 0x85ebca6b) ^ Math.imul(z, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 15)) & 0x3fff_ffff;
}
