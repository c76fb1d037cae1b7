import { Occupancy, type PendingOperation } from "@statemesh/replica";

/** The footprints of operations: what they name and where they reach. */
export class OperationOccupancy extends Occupancy<PendingOperation> {
  /** True where an exclusive name or a box is shared with an operation of the same server, unless their states merge. */
  meetsOwn(pending: PendingOperation, owners: Owners): boolean {
    const { serverId } = pending.operation;
    return owners.meets(pending, pending.touched.keys) || this.meetsBox(pending, (other) => other.operation.serverId === serverId && !merges(other, pending));
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
