// Repair by digests. Nodes tell each other the digests of their regions; one that differs, and goes on to, makes a node ask with a
// sketch: digests of the region's parts. The answer is what the other holds in the parts that differ.
//
// What is missing in an answer was deleted there, and its tombstone collected, if the other has had it: that is known of what has stood
// here since both held the same of the region, and only then is it deleted here too.
import type { EventualDelta, Region, RegionAnswered, RegionDigest, RegionSketch } from "@statemesh/contract";
import type { EventualLimits } from "./limits.ts";
import type { PeerOutbox } from "./peer-outbox.ts";
import { PeerMemory } from "./peer-memory.ts";
import { RegionMap } from "./region-map.ts";
import { bitsFor, differingParts, digestsOf, isSketch, partOf, registersOf } from "./region-sketch.ts";
import type { Register, RegionRegisters, RegisterTable } from "./register-table.ts";

export interface AntiEntropyOptions {
  readonly table: RegisterTable;
  readonly limits: EventualLimits;
  /** All members read sketches. */
  readonly inParts: () => boolean;
  /** A value turned out to be deleted long ago: it becomes a tombstone. */
  readonly bury: (register: Register) => void;
}

export class AntiEntropy {
  readonly counters = { repairsAsked: 0, repairsAnswered: 0, buried: 0 };
  readonly #options: AntiEntropyOptions;
  readonly #limits: EventualLimits;
  readonly #table: RegisterTable;
  readonly #memories = new Map<number, PeerMemory>();
  // When a region was last asked for, of any peer, while it differs.
  readonly #askedMs = new RegionMap<number>();
  #requests = 0;
  /** Registers that may still be gone through in this tick. */
  #budget: number;
  /** The node is filled from elsewhere, and compares nothing until it is: all that it does not have yet would be a difference, to every peer. */
  isFilling: () => boolean = () => false;

  constructor(options: AntiEntropyOptions) {
    this.#options = options;
    this.#limits = options.limits;
    this.#table = options.table;
    this.#budget = options.limits.maxSketchedPerTick;
  }

  tick(): void {
    this.#budget = this.#limits.maxSketchedPerTick;
  }

  /** A node that is no member any more. */
  forget(peer: number): void {
    this.#memories.delete(peer);
  }

  /** The way to a peer opened: it counts its deltas anew. */
  wayOpened(peer: number): void {
    this.#memoryOf(peer).wayOpened();
  }

  /** Takes note of a peer's delta, before what is in it. */
  heard(peer: number, delta: EventualDelta): void {
    this.#memoryOf(peer).heard(delta);
  }

  /** Every delta of the peer has come since the one that the delta names. */
  isWhole(peer: number, { wholeFrom }: EventualDelta): boolean {
    return this.#memoryOf(peer).hasAllFrom(Math.max(wholeFrom, 1));
  }

  /** The peer named a register: it has the key. */
  named(peer: number, register: Register): void {
    const { asked } = register.home;
    if (asked?.peer === peer) register.named = asked.request;
  }

