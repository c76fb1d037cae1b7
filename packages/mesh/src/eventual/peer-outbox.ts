import type { EventualDelta, EventualValue, Region, RegionInterest, RegionSketch } from "@statemesh/contract";
import type { EventualLimits } from "./limits.ts";
import { PeerInterest } from "./interest.ts";
import { RegionMap } from "./region-map.ts";
import { partOf, registersOf } from "./region-sketch.ts";
import type { Register, RegionRegisters } from "./register-table.ts";

/** An empty delta. */
export function emptyDelta(): EventualDelta {
  return { values: [], digests: [], wanted: [], incarnation: 0, number: 0, sketches: [], unchanged: [], answered: [], throughRound: 0, knownRounds: 0, knownIncarnation: 0, seen: [], asksAgain: false, wholeFrom: 0, interest: undefined, hurry: false };
}

/** Whether a delta says nothing. */
export function isEmpty({ values, digests, wanted, sketches, unchanged, answered, throughRound, asksAgain, interest, hurry }: EventualDelta): boolean {
  return throughRound === 0 && !asksAgain && interest === undefined && !hurry && values.length + digests.length + wanted.length + sketches.length + unchanged.length + answered.length === 0;
}

/** Rough bytes of a value in an encoded delta. */
export function encodedSize(value: EventualValue): number {
  return value.value.length + value.key.length + value.type.length + 40;
}

/** What a peer asked for of a region, and what it had of it. */
export interface RepairRequest {
  /** 0: of an older node, which hears of no end. */
  readonly request: number;
  readonly bits: number;
  /** The parts that it gets; all with `bits` 0. */
  readonly parts: readonly number[];
  /** Values that came before, in elapsed time, the peer has had. */
  readonly matchedMs: number;
}

/** A region, or parts of it, on its way to a peer: the iterator stands where the last delta ended. */
interface RepairJob extends RepairRequest {
  readonly region: Region;
  readonly registers: Iterator<Register>;
  readonly firstNumber: number;
}

/** Registers that are looked at in a tick for what a peer has missed. */
const CAUGHT_UP_A_TICK = 65_536;

/** What one peer still has to get: changed keys (the latest value each), regions that differ, requests. */
export class PeerOutbox {
  /** Where the round of digests stands in the list of regions. */
  digestCursor = 0;
  /** Since when the peer's digest of a region differs, milliseconds. */
  readonly differsSinceMs = new RegionMap<number>();
  /** Keys left to digest repair because the backlog was full. */
  overflowed = 0;
  /** What is read on the peer's node. */
  readonly interest = new PeerInterest();
  /** It has been told what is read on this one. */
  knowsInterest = false;
  /** Bytes of values that were never sent, because a later one of the key came while they were held back. */
  sparedBytes = 0;
  /** Keys that nobody reads there, with the bytes of their values: they wait. */
  readonly #held = new Map<Register, number>();
  /** Since when the first does, in elapsed time. */
  #heldSinceMs = 0;
  readonly #backlog = new Set<Register>();
  #jobs: RepairJob[] = [];
  #wanted: Region[] = [];
  #sketches: RegionSketch[] = [];
  /** Deltas that left. */
  #number = 0;
  /** What was published here while the peer was away, as far as it is not yet in the backlog; undefined: all is. */
  #missed: Iterator<Register | undefined> | undefined;
  /** The peer has said what it has. */
  #isKnown = false;
  /** The peer was sent everything that was published here up to this round. */
  #through = 0;
  /** The first delta since the peer last said what it has; 0: the first of all. */
  #wholeFrom = 0;
  /** A key that was published here found no room. */
  #hasHole = false;
  /** What is left of the limits of a tick. */
  #valuesLeft: number;
  #bytesLeft: number;
  readonly #limits: EventualLimits;

  constructor(limits: EventualLimits) {
    this.#limits = limits;
    this.#valuesLeft = limits.maxValuesPerTick;
    this.#bytesLeft = limits.maxBytesPerTick;
  }

  /** A tick begins. */
  beat(): void {
    this.#valuesLeft = this.#limits.maxValuesPerTick;
    this.#bytesLeft = this.#limits.maxBytesPerTick;
  }

