// How many operations a node has on their way to a group at a time. Whatever they wait for, a turn, a disk, a processor that others use: what is under
// way is what is decided a second, times how long each takes (Little 1961). So while operations take longer than they may, no more are taken than
// are decided in the time that they may take. That bounds the wait wherever it arises, and what is refused is refused before anything is done for it.
// They may take as long as without load and a little. How long that is, is measured while the whole node has little under way (as Brakmo and Peterson,
// "TCP Vegas", 1995, do for a path), and where even the least seems too much by taking little for a moment ("BBR", Cardwell et al., 2016).
import { BestTime } from "./best-time.ts";
import { RETRY_MAX_MS, RETRY_MIN_MS } from "./standing-delay.ts";

/** Operations that may always be on their way. */
export const FREE = 128;
/** With fewer than these under way on a node, operations take as long as they do without load. */
const FEW = 16;
/** Beyond this the limit does not rise. */
const LIMIT_MAX = 65_536;
/** How often the limit is looked at, ms. */
const LOOK_MS = 100;
/** Looks that a rate is the mean of. */
const RATE_LOOKS = 10;
/** How long the best of what is done without load counts, at least. After as long at the least limit it is looked for. */
const BEST_MS = 10_000;
/** Looking for it ends after so many operations. */
const PROBED = 16;
/** What counts as without load, at most, in targets: the wait is bounded even where that was measured wrong. */
const BEST_TARGETS = 4;
/** A limit that is not too high rises by this much a look. */
const RISE = 1.1;

interface Look {
  readonly elapsedMs: number;
  readonly decided: number;
  readonly admitted: number;
  readonly refused: number;
}

/** What all groups of a node have in common: a processor and a disk. */
export class NodeLoad {
  /** Operations under way to all groups. */
  inFlight = 0;
  /** While little is taken, so that it is seen how long operations take without load. */
  probeFromMs = Number.NEGATIVE_INFINITY;
  probeUntilMs = Number.NEGATIVE_INFINITY;
  probed = 0;
}

export class Admission {
  readonly #targetMs: number;
  readonly #byServer = new Map<number, number>();
  #limit = LIMIT_MAX;
  #inFlight = 0;
  /** Since when there was nothing under way, where there is nothing. */
  #emptySinceMs = 0;
  #looks: Look[] = [];
  /** Since the last look. */
  #sinceMs: number;
  #decided = 0;
  #tookMs = 0;
  #admitted = 0;
  #refused = 0;
  /** What is offered, as a multiple of what is taken. */
  #pressure = 1;
  readonly #best: BestTime;
  readonly #node: NodeLoad;
  /** Which probe the best is of. */
  #probeFromMs = Number.NEGATIVE_INFINITY;

  /** @param targetMs how much longer than without load operations may take */
  constructor(targetMs: number, nowMs: number, node: NodeLoad = new NodeLoad()) {
    this.#targetMs = targetMs;
    this.#node = node;
    this.#best = new BestTime(BEST_MS, nowMs);
    this.#sinceMs = nowMs;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** How long operations may take, ms. */
  get #mayTakeMs(): number {
    return this.#targetMs + Math.min(this.#best.ms, BEST_TARGETS * this.#targetMs);
  }

