// Who follows what became of kept operations. Of each operation only the last word waits for a watcher, and one that does not
// read is told so in the end: it finds out by asking again with the ids, or in the heal reports.
import type { Decision } from "@statemesh/contract";
import { ID_BYTES_MAX, checkInteger, checkList, checkName } from "@statemesh/world";
import { overloaded } from "../strong/operation-errors.ts";

/** Watchers of one node at most. Beyond it callers get OVERLOADED. */
const WATCHERS = 1_024;
/** Operations that wait for one watcher, at most. */
const WAITING = 4_096;
const OPERATION_IDS = 1_024;

interface Watcher {
  readonly serverId: number;
  /** Empty: all. */
  readonly operationIds: ReadonlySet<string>;
  readonly readable: () => void;
  readonly waiting: Map<string, Decision>;
  /** How things stand at the beginning was not read yet. */
  isDue: boolean;
  /** More waited than may. */
  isLate: boolean;
}

export interface WatchNews {
  readonly decisions: readonly Decision[];
  /** Everything that is kept was said. */
  readonly complete: boolean;
}

export class TentativeWatch {
  readonly #standings: (serverId: number, operationIds: ReadonlySet<string>) => Decision[];
  readonly #watchers = new Map<number, Watcher>();
  #nextId = 1;

  /** @param standings How the operations of a server stand. */
  constructor(standings: (serverId: number, operationIds: ReadonlySet<string>) => Decision[]) {
    this.#standings = standings;
  }

  /** Throws INVALID_FIELD, or OVERLOADED. `readable` is called, in the middle of a change, where there is something to be read. */
  open(serverId: number, operationIds: readonly string[], readable: () => void): number {
    checkInteger(serverId, 1, 4_294_967_295, "", "server_id");
    checkList(operationIds, OPERATION_IDS, "", "operation_ids");
    for (const [i, operationId] of operationIds.entries()) checkName(operationId, 1, ID_BYTES_MAX, "", `operation_ids[${i}]`);
    if (this.#watchers.size >= WATCHERS) throw overloaded("watchers of kept operations", WATCHERS);
    const id = this.#nextId++;
    this.#watchers.set(id, { serverId, operationIds: new Set<string>(operationIds), readable, waiting: new Map(), isDue: true, isLate: false });
    return id;
  }

  end(id: number): void {
    this.#watchers.delete(id);
  }

  tell(serverId: number, decisions: readonly Decision[]): void {
    for (const watcher of this.#watchers.values()) {
      if (watcher.serverId !== serverId) continue;
      for (const decision of decisions) {
        if (watcher.operationIds.size > 0 && !watcher.operationIds.has(decision.operationId)) continue;
        watcher.waiting.set(decision.operationId, decision);
      }
      if (watcher.waiting.size > WAITING) watcher.isLate = true;
      if (watcher.waiting.size > 0) watcher.readable();
    }
  }

  /** What a watcher is to read next; undefined: nothing. Throws OVERLOADED where it read too slowly: its watch is over. */
  next(id: number): WatchNews | undefined {
    const watcher = this.#watchers.get(id);
    if (watcher === undefined) return undefined;
    if (watcher.isLate) {
      this.#watchers.delete(id);
      throw overloaded("operations that wait for this reader", WAITING);
    }
    if (watcher.isDue) {
      watcher.isDue = false;
      watcher.waiting.clear();
      return { decisions: this.#standings(watcher.serverId, watcher.operationIds), complete: true };
    }
    if (watcher.waiting.size === 0) return undefined;
    const decisions = [...watcher.waiting.values()];
    watcher.waiting.clear();
    return { decisions, complete: false };
  }
}
