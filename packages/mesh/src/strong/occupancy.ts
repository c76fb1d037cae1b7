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

  /** True where an exclusive name or a box is shared with an operation of the same server, unless their states merge. */
  meetsOwn(pending: PendingOperation, owners: Owners): boolean {
    const { keys, bounds, layer } = pending.touched;
    if (owners.meets(pending, keys)) return true;
    if (bounds === undefined) return false;
    const { serverId } = pending.operation;
    return this.#layers.get(layer)?.visitOverlapping(bounds, (other) => other.operation.serverId === serverId && !merges(other, pending)) ?? false;
  }
}

/** Which servers' operations hold exclusive names. */
export class Owners {
  readonly #held = new Map<string, Map<number, PendingOperation>>();

  add(pending: PendingOperation): void {
    for (const key of pending.touched.keys) {
      let servers = this.#held.get(key);
      if (servers === undefined) {
        servers = new Map();
        this.#held.set(key, servers);
      }
      // Those of one server on one name merge with one another, so that any of them stands for all.
      servers.set(pending.operation.serverId, pending);
    }
  }

  meets(pending: PendingOperation, keys: readonly string[]): boolean {
    return keys.some((key) => {
      const own = this.#held.get(key)?.get(pending.operation.serverId);
      return own !== undefined && !merges(own, pending);
    });
  }
}

/** Both end in one state, in whatever order they are decided. */
function merges(a: PendingOperation, b: PendingOperation): boolean {
  return a.type.stateMerge !== undefined && a.touched.mergeClass !== "" && a.touched.mergeClass === b.touched.mergeClass;
}

function always(): boolean {
  return true;
}
