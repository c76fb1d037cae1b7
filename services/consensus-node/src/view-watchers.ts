// Streams of WatchView. A change makes every one of them due: what all are told is worked out once, and told to some at a time.
import { MeshError, type Side, type WatchViewResponse } from "@statemesh/contract";
import type { CallContext, ResponseStream } from "@statemesh/service";

/** Streams of WatchView that may be open. */
const WATCHERS_MAX = 10_000;
/** Watchers that are told before the node does something else. */
const TOLD_AT_ONCE = 64;

type Responses = Pick<ResponseStream<WatchViewResponse>, "over" | "write" | "onWritable" | "fail">;

interface Watcher {
  readonly serverId: number;
  readonly responses: Responses;
  /** What it was told last; undefined: nothing yet. */
  side: Side | undefined;
  /** It waits for its reader: whatever changes meanwhile is told once. */
  isBehind: boolean;
}

/** What watchers are told. */
export interface ViewSource<Picture> {
  /** What is the same for all of them now. */
  picture(): Picture;
  message(picture: Picture, serverId: number, before: Side | undefined): WatchViewResponse;
}

export class ViewWatchers<Picture> {
  readonly #source: ViewSource<Picture>;
  readonly #watchers = new Set<Watcher>();
  readonly #due = new Set<Watcher>();
  /** Of those that are due; undefined: not worked out since the last change. */
  #picture: { readonly of: Picture } | undefined;
  #isScheduled = false;

  constructor(source: ViewSource<Picture>) {
    this.#source = source;
  }

  /** Tells how things are now, and whenever they change. Throws OVERLOADED beyond 10,000 streams. */
  watch(serverId: number, responses: Responses, context: Pick<CallContext, "onEnd" | "onShutdown">): void {
    if (this.#watchers.size >= WATCHERS_MAX) throw new MeshError("OVERLOADED", `${WATCHERS_MAX} streams watch already`, { retryDelayMs: 5_000 });
    const watcher: Watcher = { serverId, responses, side: undefined, isBehind: false };
    this.#watchers.add(watcher);
    context.onEnd(() => {
      this.#watchers.delete(watcher);
      this.#due.delete(watcher);
    });
    context.onShutdown(() => responses.fail(new MeshError("SHUTTING_DOWN", "the node is going down: watch another")));
    this.#tell([watcher]);
  }

  /** Something is another than before. */
  changed(): void {
    this.#picture = undefined;
    this.#tell(this.#watchers);
  }

  #tell(watchers: Iterable<Watcher>): void {
    for (const watcher of watchers) this.#due.add(watcher);
    if (this.#isScheduled || this.#due.size === 0) return;
    this.#isScheduled = true;
    setImmediate(() => this.#tellSome());
  }

  #tellSome(): void {
    this.#isScheduled = false;
    let left = TOLD_AT_ONCE;
    for (const watcher of this.#due) {
      if (left-- === 0) break;
      this.#due.delete(watcher);
      this.#write(watcher);
    }
    // Leases change without word: the next to be due are told how it is then.
    if (this.#due.size === 0) this.#picture = undefined;
    this.#tell([]);
  }

  #write(watcher: Watcher): void {
    const { responses, serverId } = watcher;
    if (watcher.isBehind || responses.over) return;
    this.#picture ??= { of: this.#source.picture() };
    const message = this.#source.message(this.#picture.of, serverId, watcher.side);
    watcher.side = message.state?.side;
    if (responses.write(message)) return;
    watcher.isBehind = true;
    responses.onWritable(() => {
      watcher.isBehind = false;
      if (this.#watchers.has(watcher)) this.#tell([watcher]);
    });
  }
}
