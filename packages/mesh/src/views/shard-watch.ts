// Which game shards are heard, by this node and by those it is linked with.

/** Shards that a node names at most. Of more, those heard longest ago are left out. */
export const SHARDS_HEARD_MAX = 2_048;

interface Heard {
  readonly untilMs: number;
  /** It sends heartbeats: from then on it is expected to go on. */
  readonly beats: boolean;
}

export class ShardWatch {
  readonly #suspicionMs: number;
  /** Shards that this node hears; the one heard last is last. */
  readonly #here = new Map<number, Heard>();
  /** By node: what it said it hears. */
  readonly #there = new Map<number, ReadonlySet<number>>();

  /** @param suspicionMs Silence after which a shard that sends heartbeats is not heard any more. */
  constructor(suspicionMs: number) {
    this.#suspicionMs = suspicionMs;
  }

  /**
   * A shard called this node.
   *
   * @param forMs how long it may be silent now; 0: it sends heartbeats, and so it counts for no longer than to the next few
   */
  heardAt(serverId: number, forMs: number, nowMs: number): void {
    const before = this.#here.get(serverId);
    const beats = forMs === 0 || before?.beats === true;
    this.#here.delete(serverId);
    this.#here.set(serverId, { beats, untilMs: nowMs + (beats ? this.#suspicionMs : forMs) });
    for (const oldest of this.#here.keys()) {
      if (this.#here.size <= SHARDS_HEARD_MAX) break;
      this.#here.delete(oldest);
    }
  }

  /** A node said which shards it hears. */
  heardBy(nodeId: number, serverIds: readonly number[]): void {
    this.#there.set(nodeId, new Set(serverIds.slice(0, SHARDS_HEARD_MAX)));
  }

  forget(nodeId: number): void {
    this.#there.delete(nodeId);
  }

  /** Shards that this node hears. */
  heardHere(nowMs: number): number[] {
    return [...this.#here].filter(([, { untilMs }]) => nowMs < untilMs).map(([serverId]) => serverId);
  }

  /** Shards that this node hears, or one of those named said that it hears. */
  heard(nodeIds: readonly number[], nowMs: number): Set<number> {
    const heard = new Set(this.heardHere(nowMs));
    for (const nodeId of nodeIds) for (const serverId of this.#there.get(nodeId) ?? []) heard.add(serverId);
    return heard;
  }
}
