/** Eventual values of a game loop: the latest of each key, at once after a pause and then a call an interval, one at a time. */
import { type EventualUpdate, MeshError, type PublishResponse } from "@statemesh/contract";
import { callGame, type OnError, writeError } from "./game-code.ts";
import { isRetryable } from "./retry.ts";
import { WaitingUpdates } from "./waiting-updates.ts";

/** Most updates that the contract lets a call have. */
const UPDATES_A_CALL_MAX = 1_024;
/** Values have at most 4,096 bytes, and servers refuse messages of more than 4 MiB. */
const BYTES_A_CALL_MAX = 1_048_576;
/** What an update takes besides key and value, about. */
const UPDATE_BYTES = 64;

/** How a publisher behaves. */
export interface PublisherOptions {
  /**
   * Time from one call to the next, ms, 1..60,000; a call that takes longer puts the next one off. What is set after a longer pause goes at once, with all that is set in
   * the same turn of the event loop: so a loop of the same rhythm waits for nothing. Default 50.
   */
  readonly intervalMs?: number;
  /** Keys that may wait to be sent, 1..1,000,000. Default 65,536. */
  readonly keysMax?: number;
  /** Told of updates that the mesh refuses, and would again: they are dropped. */
  readonly refused?: (error: MeshError, updates: readonly EventualUpdate[]) => void;
  /** Told of what `refused` throws. Default: the client's `onError`. */
  readonly onError?: OnError;
}

/** Counts since the publisher was made. */
export interface PublisherCounts {
  /** Updates taken. */
  readonly taken: number;
  /** Of those, replaced by a later one of their key before they were sent. */
  readonly replaced: number;
  /** Updates that the mesh has taken. */
  readonly sent: number;
  /** Updates that the mesh refused. */
  readonly refused: number;
  /** Calls that failed for now; what they carried waits for the next one. */
  readonly failures: number;
}

/** Sends updates, until the signal fires. */
export type PublishUpdates = (updates: readonly EventualUpdate[], signal: AbortSignal) => Promise<PublishResponse>;

/** Takes updates as fast as the game makes them, and publishes the latest of each key. `MeshClient.publisher` makes one. */
export class UpdatePublisher {
  readonly #publish: PublishUpdates;
  readonly #keysMax: number;
  readonly #refused: (error: MeshError, updates: readonly EventualUpdate[]) => void;
  readonly #onError: OnError;
  readonly #waiting = new WaitingUpdates();
  readonly #intervalMs: number;
  /** When the last call began; monotonic. */
  #lastMs = Number.NEGATIVE_INFINITY;
  /** What makes the next one. */
  #due: { readonly cancel: () => void } | undefined;
  readonly #stop = new AbortController();
  readonly #ended: () => void;
  #sending: Promise<MeshError | undefined> | undefined;
  #closing: Promise<void> | undefined;
  #counts = { taken: 0, replaced: 0, sent: 0, refused: 0, failures: 0 };

  /**
   * @param ended told once when it is closed
   * @throws MeshError INVALID_FIELD, naming the option
   */
  constructor(publish: PublishUpdates, options: PublisherOptions = {}, ended: () => void = () => undefined) {
    const { intervalMs = 50, keysMax = 65_536, refused = () => undefined, onError = writeError } = options;
    if (!Number.isInteger(intervalMs) || intervalMs < 1 || intervalMs > 60_000) throw MeshError.field("intervalMs", "must be a whole number in 1..60000");
    if (!Number.isInteger(keysMax) || keysMax < 1 || keysMax > 1_000_000) throw MeshError.field("keysMax", "must be a whole number in 1..1000000");
    this.#publish = publish;
    this.#ended = ended;
    this.#keysMax = keysMax;
    this.#refused = refused;
    this.#onError = onError;
    this.#intervalMs = intervalMs;
  }

