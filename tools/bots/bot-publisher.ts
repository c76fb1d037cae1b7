/** Publishes where players are: one call a beat; where the mesh does not keep up, the latest of each. */
import type { MeshClient, UpdatePublisher } from "@statemesh/client";
import { type EventualUpdate, MeshError, type Position, type Region } from "@statemesh/contract";
import { encodePosition } from "../demo-eventual.ts";
import { type BotBooks, tallyIn } from "./bot-books.ts";

const EMPTY = new Uint8Array(0);

export class BotPublisher {
  readonly #publisher: UpdatePublisher;
  readonly #books: BotBooks;
  #isSending = false;
  /** What of its counts is in the books. */
  #told = { sent: 0, replaced: 0 };

  constructor(client: MeshClient, books: BotBooks, hz: number) {
    this.#books = books;
    const refused = (error: MeshError, updates: readonly EventualUpdate[]): void => tallyIn(books.errors, `publish: ${error.reason}`, updates.length);
    this.#publisher = client.publisher({ intervalMs: Math.max(1, Math.round(1_000 / hz)), refused });
  }

  /** A player is no longer in a region. Told with the next beat. */
  leave(key: string, region: Region): void {
    this.#set({ type: "creature_position", region, key, value: EMPTY, deleted: true, timestampMs: Date.now() });
  }

  /** Where a player is. Told with the next beat. */
  at(key: string, region: Region, position: Position, sentMs: number): void {
    this.#set({ type: "creature_position", region, key, value: encodePosition(position, sentMs), deleted: false, timestampMs: Math.floor(sentMs) });
  }

  /** Sends what was said, unless an earlier beat is still on its way: then the publisher sends it right after. */
  beat(): void {
    if (!this.#isSending) void this.#send(async () => await this.#publisher.flush());
  }

  /** Sends what waits, and takes no more. */
  async close(): Promise<void> {
    await this.#send(async () => await this.#publisher.close());
  }

  #set(update: EventualUpdate): void {
    if (!this.#publisher.set(update)) tallyIn(this.#books.errors, "publish: NO_ROOM");
  }

  async #send(send: () => Promise<void>): Promise<void> {
    const before = this.#publisher.counts;
    const sentMs = performance.now();
    this.#isSending = true;
    try {
      await send();
    } catch (thrown) {
      tallyIn(this.#books.errors, `publish: ${MeshError.from(thrown).reason}`);
    } finally {
      this.#isSending = false;
      const { sent, failures } = this.#publisher.counts;
      if (failures > before.failures) tallyIn(this.#books.errors, "publish: SENT_AGAIN_LATER", failures - before.failures);
      else if (sent > before.sent) this.#books.took("publish", performance.now() - sentMs);
    }
  }

  /** Adds what was sent, and what was replaced by a later one before it could be, since the last time. */
  count(): void {
    const { sent, replaced } = this.#publisher.counts;
    this.#books.counts.published += sent - this.#told.sent;
    this.#books.counts.replaced += replaced - this.#told.replaced;
    this.#told = { sent, replaced };
  }
}