  /** The next digests of the round. Regions that changed after `settledMs` are passed over: what is on its way would show. */
  addDigests(outbox: PeerOutbox, delta: EventualDelta, settledMs: number): void {
    const { regions } = this.#table;
    if (this.isFilling()) return;
    const visits = Math.min(regions.length, this.#limits.maxDigests);
    for (let i = 0; i < visits; i += 1) {
      if (outbox.digestCursor >= regions.length) outbox.digestCursor = 0;
      const home = regions[outbox.digestCursor] as RegionRegisters;
      outbox.digestCursor += 1;
      if (home.held === 0) {
        this.#table.closeIfEmpty(home);
        for (const memory of this.#memories.values()) memory.matchedMs.delete(home.region);
        if (regions.length === 0) return;
        continue;
      }
      if (home.changedMs > settledMs) continue;
      delta.digests.push({ region: home.region, digest: home.digest.digest, count: home.digest.count });
    }
  }

  /** Compares a peer's digest with the own, and asks for what differs where it goes on to. */
  compare(peer: number, outbox: PeerOutbox, theirs: RegionDigest, elapsedMs: number): void {
    if (theirs.region === undefined || this.isFilling()) return;
    const known = this.#table.regionOf(theirs.region);
    if (theirs.digest === (known?.digest.digest ?? 0) && theirs.count === (known?.digest.count ?? 0)) {
      outbox.differsSinceMs.delete(theirs.region);
      this.#askedMs.delete(theirs.region);
      const memory = this.#memoryOf(peer);
      if (known !== undefined && memory.incarnation !== 0) memory.matchedMs.set(theirs.region, elapsedMs);
      return;
    }
    const sinceMs = outbox.differsSinceMs.get(theirs.region);
    if (sinceMs === undefined) {
      outbox.differsSinceMs.set(theirs.region, elapsedMs);
      return;
    }
    // A difference counts when it stays: values are on their way, tombstones go at slightly different times.
    const settled = known === undefined || elapsedMs - known.changedMs >= this.#limits.settleMs;
    if (elapsedMs - sinceMs < (settled ? this.#limits.settleMs : this.#limits.restlessMs)) return;
    if (elapsedMs - (this.#askedMs.get(theirs.region) ?? Number.NEGATIVE_INFINITY) < this.#limits.repairRetryMs) return;
    if (!this.#ask(peer, outbox, theirs, known)) return;
    this.#askedMs.set(theirs.region, elapsedMs);
    outbox.differsSinceMs.set(theirs.region, elapsedMs);
    this.counters.repairsAsked += 1;
  }

  /** An older peer asks for a whole region. */
  answerWhole(outbox: PeerOutbox, region: Region): void {
    const home = this.#table.regionOf(region);
    if (home !== undefined && outbox.repair(region, home, { request: 0, bits: 0, parts: [], matchedMs: Number.NEGATIVE_INFINITY })) this.counters.repairsAnswered += 1;
  }

  /** A peer asks for what differs from its sketch. Beyond the budget of a tick it is not heard, and asks again. */
  answer(peer: number, outbox: PeerOutbox, sketch: RegionSketch): void {
    const { region, request, bits } = sketch;
    if (region === undefined || request === 0 || !isSketch(sketch)) return;
    const home = this.#table.regionOf(region);
    if (!this.#spend(home)) return;
    const matchedMs = this.#memoryOf(peer).matchedMs.get(region) ?? Number.NEGATIVE_INFINITY;
    if (outbox.repair(region, home, { request, bits, parts: bits === 0 ? [] : differingParts(home, sketch), matchedMs })) this.counters.repairsAnswered += 1;
  }

  /** A peer has named all that it holds of what differed. */
  finish(peer: number, { region, request, bits, parts, firstNumber }: RegionAnswered): void {
    const home = region === undefined ? undefined : this.#table.regionOf(region);
    if (home?.asked?.peer !== peer || home.asked.request !== request || bits > 31) return;
    const { matchedMs, incarnation } = home.asked;
    home.asked = undefined;
    const memory = this.#memoryOf(peer);
    // It began anew since, or something of the answer may not have come: what it would have named is not missing there.
    if (matchedMs === undefined || memory.incarnation !== incarnation || !memory.hasAllFrom(firstNumber)) return;
    const differed = new Set(parts);
    for (const register of registersOf(home)) {
      if (bits > 0 && !differed.has(partOf(register.name, bits))) continue;
      if (register.named === request || register.value.deleted || register.arrivedMs >= matchedMs) continue;
      this.#options.bury(register);
      this.counters.buried += 1;
    }
  }

  #ask(peer: number, outbox: PeerOutbox, { region, count }: RegionDigest, known: RegionRegisters | undefined): boolean {
    if (region === undefined) return false;
    if (!this.#options.inParts()) return outbox.want(region);
    if (!outbox.mayAsk || !this.#spend(known)) return false;
    this.#requests = (this.#requests % 0xffff_ffff) + 1;
    const request = this.#requests;
    const bits = known === undefined ? 0 : bitsFor(Math.max(count, known.digest.count));
    const salt = Math.imul(request, 0x9e3779b1) >>> 0;
    outbox.ask({ region, request, bits, salt, digests: bits === 0 ? [] : digestsOf(known, bits, salt) });
    const memory = this.#memoryOf(peer);
    if (known !== undefined) known.asked = { peer, request, incarnation: memory.incarnation, matchedMs: memory.matchedMs.get(region) };
    return true;
  }

  #spend(home: RegionRegisters | undefined): boolean {
    if (this.#budget <= 0) return false;
    this.#budget -= home?.held ?? 0;
    return true;
  }

  #memoryOf(peer: number): PeerMemory {
    let memory = this.#memories.get(peer);
    if (memory === undefined) this.#memories.set(peer, (memory = new PeerMemory()));
    return memory;
  }
}
