// Calls of several kinds share so many places. Kinds have an order: what comes first in it is let in first, but for one call in nine, and those that come
// later may hold fewer places than there are, so that some are free for those before them whatever they do. Who waits is let in by turns, one call a caller. What
// waited too long, or for nobody any more, is answered and never run.
import { MeshError } from "@statemesh/contract";
import type { Cancel, Clock, Timers } from "@statemesh/ports";

/** Who asks. */
export interface PlaceCaller {
  /** Calls of one caller share its turns: a connection. Absent: the process itself. */
  readonly peer?: string | undefined;
  readonly cancelled: boolean;
  /** Milliseconds until it gives up; Infinity: never. */
  readonly remainingMs: number;
}

export interface KindLimits {
  /** Places that it and those after it may hold at a time, together. */
  readonly placesMax: number;
  /** Calls that may wait. */
  readonly waitingMax: number;
  /** How long a call may wait, milliseconds. */
  readonly waitMaxMs: number;
}

/** What a kind is doing, and has done since the start. */
export interface KindLoad {
  readonly busy: number;
  readonly waiting: number;
  /** Calls answered OVERLOADED. */
  readonly refused: number;
  /** Calls that nobody waited for any more when it would have been their turn. */
  readonly expired: number;
}

/** Gives a place back; a second call does nothing. */
export type Release = () => void;

/** A caller is asked to come again between these, milliseconds. */
const RETRY_MIN_MS = 50;
const RETRY_MAX_MS = 2_000;
/** Calls of kinds before it that are let in before one of a kind that waits: it goes on, if slowly, however much these ask for. */
const PASSED_MAX = 8;
/** The share of the newest call in the mean. */
const NEWEST = 1 / 8;

interface Waiting {
  readonly caller: PlaceCaller;
  readonly deadlineMs: number;
  readonly admitted: (release: Release) => void;
  readonly refused: (error: MeshError) => void;
  stopTimer: Cancel;
}

class Kind {
  readonly name: string;
  readonly limits: KindLimits;
  /** By caller, in the order of their turns; none is empty. */
  readonly lanes = new Map<string, Waiting[]>();
  busy = 0;
  waiting = 0;
  /** Calls of other kinds that were let in while it waited and had room, since one of its own was. */
  passed = 0;
  refused = 0;
  expired = 0;
  /** How long a call of this kind holds its place, about. */
  holdMs = 0;

  constructor(name: string, limits: KindLimits) {
    this.name = name;
    this.limits = limits;
  }

  push(key: string, call: Waiting): void {
    const lane = this.lanes.get(key);
    if (lane === undefined) this.lanes.set(key, [call]);
    else lane.push(call);
    this.waiting++;
  }

  /** The next in turn; its caller's next turn is after all others'. */
  shift(): Waiting | undefined {
    for (const [key, lane] of this.lanes) {
      const call = lane.shift();
      this.lanes.delete(key);
      if (lane.length > 0) this.lanes.set(key, lane);
      if (call === undefined) continue;
      this.waiting--;
      return call;
    }
    return undefined;
  }

  /** Takes out one that waits. */
  remove(key: string, call: Waiting): boolean {
    const lane = this.lanes.get(key);
    const at = lane?.indexOf(call) ?? -1;
    if (lane === undefined || at < 0) return false;
    lane.splice(at, 1);
    if (lane.length === 0) this.lanes.delete(key);
    this.waiting--;
    return true;
  }

  /** The caller that has most waiting; the one whose turn is first where several have. */
  longest(): [string, Waiting[]] | undefined {
    let longest: [string, Waiting[]] | undefined;
    for (const each of this.lanes) if (each[1].length > (longest?.[1].length ?? 0)) longest = each;
    return longest;
  }
}

export class CallPlaces<Name extends string> {
  readonly #places: number;
  readonly #kinds: ReadonlyMap<string, Kind>;
  readonly #clock: Clock;
  readonly #timers: Timers;
  #busy = 0;

  /** @param kinds in the order in which they are let in */
  constructor(places: number, kinds: Readonly<Record<Name, KindLimits>>, clock: Clock, timers: Timers) {
    this.#places = places;
    this.#kinds = new Map(Object.entries<KindLimits>(kinds).map(([name, limits]) => [name, new Kind(name, limits)]));
    this.#clock = clock;
    this.#timers = timers;
  }

  load(name: Name): KindLoad {
    const { busy, waiting, refused, expired } = this.#kind(name);
    return { busy, waiting, refused, expired };
  }