  /** Keys that wait to be sent. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** What became of what was taken. */
  get counts(): PublisherCounts {
    return { ...this.#counts };
  }

  /**
   * Takes an update; one of the same key that still waits is replaced. False: as many keys as may wait do, and this is another one; nothing was taken.
   *
   * @throws MeshError CANCELLED after `close`; INVALID_FIELD where it has no bytes, key or type
   */
  set(update: EventualUpdate): boolean {
    if (this.#closing !== undefined) throw new MeshError("CANCELLED", "the publisher is closed");
    if (typeof update.type !== "string") throw MeshError.field("update.type", "must be a text");
    if (typeof update.key !== "string") throw MeshError.field("update.key", "must be a text");
    if (!(update.value instanceof Uint8Array)) throw MeshError.field("update.value", "must be bytes: eventualType(...).write makes them of a value");
    const before = this.#waiting.size;
    if (before >= this.#keysMax && !this.#waiting.has(update)) return false;
    this.#waiting.set(update);
    if (this.#waiting.size === before) this.#counts.replaced += 1;
    this.#counts.taken += 1;
    if (this.#due === undefined) this.#plan();
    return true;
  }

  /**
   * Sends what waits now and resolves once it is taken or refused.
   *
   * @throws MeshError why it failed for now; what was not sent still waits, and goes with the next call
   */
  async flush(): Promise<void> {
    const failed = await this.#send();
    if (failed !== undefined) throw failed;
  }

  /**
   * Takes no more, and sends what waits once more. Called again it answers the same.
   *
   * @param limits where `signal` fires, what is not sent is dropped
   * @throws MeshError why updates were not sent: they are dropped, and metadata `unsent` says how many
   */
  close({ signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    this.#closing ??= this.#close(signal);
    return this.#closing;
  }

  /** Takes no more and sends no more: what waits is dropped. */
  drop(): void {
    this.#stop.abort();
    this.#due?.cancel();
    this.#waiting.clear();
    this.#closing ??= Promise.resolve();
    this.#ended();
  }

  /** As `close`: for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(signal: AbortSignal | undefined): Promise<void> {
    this.#due?.cancel();
    const stop = (): void => this.#stop.abort();
    if (signal?.aborted === true) stop();
    signal?.addEventListener("abort", stop, { once: true });
    const failed = await this.#send();
    signal?.removeEventListener("abort", stop);
    this.#ended();
    const unsent = this.#waiting.size;
    this.#waiting.clear();
    if (failed === undefined) return;
    throw new MeshError(failed.reason, `${unsent} ${unsent === 1 ? "update was" : "updates were"} not sent: ${failed.message}`, { metadata: { ...failed.metadata, unsent: String(unsent) }, cause: failed });
  }

  /** The next call is made in time for what waits. */
  #plan(): void {
    const waitMs = this.#lastMs + this.#intervalMs - performance.now();
    // What may be late is no reason to keep a process. A loop of the same rhythm is never quite on time: less than a millisecond is not waited for.
    if (waitMs < 1) {
      const immediate = setImmediate(() => this.#onDue()).unref();
      this.#due = { cancel: () => clearImmediate(immediate) };
    } else {
      const timer = setTimeout(() => this.#onDue(), waitMs).unref();
      this.#due = { cancel: () => clearTimeout(timer) };
    }
  }

  #onDue(): void {
    this.#due = undefined;
    // What fails is counted, and waits for the next call.
    if (this.#sending === undefined && this.#waiting.size > 0) void this.#send();
  }

  /** After what is under way. Returns why not all was sent. */
  async #send(): Promise<MeshError | undefined> {
    const run = async (): Promise<MeshError | undefined> => await this.#sendAll();
    const turn = this.#sending === undefined ? run() : this.#sending.then(run, run);
    this.#sending = turn;
    this.#lastMs = performance.now();
    try {
      return await turn;
    } finally {
      if (this.#sending === turn) {
        this.#sending = undefined;
        // What came meanwhile, and what could not be sent for now.
        if (this.#waiting.size > 0 && this.#due === undefined && this.#closing === undefined) this.#plan();
      }
    }
  }

  /** All that waits when it begins; what comes meanwhile is for the next call. One update that is refused by name takes no other with it. */
  async #sendAll(): Promise<MeshError | undefined> {
    for (let left = this.#waiting.size; left > 0 && this.#waiting.size > 0; ) {
      const part = this.#take(left);
      left -= part.length;
      try {
        await this.#publish(part, this.#stop.signal);
        this.#counts.sent += part.length;
      } catch (thrown) {
        const error = MeshError.from(thrown);
        if (isRetryable(error, true) || error.reason === "CANCELLED") {
          this.#counts.failures += 1;
          this.#putBack(part);
          return error;
        }
        const named = part[placeOf(error)];
        const wrong = named === undefined ? part : [named];
        if (named !== undefined) {
          left += part.length - 1;
          this.#putBack(part.filter((update) => update !== named));
        }
        this.#counts.refused += wrong.length;
        callGame(this.#onError, "publisher's refused", () => this.#refused(error, wrong));
      }
    }
    return undefined;
  }

  #take(atMost: number): EventualUpdate[] {
    let bytes = 0;
    let count = 0;
    return this.#waiting.take((update) => {
      bytes += UPDATE_BYTES + update.key.length * 3 + update.value.length;
      count += 1;
      return count === 1 || (count <= Math.min(atMost, UPDATES_A_CALL_MAX) && bytes <= BYTES_A_CALL_MAX);
    });
  }

  /** Waits again, unless its key has a later one by now. More keys than may wait: the limit is for those that come. */
  #putBack(part: readonly EventualUpdate[]): void {
    for (const update of part) if (!this.#waiting.has(update)) this.#waiting.set(update);
  }
}

/** Which update of a call an error is about; -1: all of them. */
function placeOf({ field = "" }: MeshError): number {
  const place = /^updates\[(\d+)\]/.exec(field)?.[1];
  return place === undefined ? -1 : Number(place);
}