  /**
   * What stands against more operations of a server: the delay after which to come again; undefined: nothing. Whatever the others have on their way,
   * each server may have a share of what there is room for.
   */
  refusal(serverId: number, count: number, nowMs: number): number | undefined {
    this.#look(nowMs);
    const hasRoom = nowMs < this.#node.probeUntilMs ? this.#node.inFlight < FEW : this.#inFlight < this.#limit;
    if (hasRoom || this.#isPolite(serverId, count)) return undefined;
    this.#refused += count;
    return Math.min(RETRY_MAX_MS, Math.max(RETRY_MIN_MS, Math.ceil(this.#mayTakeMs * this.#pressure)));
  }

  #isPolite(serverId: number, count: number): boolean {
    const own = this.#byServer.get(serverId) ?? 0;
    return own === 0 ? this.#byServer.size < this.#limit : own + count <= this.#limit / this.#byServer.size && this.#byServer.size > 1;
  }

  /** True where so little was before them that they will take as long as they do without load. */
  began(serverId: number, count: number): boolean {
    const isFirst = this.#node.inFlight < FEW;
    this.#node.inFlight += count;
    this.#inFlight += count;
    this.#admitted += count;
    this.#byServer.set(serverId, (this.#byServer.get(serverId) ?? 0) + count);
    return isFirst;
  }

  /** `isFirst`: what `began` said; `tookMs`: until they were decided; undefined: they were not. */
  ended(serverId: number, count: number, isFirst: boolean, tookMs: number | undefined, nowMs: number): void {
    if (tookMs !== undefined) {
      this.#decided += count;
      this.#tookMs += tookMs * count;
      if (isFirst) this.#noteBest(tookMs, nowMs);
    }
    this.#node.inFlight -= count;
    this.#inFlight -= count;
    if (this.#inFlight === 0) this.#emptySinceMs = nowMs;
    const left = (this.#byServer.get(serverId) ?? 0) - count;
    if (left > 0) this.#byServer.set(serverId, left);
    else this.#byServer.delete(serverId);
    this.#look(nowMs);
  }

  #noteBest(tookMs: number, nowMs: number): void {
    const node = this.#node;
    // What a probe sees counts, and not what was before it.
    if (this.#probeFromMs < node.probeFromMs && nowMs - tookMs >= node.probeFromMs) {
      this.#probeFromMs = node.probeFromMs;
      this.#best.forget(nowMs);
    }
    this.#best.note(tookMs, nowMs);
    if (nowMs < node.probeUntilMs && ++node.probed >= PROBED) node.probeUntilMs = nowMs;
  }

  #look(nowMs: number): void {
    const elapsedMs = nowMs - this.#sinceMs;
    if (elapsedMs < LOOK_MS) return;
    this.#looks.push({ elapsedMs, decided: this.#decided, admitted: this.#admitted, refused: this.#refused });
    if (this.#looks.length > RATE_LOOKS) this.#looks.shift();
    const sums = { elapsedMs: 0, decided: 0, admitted: 0, refused: 0 };
    for (const look of this.#looks) for (const key of ["elapsedMs", "decided", "admitted", "refused"] as const) sums[key] += look[key];
    this.#pressure = (sums.admitted + sums.refused) / Math.max(1, sums.admitted);
    if (this.#decided > 0 && this.#inFlight > 0 && nowMs >= this.#node.probeUntilMs) this.#adapt(this.#tookMs / this.#decided, (1_000 * sums.decided) / sums.elapsedMs, nowMs);
    // Without any load it rises too.
    if (this.#inFlight === 0) this.#limit = Math.min(LIMIT_MAX, this.#limit * RISE ** ((nowMs - Math.max(this.#sinceMs, this.#emptySinceMs)) / LOOK_MS));
    this.#sinceMs = nowMs;
    this.#decided = this.#tookMs = this.#admitted = this.#refused = 0;
  }

  #adapt(tookMs: number, perSecond: number, nowMs: number): void {
    const mayTakeMs = this.#mayTakeMs;
    if (tookMs <= mayTakeMs) {
      this.#limit = Math.min(LIMIT_MAX, this.#limit * RISE);
      return;
    }
    this.#limit = Math.max(FREE, Math.min(this.#limit, (perSecond * mayTakeMs) / 1_000));
    const node = this.#node;
    // Where even the most that counts as without load would be too little, nothing that is found changes anything.
    const isInVain = tookMs > (1 + BEST_TARGETS) * this.#targetMs;
    if (isInVain || this.#limit > FREE || nowMs - Math.max(this.#best.notedAtMs, node.probeUntilMs) < BEST_MS) return;
    node.probeFromMs = nowMs;
    node.probeUntilMs = nowMs + 4 * tookMs;
    node.probed = 0;
  }
}
