import { type PendingOperation, SpatialIndex } from "@statemesh/replica";

/** The footprints of a set of operations: what they name and where they reach. */
export class Occupancy {
  readonly #keys = new Map<string, number>();
  readonly #layers = new Map<string, SpatialIndex<PendingOperation>>();

  add(pending: PendingOperation): void {
    const { keys, shared, bounds, layer } = pending.touched;
    for (const key of keys) this.#keys.set(key, (this.#keys.get(key) ?? 0) + 1);
    for (const key of shared) this.#keys.set(key, (this.#keys.get(key) ?? 0) + 1);
    if (bounds === undefined) return;
    let index = this.#layers.get(layer);
    if (index === undefined) {
      index = new SpatialIndex();
      this.#layers.set(layer, index);
    }
    index.insert(bounds, pending);
  }

  remove(pending: PendingOperation): void {
    const { keys, shared, bounds, layer } = pending.touched;
    for (const key of keys) this.#release(key);
    for (const key of shared) this.#release(key);
    if (bounds !== undefined) this.#layers.get(layer)?.remove(bounds, pending);
  }

  #release(key: string): void {
    const count = this.#keys.get(key) ?? 0;
    if (count <= 1) this.#keys.delete(key);
    else this.#keys.set(key, count - 1);
  }

  /** True where a name is shared or boxes of one layer overlap. */
  meets(pending: PendingOperation): boolean {
    const { keys, shared, bounds, layer } = pending.touched;
    if (this.#keys.size > 0) {
      for (const key of keys) if (this.#keys.has(key)) return true;
      for (const key of shared) if (this.#keys.has(key)) return true;
    }
    if (bounds === undefined) return false;
    return this.#layers.get(layer)?.visitOverlapping(bounds, always) ?? false;
  }

  /** True where an exclusive name or a box is shared with an operation of the same server. */
  meetsOwn(pending: PendingOperation, owners: ReadonlyMap<string, ReadonlySet<number>>): boolean {
    const { keys, bounds, layer } = pending.touched;
    const serverId = pending.operation.serverId;
    for (const key of keys) if (owners.get(key)?.has(serverId) === true) return true;
    if (bounds === undefined) return false;
    return this.#layers.get(layer)?.visitOverlapping(bounds, (other) => other.operation.serverId === serverId) ?? false;
  }
}

function always(): boolean {
  return true;
}
