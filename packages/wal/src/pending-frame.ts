import type { HardState, LogEnd, Loss } from "@statemesh/raft";
import type { SnapshotMeta } from "@statemesh/contract";
import { FrameWriter } from "./frame.ts";

/** What a frame changes in a group, to take note of once it is durable. */
export interface Touch {
  /** What the group had before this frame counts no more. */
  reset: boolean;
  /** First index of entries in this frame (0: none); a later, lower one replaces it. */
  first: number;
  /** The group's last entry after this frame. */
  end: LogEnd;
  /** Number of the group's last record in this frame. */
  number: number;
  loss: Loss | "repaired" | undefined;
  hardState: HardState | undefined;
  snapshot: SnapshotMeta | undefined;
}

/** A frame that fills or is on its way to the disk; all its appends share one promise. */
export class PendingFrame {
  readonly writer = new FrameWriter();
  readonly touched = new Map<number, Touch>();
  /** Appends in the frame. */
  appends = 0;
  #promise: Promise<void> | undefined;
  #resolve: (() => void) | undefined;
  #reject: ((cause: Error) => void) | undefined;

  get isEmpty(): boolean {
    return this.appends === 0;
  }

  get durable(): Promise<void> {
    this.#promise ??= new Promise<void>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    return this.#promise;
  }

  resolve(): void {
    this.#resolve?.();
    this.#clear();
  }

  reject(cause: Error): void {
    this.#reject?.(cause);
    this.#clear();
  }

  /** Ready to fill again. */
  #clear(): void {
    this.writer.reset();
    this.touched.clear();
    this.appends = 0;
    this.#promise = undefined;
    this.#resolve = undefined;
    this.#reject = undefined;
  }
}
