/** Hands decided conflicts to those who watch. Nobody who reads slowly can hold the arbiter up, or fill its memory. */
import { MeshError, type Region, type ResolvedConflict, type WatchConflictsRequest, type WatchConflictsResponse } from "@statemesh/contract";
import type { Decision } from "@statemesh/conflict";

/** Where a watcher's messages go. */
export interface WatcherSink {
  /** Messages that wait for the reader. */
  readonly waiting: number;
  write(message: WatchConflictsResponse): void;
}

interface Watcher {
  readonly sink: WatcherSink;
  readonly types: ReadonlySet<number> | undefined;
  readonly regions: ReadonlySet<string> | undefined;
  sequence: number;
}

/** What a decision was made for. */
export interface DecisionContext {
  readonly groupId: number;
  /** Milliseconds since the Unix epoch. */
  readonly decidedAtMs: number;
}

function keyOf(region: Region): string {
  return `${region.x},${region.y},${region.z}`;
}

export class ConflictFeed {
  readonly #watchers = new Set<Watcher>();
  readonly #watchersMax: number;
  readonly #queueMax: number;
  #dropped = 0;

  /**
   * @param limits.watchersMax streams that may be open
   * @param limits.queueMax messages that may wait for one reader
   */
  constructor(limits: { readonly watchersMax: number; readonly queueMax: number }) {
    this.#watchersMax = limits.watchersMax;
    this.#queueMax = limits.queueMax;
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  /** Messages that slow readers did not get, of all watchers. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * Adds a watcher of the conflicts that a valid request asks for.
   *
   * @returns takes the watcher out again
   * @throws MeshError OVERLOADED where too many watch
   */
  watch(request: WatchConflictsRequest, sink: WatcherSink): () => void {
    if (this.#watchers.size >= this.#watchersMax) {
      throw new MeshError("OVERLOADED", `${this.#watchersMax} streams watch already`, { retryDelayMs: 5000 });
    }
    const watcher: Watcher = {
      sink,
      types: request.types.length === 0 ? undefined : new Set<number>(request.types),
      regions: request.regions.length === 0 ? undefined : new Set(request.regions.map(keyOf)),
      sequence: 0,
    };
    this.#watchers.add(watcher);
    return () => {
      this.#watchers.delete(watcher);
    };
  }

  /** Tells the watchers of a decision's conflicts. */
  publish(decision: Decision, context: DecisionContext): void {
    if (this.#watchers.size === 0) return;
    for (const { type, winnerOperationId, loserOperationId, rule, region, merged } of decision.conflicts) {
      const conflict: ResolvedConflict = { type, winnerOperationId, loserOperationId, rule, region, resolvedAtMs: context.decidedAtMs, groupId: context.groupId, merged };
      const regionKey = region === undefined ? "" : keyOf(region);
      for (const watcher of this.#watchers) {
        if (watcher.types?.has(type) === false || watcher.regions?.has(regionKey) === false) continue;
        watcher.sequence += 1;
        if (watcher.sink.waiting >= this.#queueMax) this.#dropped += 1;
        else watcher.sink.write({ sequence: watcher.sequence, conflict });
      }
    }
  }
}
