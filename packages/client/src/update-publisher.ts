/** Eventual values of a game loop: the latest of each key, sent once a tick, one call at a time. */
import { type EventualUpdate, MeshError, type PublishResponse } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import { isRetryable } from "./retry.ts";

/** Most updates that the contract lets a call have. */
const UPDATES_A_CALL_MAX = 1_024;
/** Values have at most 4,096 bytes, and servers refuse messages of more than 4 MiB. */
const BYTES_A_CALL_MAX = 1_048_576;
/** What an update takes besides key and value, about. */
const UPDATE_BYTES = 64;

/** How a publisher behaves. */
export interface PublisherOptions {
  /** Time between two calls, ms, 1..60,000; a call that takes longer puts the next one off. Default 50. */
  readonly intervalMs?: number;
  /** Keys that may wait to be sent, 1..1,000,000. Default 65,536. */
  readonly keysMax?: number;
  /** Told of updates that the mesh refuses, and would again: they are dropped. */
  readonly refused?: (error: MeshError, updates: readonly EventualUpdate[]) => void;
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

/** Sends updates. */
export type PublishUpdates = (updates: readonly EventualUpdate[]) => Promise<PublishResponse>;

/** Takes updates as fast as the game makes them, and publishes the latest of each key. `MeshClient.publisher` makes one. */
export class UpdatePublisher {
  readonly #publish: PublishUpdates;
  readonly #keysMax: number;
  readonly #refused: (error: MeshError, updates: readonly EventualUpdate[]) => void;
  /** In the order in which their keys came. */
  readonly #waiting = new Map<string, EventualUpdate>();
  readonly #timer: NodeJS.Timeout;
  #sending: Promise<void> | undefined;
  #closed = false;
  #counts = { taken: 0, replaced: 0, sent: 0, refused: 0, failures: 0 };

  /** @throws MeshError INVALID_FIELD, naming the option */
  constructor(publish: PublishUpdates, options: PublisherOptions = {}) {
    const { intervalMs = 50, keysMax = 65_536, refused = () => undefined } = options;
    if (!Number.isInteger(intervalMs) || intervalMs < 1 || intervalMs > 60_000) throw MeshError.field("intervalMs", "must be a whole number in 1..60000");
    if (!Number.isInteger(keysMax) || keysMax < 1 || keysMax > 1_000_000) throw MeshError.field("keysMax", "must be a whole number in 1..1000000");
    this.#publish = publish;
    this.#keysMax = keysMax;
    this.#refused = refused;
    this.#timer = setInterval(() => this.#tick(), intervalMs);
    // What may be late is no reason to keep a process.
    this.#timer.unref();
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
   * @throws MeshError CANCELLED after `close`
   */
  set(update: EventualUpdate): boolean {
    if (this.#closed) throw new MeshError("CANCELLED", "the publisher is closed");
    const key = keyOf(update);
    if (this.#waiting.has(key)) this.#counts.replaced += 1;
    else if (this.#waiting.size >= this.#keysMax) return false;
    this.#counts.taken += 1;
    this.#waiting.set(key, update);
    return true;
  }

  /** Sends what waits now and resolves once it is taken or refused; where that fails for now it still waits. */
  async flush(): Promise<void> {
    await this.#send();
  }

  /** Takes no more; what waits is sent once more. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    await this.flush();
  }

  #tick(): void {
    if (this.#sending === undefined && this.#waiting.size > 0) void this.#send();
  }

  /** After what is under way. */
  async #send(): Promise<void> {
    const run = async (): Promise<void> => await this.#sendAll();
    const turn = this.#sending === undefined ? run() : this.#sending.then(run, run);
    this.#sending = turn;
    try {
      await turn;
    } finally {
      if (this.#sending === turn) this.#sending = undefined;
    }
  }

  /** All that waits when it begins; what comes meanwhile is for the next tick. One update that is refused by name takes no other with it. */
  async #sendAll(): Promise<void> {
    for (let left = this.#waiting.size; left > 0 && this.#waiting.size > 0; ) {
      const part = this.#take(left);
      left -= part.length;
      try {
        await this.#publish(part);
        this.#counts.sent += part.length;
      } catch (thrown) {
        const error = MeshError.from(thrown);
        if (isRetryable(error, true) || error.reason === "CANCELLED") {
          this.#counts.failures += 1;
          this.#putBack(part);
          return;
        }
        const named = part[placeOf(error)];
        const wrong = named === undefined ? part : [named];
        if (named !== undefined) {
          left += part.length - 1;
          this.#putBack(part.filter((update) => update !== named));
        }
        this.#counts.refused += wrong.length;
        this.#refused(error, wrong);
      }
    }
  }

  #take(atMost: number): EventualUpdate[] {
    const part: EventualUpdate[] = [];
    let bytes = 0;
    for (const [key, update] of this.#waiting) {
      bytes += UPDATE_BYTES + update.key.length * 3 + update.value.length;
      if (part.length > 0 && (part.length >= Math.min(atMost, UPDATES_A_CALL_MAX) || bytes > BYTES_A_CALL_MAX)) break;
      part.push(update);
      this.#waiting.delete(key);
    }
    return part;
  }

  /** Waits again, unless its key has a later one by now. More keys than may wait: the limit is for those that come. */
  #putBack(part: readonly EventualUpdate[]): void {
    for (const update of part) if (!this.#waiting.has(keyOf(update))) this.#waiting.set(keyOf(update), update);
  }
}

/** Which update of a call an error is about; -1: all of them. */
function placeOf({ field = "" }: MeshError): number {
  const place = /^updates\[(\d+)\]/.exec(field)?.[1];
  return place === undefined ? -1 : Number(place);
}

function keyOf({ type, region, key }: EventualUpdate): string {
  return `${type} ${region === undefined ? "" : formatRegion(region)} ${key}`;
}
