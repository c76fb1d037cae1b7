import { WalError } from "@statemesh/wal";
import type { GroupUpdate, WriteAheadLog } from "@statemesh/wal";
import type { SimTimers } from "../sim-clock.ts";

/** How long a full disk is left alone. */
const RETRY_MS = 30;

/** Appends in order, whatever the disk's space: what a full disk refuses waits, and all that comes behind it. */
export class RaftLogWriter {
  readonly #wal: WriteAheadLog;
  readonly #timers: SimTimers;
  #refused: { update: GroupUpdate; resolve: () => void; reject: (error: unknown) => void }[] = [];
  #inFlight = 0;

  constructor(wal: WriteAheadLog, timers: SimTimers) {
    this.#wal = wal;
    this.#timers = timers;
  }

  append(update: GroupUpdate): Promise<void> {
    return new Promise((resolve, reject) => {
      const write = { update, resolve, reject };
      if (this.#refused.length > 0) this.#refused.push(write);
      else this.#append(write);
    });
  }

  async compact(groupId: number, throughIndex: number): Promise<void> {
    try {
      await this.#wal.compact(groupId, throughIndex);
    } catch (error) {
      // Marks could not be written again: the next snapshot tries once more.
      if (!isFull(error)) throw error;
    }
  }

  #append(write: { update: GroupUpdate; resolve: () => void; reject: (error: unknown) => void }): void {
    this.#inFlight++;
    this.#wal.append([write.update]).then(
      () => {
        this.#inFlight--;
        write.resolve();
      },
      (error: unknown) => {
        this.#inFlight--;
        const waits = isFull(error) || (error instanceof WalError && error.code === "OUT_OF_ORDER" && this.#refused.length > 0);
        if (!waits) return write.reject(error);
        this.#refused.push(write);
        if (this.#refused.length === 1) this.#timers.after(RETRY_MS, () => this.#retry());
      },
    );
  }

  #retry(): void {
    if (this.#inFlight > 0) {
      this.#timers.after(RETRY_MS, () => this.#retry());
      return;
    }
    const waiting = this.#refused;
    this.#refused = [];
    for (const write of waiting) this.#append(write);
  }
}

function isFull(error: unknown): boolean {
  return error instanceof WalError && error.code === "NO_SPACE";
}
