/**
 * Hands decided conflicts to those who watch. Nobody who reads slowly can hold the arbiter up, or fill its memory. The last conflicts are
 * remembered, so that who lost the connection can go on; a restart forgets them, and says so.
 */
import { MeshError, type Region, type ResolvedConflict, type WatchConflictsRequest, type WatchConflictsResponse } from "@statemesh/contract";
import type { Decision } from "@statemesh/conflict";

/** Conflicts that are remembered for those who resume. The contract says so. */
export const REMEMBERED_MAX = 16_384;

/** Where a watcher's messages go. */
export interface WatcherSink {
  /** Messages that wait for the reader. */
  readonly waiting: number;
  /** The reader keeps up: a message would not only wait. */
  readonly writable: boolean;
  write(message: WatchConflictsResponse): void;
  /** Calls `run` once, when the reader has caught up, or is gone. */
  onWritable(run: () => void): void;
}

/** What a watcher asks for; undefined: everything. */
interface Filter {
  readonly types: ReadonlySet<number> | undefined;
  readonly regions: ReadonlySet<string> | undefined;
  readonly servers: ReadonlySet<number> | undefined;
  readonly groups: ReadonlySet<number> | undefined;
}

interface Watcher extends Filter {
  readonly sink: WatcherSink;
  sequence: number;
  /** Position of the next conflict that is still to be told from memory; undefined where the watcher hears them as they come. */
  behindAt: number | undefined;
}

/** What a decision was made for. */
export interface DecisionContext {
  readonly groupId: number;
  /** Milliseconds since the Unix epoch. */
  readonly decidedAtMs: number;
}

export interface FeedLimits {
  /** Streams that may be open. */
  readonly watchersMax: number;
  /** Messages that may wait for one reader. */
  readonly queueMax: number;
}

function keyOf(region: Region | undefined): string {
  return region === undefined ? "" : `${region.x},${region.y},${region.z}`;
}

function setOf<T>(values: readonly T[]): ReadonlySet<T> | undefined {
  return values.length === 0 ? undefined : new Set(values);
}

function wants({ types, regions, servers, groups }: Filter, conflict: ResolvedConflict): boolean {
  if (types?.has(conflict.type) === false || groups?.has(conflict.groupId) === false) return false;
  if (servers !== undefined && !servers.has(conflict.winnerServerId) && !servers.has(conflict.loserServerId)) return false;
  return regions === undefined || regions.has(keyOf(conflict.region));
}

/** A token: the replica's start, and how many conflicts it had decided. */
const TOKEN = /^([0-9a-z]{1,64})\.(0|[1-9][0-9]{0,15})$/;

/** @throws MeshError INVALID_FIELD where it is none */
export function parseResumeToken(token: string): { readonly start: string; readonly position: number } {
  const [, start, position] = TOKEN.exec(token) ?? [];
  if (start === undefined || !Number.isSafeInteger(Number(position))) throw MeshError.field("resume_token", "must be one that WatchConflicts gave, or empty");
  return { start, position: Number(position) };
}

export class ConflictFeed {
  readonly #watchers = new Set<Watcher>();
  readonly #limits: FeedLimits;
  readonly #start: string;
  readonly #rememberedMax: number;
  /** The last conflicts, as a ring: the conflict at position p is at p modulo its size. */
  readonly #remembered: ResolvedConflict[] = [];
  /** Conflicts decided since the start. */
  #position = 0;
  #dropped = 0;

  /** @param start tells this start of the replica from every other: 1..64 of `0-9`, `a-z` */
  constructor(start: string, limits: FeedLimits, rememberedMax: number = REMEMBERED_MAX) {
    this.#start = start;
    this.#limits = limits;
    this.#rememberedMax = rememberedMax;
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  /** Messages that slow readers did not get, of all watchers. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * Adds a watcher of the conflicts that a valid request asks for. Where it resumes, it first gets word of how, then
   * what it missed.
   *
   * @returns takes the watcher out again
   * @throws MeshError OVERLOADED where too many watch, INVALID_FIELD where the token is none
   */
  watch(request: WatchConflictsRequest, sink: WatcherSink): () => void {
    const resume = request.resumeToken === "" ? undefined : parseResumeToken(request.resumeToken);
    const { watchersMax } = this.#limits;
    if (this.#watchers.size >= watchersMax) throw new MeshError("OVERLOADED", `${watchersMax} streams watch already`, { retryDelayMs: 5000 });
    const watcher: Watcher = {
      sink, types: setOf<number>(request.types), regions: setOf(request.regions.map(keyOf)), servers: setOf(request.serverIds), groups: setOf(request.groupIds), sequence: 0, behindAt: undefined,
    };
    this.#watchers.add(watcher);
    if (resume !== undefined) this.#resume(watcher, resume);
    return () => {
      this.#watchers.delete(watcher);
    };
  }

  #resume(watcher: Watcher, { start, position }: { readonly start: string; readonly position: number }): void {
    const restarted = start !== this.#start || position > this.#position;
    watcher.behindAt = restarted ? this.#position : position;
    const forgotten = this.#skipForgotten(watcher);
    watcher.sink.write({ sequence: 0, conflict: undefined, resumeToken: this.#tokenAt(watcher.behindAt), resumed: { restarted, forgotten } });
    this.#catchUp(watcher);
  }

  /** Moves a watcher that is behind up to the oldest conflict that is remembered; answers how many it missed. */
  #skipForgotten(watcher: Watcher): number {
    const oldest = this.#position - this.#remembered.length;
    const behindAt = watcher.behindAt ?? this.#position;
    if (behindAt >= oldest) return 0;
    watcher.behindAt = oldest;
    return oldest - behindAt;
  }

  /** Tells from memory what a watcher missed, no faster than it reads. */
  #catchUp(watcher: Watcher): void {
    if (watcher.behindAt === undefined || !this.#watchers.has(watcher)) return;
    const forgotten = this.#skipForgotten(watcher);
    if (forgotten > 0) watcher.sink.write({ sequence: 0, conflict: undefined, resumeToken: this.#tokenAt(watcher.behindAt), resumed: { restarted: false, forgotten } });
    while (watcher.behindAt < this.#position && watcher.sink.writable) {
      const conflict = this.#remembered[watcher.behindAt % this.#rememberedMax];
      watcher.behindAt += 1;
      if (conflict !== undefined) this.#tell(watcher, conflict, watcher.behindAt);
    }
    if (watcher.behindAt === this.#position) watcher.behindAt = undefined;
    else watcher.sink.onWritable(() => this.#catchUp(watcher));
  }

  #tokenAt(position: number): string {
    return `${this.#start}.${position}`;
  }

  #tell(watcher: Watcher, conflict: ResolvedConflict, position: number): void {
    if (!wants(watcher, conflict)) return;
    watcher.sequence += 1;
    if (watcher.sink.waiting >= this.#limits.queueMax) this.#dropped += 1;
    else watcher.sink.write({ sequence: watcher.sequence, conflict, resumeToken: this.#tokenAt(position), resumed: undefined });
  }

  /** Tells the watchers of a decision's conflicts. */
  publish(decision: Decision, { groupId, decidedAtMs }: DecisionContext): void {
    for (const told of decision.conflicts) {
      const conflict: ResolvedConflict = { ...told, resolvedAtMs: decidedAtMs, groupId };
      this.#remembered[this.#position % this.#rememberedMax] = conflict;
      this.#position += 1;
      for (const watcher of this.#watchers) if (watcher.behindAt === undefined) this.#tell(watcher, conflict, this.#position);
    }
  }
}
