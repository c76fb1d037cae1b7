// How much may be under way at a time: what was taken and is not done yet waits too, for the disk, the peers and the log, and a queue that is
// emptied into that has only moved. So while what is under way takes longer than it does at its best, by the time that work may wait, no more is
// taken. The best is measured, as congestion control does (Cardwell et al., "BBR", 2016): far peers and slow disks are no load.
import { BestTime } from "./best-time.ts";

/** Work that may always be under way: a few batches' worth of single calls. */
const FREE = 256;
/** How long the best of a time counts, at least. */
const WINDOW_MS = 5_000;

export class InFlight<T> {
  readonly #targetMs: number;
  /** What is under way, the oldest first: how much it is, and since when. */
  readonly #since = new Map<T, { readonly count: number; readonly atMs: number }>();
  #count = 0;
  readonly #best = new BestTime(WINDOW_MS, 0);

  constructor(targetMs: number) {
    this.#targetMs = targetMs;
  }

  get count(): number {
    return this.#count;
  }

  began(work: T, count: number, nowMs: number): void {
    this.#since.set(work, { count, atMs: nowMs });
    this.#count += count;
  }

  ended(work: T, nowMs: number): void {
    const since = this.#since.get(work);
    if (since === undefined) return;
    this.#since.delete(work);
    if (this.#count <= FREE) this.#best.note(nowMs - since.atMs, nowMs);
    this.#count -= since.count;
  }

  /** More may be begun. */
  hasRoom(nowMs: number): boolean {
    if (this.#count < FREE) return true;
    const [oldest] = this.#since.values();
    return oldest === undefined || nowMs - oldest.atMs <= this.#targetMs + this.#best.ms;
  }

  clear(): void {
    this.#since.clear();
    this.#count = 0;
  }
}