  /**
   * A place, at once or when it is the call's turn. Throws OVERLOADED, with the delay after which it would have been, where too many wait
   * or it waited too long, DEADLINE_EXCEEDED and CANCELLED: nothing of the call was begun.
   */
  async take(name: Name, caller: PlaceCaller): Promise<Release> {
    const kind = this.#kind(name);
    if (kind.waiting === 0 && this.#hasRoom(kind)) return this.#hold(kind);
    const key = caller.peer ?? "";
    this.#makeRoom(kind, key);
    return await new Promise<Release>((admitted, refused) => {
      const { waitMaxMs } = kind.limits;
      const leftMs = Math.max(0, caller.remainingMs);
      const call: Waiting = { caller, deadlineMs: this.#clock.monotonicMs() + leftMs, admitted, refused, stopTimer: () => undefined };
      call.stopTimer = this.#timers.after(Math.min(leftMs, waitMaxMs), () => {
        if (!kind.remove(key, call)) return;
        if (leftMs <= waitMaxMs || caller.cancelled) this.#expire(kind, call);
        else refused(this.#refusal(kind, `there was none within ${waitMaxMs} ms`));
      });
      kind.push(key, call);
    });
  }

  #kind(name: string): Kind {
    const kind = this.#kinds.get(name);
    if (kind === undefined) throw new TypeError(`${name} is no kind of call`);
    return kind;
  }

  #hasRoom(kind: Kind): boolean {
    if (this.#busy >= this.#places) return false;
    // What it holds counts for those before it too.
    let busy = this.#busy;
    for (const each of this.#kinds.values()) {
      if (busy >= each.limits.placesMax) return false;
      if (each === kind) break;
      busy -= each.busy;
    }
    return true;
  }

  #hold(kind: Kind): Release {
    this.#busy++;
    kind.busy++;
    const sinceMs = this.#clock.monotonicMs();
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#busy--;
      kind.busy--;
      kind.holdMs += (this.#clock.monotonicMs() - sinceMs - kind.holdMs) * NEWEST;
      this.#admit();
    };
  }

  /** Where as many wait as may, the last of who has most goes, if that is not who comes. */
  #makeRoom(kind: Kind, key: string): void {
    if (kind.waiting < kind.limits.waitingMax) return;
    const why = `${kind.waiting} calls wait for a place`;
    const [longestKey, lane] = kind.longest() ?? ["", []];
    const last = lane.at(-1);
    if (last === undefined || lane.length <= (kind.lanes.get(key)?.length ?? 0) + 1) throw this.#refusal(kind, why);
    kind.remove(longestKey, last);
    last.stopTimer();
    last.refused(this.#refusal(kind, why));
  }

  #admit(): void {
    for (let kind = this.#next(); kind !== undefined; kind = this.#next()) {
      const call = kind.shift();
      if (call === undefined) return;
      call.stopTimer();
      if (this.#isOver(call)) this.#expire(kind, call);
      else call.admitted(this.#hold(kind));
    }
  }

  /** The first in the order that waits and has room, unless another has been passed over often enough. */
  #next(): Kind | undefined {
    const able = [...this.#kinds.values()].filter((kind) => kind.waiting > 0 && this.#hasRoom(kind));
    const next = able.find(({ passed }) => passed >= PASSED_MAX) ?? able[0];
    if (next === undefined) return undefined;
    for (const kind of able) kind.passed++;
    next.passed = 0;
    return next;
  }

  #isOver({ caller, deadlineMs }: Waiting): boolean {
    return caller.cancelled || deadlineMs <= this.#clock.monotonicMs();
  }

  #expire(kind: Kind, { caller, refused }: Waiting): void {
    kind.expired++;
    // A caller whose deadline passes cancels too.
    const isCancelled = caller.cancelled && caller.remainingMs > 0;
    refused(isCancelled ? new MeshError("CANCELLED", "cancelled before its turn came: nothing was begun") : new MeshError("DEADLINE_EXCEEDED", "the deadline passed before its turn came: nothing was begun"));
  }

  #refusal(kind: Kind, why: string): MeshError {
    kind.refused++;
    const aheadMs = ((kind.waiting + 1) * kind.holdMs) / Math.min(this.#places, kind.limits.placesMax);
    return new MeshError("OVERLOADED", `too many ${kind.name} calls: ${why}`, { retryDelayMs: Math.min(RETRY_MAX_MS, Math.max(RETRY_MIN_MS, Math.ceil(aheadMs))) });
  }
}