  /** Values that go beside the backlog; false where the tick has no room for them. */
  takeRoom(values: number, bytes: number): boolean {
    if (values > this.#valuesLeft || bytes > this.#bytesLeft) return false;
    this.#valuesLeft -= values;
    this.#bytesLeft -= bytes;
    return true;
  }

  /** Keys that wait. */
  get backlog(): number {
    return this.#backlog.size;
  }

  /** Puts keys behind those that wait already; a key that waits is sent once, with its latest value. */
  push(registers: readonly Register[]): void {
    for (const register of registers) {
      if (this.#held.size > 0) this.#held.delete(register);
      if (this.#backlog.size < this.#limits.maxBacklogKeys || this.#backlog.has(register)) this.#backlog.add(register);
      else {
        this.overflowed += 1;
        this.#hasHole = true;
      }
    }
  }

  /** Keys that can wait. Too many do not. */
  hold(registers: readonly Register[], elapsedMs: number): void {
    if (this.#held.size + registers.length > this.#limits.maxBacklogKeys) {
      this.release();
      return this.push(registers);
    }
    if (this.#held.size === 0) this.#heldSinceMs = elapsedMs;
    for (const register of registers) {
      if (this.#backlog.has(register)) continue;
      this.sparedBytes += this.#held.get(register) ?? 0;
      this.#held.set(register, encodedSize(register.value));
    }
  }

  /** The peer says what is read there. What was held back of that goes now. */
  hears(said: RegionInterest): void {
    this.interest.hear(said);
    const wanted: Register[] = [];
    for (const register of this.#held.keys()) if (this.interest.wants(register.home.region)) wanted.push(register);
    this.push(wanted);
  }

  /** What is held back goes with what waits. */
  release(): void {
    if (this.#held.size === 0) return;
    const held = [...this.#held.keys()];
    this.#held.clear();
    this.push(held);
  }

  /** The same, once it was held back long enough. */
  releaseLate(elapsedMs: number): void {
    if (elapsedMs - this.#heldSinceMs >= this.#limits.holdBackMs) this.release();
  }

  /** The peer has not yet heard what this node knows of it. */
  get isFirst(): boolean {
    return this.#number === 0;
  }

  /** The peer says up to which round it has what was published here; `missedSince` goes through what was published after one. */
  says(round: number, missedSince: (round: number) => Iterator<Register | undefined>): void {
    if (this.#isKnown) return;
    this.#isKnown = true;
    this.#through = round;
    this.#missed = missedSince(round);
  }

  /** The peer lacks something of what it was sent after a round, and gets it again. What is under way goes on: it asks again. */
  sendAgain(round: number, missedSince: (round: number) => Iterator<Register | undefined>): void {
    if (!this.#isKnown || this.#missed !== undefined) return;
    this.#through = round;
    this.#missed = missedSince(round);
    this.#wholeFrom = this.#number + 1;
  }

  /** Puts what the peer has missed into the backlog, as far as there is room in this tick. */
  catchUp(missedSince: (round: number) => Iterator<Register | undefined>): void {
    if (!this.#isKnown) return;
    if (this.#hasHole && this.#backlog.size === 0) {
      this.#hasHole = false;
      this.#missed = missedSince(this.#through);
    }
    for (let left = CAUGHT_UP_A_TICK; this.#missed !== undefined && left > 0 && this.#backlog.size < this.#limits.maxValuesPerTick; left -= 1) {
      const next = this.#missed.next();
      if (next.done === true) this.#missed = undefined;
      else if (next.value !== undefined) this.#backlog.add(next.value);
    }
  }

  /** The delta that leaves now holds the last of everything that was published up to `round`, or says nothing of that. */
  reach(round: number, delta: EventualDelta): void {
    if (!this.#isKnown || this.#missed !== undefined || this.#hasHole || this.#backlog.size > 0 || this.#held.size > 0 || round <= this.#through) return;
    this.#through = round;
    delta.throughRound = round;
  }

  /** The peer gets what it asked for of a region; `home`: undefined where nothing is held. False where the region is on its way, or too many wait. */
  repair(region: Region, home: RegionRegisters | undefined, request: RepairRequest): boolean {
    // What is on its way goes on: a large region would begin again and again.
    for (const job of this.#jobs) if (job.region.x === region.x && job.region.y === region.y && job.region.z === region.z) return false;
    if (this.#jobs.length >= this.#limits.maxRepairRegions) return false;
    const registers = home === undefined ? [][Symbol.iterator]() : inParts(home, request);
    this.#jobs.push({ ...request, region, registers, firstNumber: this.#number + 1 });
    return true;
  }

  /** The next delta asks the peer for a whole region. */
  want(region: Region): boolean {
    if (this.#wanted.length >= this.#limits.maxDigests) return false;
    this.#wanted.push(region);
    return true;
  }

  /** Room for one more sketch. */
  get mayAsk(): boolean {
    return this.#sketches.length < this.#limits.maxDigests;
  }

  /** The next delta asks the peer for what differs. */
  ask(sketch: RegionSketch): void {
    this.#sketches.push(sketch);
  }

  /** Counts the delta that leaves now. */
  number(delta: EventualDelta): void {
    this.#number += 1;
    delta.number = this.#number;
    delta.wholeFrom = this.#wholeFrom;
  }

  /** Moves waiting keys into the delta, with a tick also regions and requests, within the limits of a tick. */
  drain(delta: EventualDelta, isBeat: boolean): void {
    for (const register of this.#backlog) {
      if (this.#valuesLeft <= 0 || this.#bytesLeft <= 0) break;
      this.#backlog.delete(register);
      delta.values.push(register.value);
      this.#valuesLeft -= 1;
      this.#bytesLeft -= encodedSize(register.value);
    }
    if (!isBeat) return;
    this.#drainRepairs(delta);
    if (this.#wanted.length > 0) {
      delta.wanted = this.#wanted;
      this.#wanted = [];
    }
    if (this.#sketches.length > 0) {
      delta.sketches = this.#sketches;
      this.#sketches = [];
    }
  }

  #drainRepairs(delta: EventualDelta): void {
    let values = 0;
    let bytes = 0;
    let done = 0;
    for (const job of this.#jobs) {
      while (values < this.#limits.maxRepairValuesPerTick && bytes < this.#limits.maxRepairBytesPerTick) {
        const next = job.registers.next();
        if (next.done === true) {
          done += 1;
          const { region, request, bits, parts, firstNumber } = job;
          if (request !== 0) delta.answered.push({ region, request, bits, parts: [...parts], firstNumber });
          break;
        }
        (next.value.arrivedMs < job.matchedMs ? delta.unchanged : delta.values).push(next.value.value);
        values += 1;
        bytes += encodedSize(next.value.value);
      }
      if (values >= this.#limits.maxRepairValuesPerTick || bytes >= this.#limits.maxRepairBytesPerTick) break;
    }
    if (done > 0) this.#jobs = this.#jobs.slice(done);
  }
}

function* inParts(home: RegionRegisters, { bits, parts }: RepairRequest): Generator<Register, void> {
  if (bits === 0) return yield* registersOf(home);
  const wanted = new Uint8Array(2 ** bits);
  for (const part of parts) wanted[part] = 1;
  for (const register of registersOf(home)) if (wanted[partOf(register.name, bits)] === 1) yield register;
}
