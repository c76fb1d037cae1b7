import type { TouchedSet } from "@statemesh/world";
import { SpatialIndex } from "./spatial-index.ts";

/** Something that holds what it names and where it reaches. */
export interface Occupant {
  readonly touched: Pick<TouchedSet, "keys" | "shared" | "bounds" | "layer">;
}

/** The footprints of a set of operations. */
export class Occupancy<T extends Occupant> {
  readonly #keys = new Map<string, number>();
  readonly #layers = new Map<string, SpatialIndex<T>>();

  add(occupant: T): void {
    const { keys, shared, bounds, layer } = occupant.touched;
    for (const key of keys) this.#keys.set(key, (this.#keys.get(key) ?? 0) + 1);
    for (const key of shared) this.#keys.set(key, (this.#keys.get(key) ?? 0) + 1);
    if (bounds === undefined) return;
    let index = this.#layers.get(layer);
    if (index === undefined) {
      index = new SpatialIndex();
      this.#layers.set(layer, index);
    }
    index.insert(bounds, occupant);
  }

  remove(occupant: T): void {
    const { keys, shared, bounds, layer } = occupant.touched;
    for (const key of keys) this.#release(key);
    for (const key of shared) this.#release(key);
    if (bounds !== undefined) this.#layers.get(layer)?.remove(bounds, occupant);
  }

  #release(key: string): void {
    const count = this.#keys.get(key) ?? 0;
    if (count <= 1) this.#keys.delete(key);
    else this.#keys.set(key, count - 1);
  }

  /** True where the name is held. */
  has(name: string): boolean {
    return this.#keys.has(name);
  }

  /** True where a name is shared or boxes of one layer overlap. */
  meets(other: Occupant): boolean {
    const { keys, shared, bounds } = other.touched;
    if (this.#keys.size > 0) {
      for (const key of keys) if (this.#keys.has(key)) return true;
      for (const key of shared) if (this.#keys.has(key)) return true;
    }
    return bounds !== undefined && this.meetsBox(other, always);
  }

  /** True where a box of the same layer overlaps that is one of those `which` names. */
  meetsBox({ touched: { bounds, layer } }: Occupant, which: (other: T) => boolean): boolean {
    return bounds !== undefined && (this.#layers.get(layer)?.visitOverlapping(bounds, which) ?? false);
  }
}

function always(): boolean {
  return true;
}
