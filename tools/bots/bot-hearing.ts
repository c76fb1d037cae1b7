/** A shard's subscription to its regions and those around: shows the view what is there, and measures how late positions come. */
import type { MeshClient, Subscription } from "@statemesh/client";
import { type EventualValue, MeshError, type Region, type SubscribeResponse } from "@statemesh/contract";
import { decodePosition } from "../demo-eventual.ts";
import { type BotBooks, tallyIn } from "./bot-books.ts";
import { wallMs } from "./bot-orders.ts";
import type { BotView } from "./bot-view.ts";

/** Whose subscription it is, and to what. */
export interface HearingScope {
  readonly run: string;
  readonly serverId: number;
  readonly regions: readonly Region[];
  /** Since when (wall time) this shard simulates a player; undefined where it does not. */
  simulatesSince(playerId: string): number | undefined;
}

export class BotHearing {
  readonly #view: BotView;
  readonly #books: BotBooks;
  readonly #scope: HearingScope;
  readonly #subscription: Subscription;
  #measureMs = Number.POSITIVE_INFINITY;
  #inSnapshot = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(client: MeshClient, view: BotView, books: BotBooks, scope: HearingScope) {
    this.#view = view;
    this.#books = books;
    this.#scope = scope;
    this.#subscription = client.subscribe({ regions: scope.regions, strong: true, eventual: true });
  }

  /** Resolves with the end of the first snapshot. */
  async start(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#ended = this.#read(resolve).catch((thrown: unknown) => {
        tallyIn(this.#books.errors, `subscription: ${MeshError.from(thrown).reason}`);
        reject(MeshError.from(thrown));
      });
    });
  }

  /** Only positions that were sent from then on are measured; wall time. */
  measureFrom(atMs: number): void {
    this.#measureMs = atMs;
  }

  async stop(): Promise<void> {
    this.#subscription.close();
    await this.#ended;
  }

  async #read(started: () => void): Promise<void> {
    for await (const { event } of this.#subscription) {
      this.#take(event);
      if (event?.$case === "snapshot" && event.value.complete) started();
    }
  }

  #take(event: SubscribeResponse["event"]): void {
    if (event?.$case === "snapshot") {
      if (!this.#inSnapshot) this.#view.forgetAll();
      this.#inSnapshot = !event.value.complete;
      for (const entity of event.value.entities) this.#view.put(entity);
      if (event.value.complete) this.#books.counts.snapshots += 1;
    } else if (event?.$case === "lagged") this.#books.counts.lagged += 1;
    else if (event?.$case === "changes") {
      for (const change of event.value.entities) this.#view.change(change);
      const nowMs = wallMs();
      for (const value of event.value.values) this.#onValue(value, nowMs);
    }
  }

  #onValue(value: EventualValue, nowMs: number): void {
    if (value.deleted || !value.key.startsWith(this.#scope.run)) return;
    // What this shard wrote itself it knew before.
    if (value.serverId === this.#scope.serverId) {
      this.#books.counts.echoed += 1;
      return;
    }
    this.#books.counts.received += 1;
    const position = decodePosition(value.value);
    if (position === undefined) return;
    if (position.sentMs >= this.#measureMs) this.#books.took("arrival", nowMs - position.sentMs);
    // Whoever hands a player on says nothing of it any more before the other can begin.
    if (position.sentMs > (this.#scope.simulatesSince(value.key) ?? Number.POSITIVE_INFINITY)) this.#books.counts.doubled += 1;
  }
}
