/** Publishes where players are: one call a beat, or a few where there are many. */
import type { MeshClient } from "@statemesh/client";
import { type EventualUpdate, MeshError, type Position, type Region } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import { encodePosition } from "../demo-eventual.ts";
import { type BotBooks, tallyIn } from "./bot-books.ts";

const UPDATES_A_CALL = 1_024;
const CALLS_IN_FLIGHT = 8;
const EMPTY = new Uint8Array(0);

export function positionUpdate(key: string, region: Region, position: Position, sentMs: number): EventualUpdate {
  return { type: "creature_position", region, key, value: encodePosition(position, sentMs), deleted: false, timestampMs: Math.floor(sentMs) };
}

export class BotPublisher {
  readonly #client: MeshClient;
  readonly #books: BotBooks;
  /** Players that left a region where others still show them, by key and region. */
  readonly #left = new Map<string, EventualUpdate>();
  #inFlight = 0;

  constructor(client: MeshClient, books: BotBooks) {
    this.#client = client;
    this.#books = books;
  }

  /** A player is no longer in a region. Told with the next beat. */
  leave(key: string, region: Region): void {
    this.#put({ type: "creature_position", region, key, value: EMPTY, deleted: true, timestampMs: Date.now() });
  }

  /** One that is told again does not take the place of a later one. */
  #put(update: EventualUpdate): void {
    const name = `${update.key} ${update.region === undefined ? "" : formatRegion(update.region)}`;
    if ((this.#left.get(name)?.timestampMs ?? 0) < update.timestampMs) this.#left.set(name, update);
  }

  #takeLeft(): EventualUpdate[] {
    const left = [...this.#left.values()];
    this.#left.clear();
    return left;
  }

  /** Publishes a beat's positions. A mesh that does not keep up gets no pile of calls: the next beat carries newer positions anyway. */
  publish(positions: readonly EventualUpdate[]): void {
    if (this.#inFlight >= CALLS_IN_FLIGHT) {
      this.#books.counts.beatsSkipped += 1;
      return;
    }
    const updates = this.#left.size === 0 ? positions : [...this.#takeLeft(), ...positions];
    for (let at = 0; at < updates.length; at += UPDATES_A_CALL) void this.#call(updates.slice(at, at + UPDATES_A_CALL));
  }

  /** Tells who has left, and waits for the answer. */
  async flush(): Promise<void> {
    const left = this.#takeLeft();
    for (let at = 0; at < left.length; at += UPDATES_A_CALL) await this.#call(left.slice(at, at + UPDATES_A_CALL));
  }

  async #call(updates: EventualUpdate[]): Promise<void> {
    const sentMs = performance.now();
    this.#inFlight += 1;
    try {
      await this.#client.publish({ updates });
      this.#books.counts.published += updates.length;
      this.#books.took("publish", performance.now() - sentMs);
    } catch (thrown) {
      tallyIn(this.#books.errors, `publish: ${MeshError.from(thrown).reason}`);
      // Positions come anew with the next beat; that somebody left is said once.
      for (const update of updates) if (update.deleted) this.#put(update);
    } finally {
      this.#inFlight -= 1;
    }
  }
}
