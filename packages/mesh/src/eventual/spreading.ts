// What goes to which peer, and when: changes to the nodes on which they are read, and to one that keeps them, the rest later; digests, and what a peer asked for.
import type { EventualDelta, EventualValue, Region } from "@statemesh/contract";
import type { AntiEntropy } from "./anti-entropy.ts";
import type { OwnInterest } from "./interest.ts";
import type { EventualLimits } from "./limits.ts";
import { emptyDelta, encodedSize, isEmpty, PeerOutbox } from "./peer-outbox.ts";
import type { PublishRounds } from "./publish-rounds.ts";
import { registersOf } from "./region-sketch.ts";
import type { Register, RegisterTable } from "./register-table.ts";

/** One peer's share of a tick. Several peers may get the same list of values. */
export interface PeerDelta {
  readonly to: number;
  readonly delta: EventualDelta;
}

/** What a node knows of who reads what. */
export interface InterestPort {
  readonly own: OwnInterest;
  /** The node that gets everything of a region at once beside those that read it: what is published is on two nodes a tick later. 0: none is there. */
  keeperOf(region: Region): number;
}

/** What it sends from. */
interface SpreadingParts {
  readonly limits: EventualLimits;
  readonly table: RegisterTable;
  readonly repair: AntiEntropy;
  readonly rounds: PublishRounds;
  readonly interest: InterestPort | undefined;
  /** A number of this start of the node. */
  readonly incarnation: number;
  /** Whether every member reads sketches of regions. */
  readonly inParts: () => boolean;
}

export class Spreading {
  /** Told when something is to go before the next tick: once, until something goes. */
  onUrgent: () => void = () => undefined;
  readonly #parts: SpreadingParts;
  readonly #peers = new Map<number, PeerOutbox>();
  /** Nodes at which something was published that a session here waits for. */
  readonly #hurried = new Set<number>();
  readonly #counters = { overflowed: 0, sentBytes: 0, sparedBytes: 0 };
  // Keys that were published here since something was sent last.
  #fresh: Register[] = [];
  #isUrgent = false;
  #ticks = 0;
  #restlessMs = Number.NEGATIVE_INFINITY;

  constructor(parts: SpreadingParts) {
    this.#parts = parts;
  }

  peerUp(peer: number): boolean {
    if (this.#peers.has(peer)) return false;
    this.#peers.set(peer, new PeerOutbox(this.#parts.limits));
    return true;
  }

  /** What waits for the peer is dropped, digests make up for it later. */
  peerDown(peer: number): boolean {
    const outbox = this.#peers.get(peer);
    if (outbox === undefined) return false;
    this.#counters.overflowed += outbox.overflowed;
    this.#counters.sparedBytes += outbox.sparedBytes;
    return this.#peers.delete(peer);
  }

  /** Undefined while the peer can't be reached. */
  outboxOf(peer: number): PeerOutbox | undefined {
    return this.#peers.get(peer);
  }

  /** A key was published here. */
  published(register: Register): void {
    if (register.fresh || this.#peers.size === 0) return;
    register.fresh = true;
    this.#fresh.push(register);
    if (!this.#isUrgent && this.#isRead(register.home.region)) this.#urge();
  }

  /** A peer is in a hurry: what was held back for it goes. */
  release(outbox: PeerOutbox): void {
    outbox.release();
    this.#urge();
  }

  /** A session waits for what was published at a node, which is asked for it with what goes there next. */
  hurry(node: number): void {
    if (!this.#peers.has(node)) return;
    this.#hurried.add(node);
    this.#urge();
  }

  /**
   * What goes to each peer now, at most one delta a peer. A peer for which `writable` is false gets nothing; its keys wait, the latest value each.
   * Without `isBeat` between two ticks: only what was published, within what is left of the tick's limits.
   */
  send(elapsedMs: number, isBeat: boolean, writable: (peer: number) => boolean): PeerDelta[] {
    const { limits, repair, rounds, interest } = this.#parts;
    if (isBeat) this.#ticks += 1;
    const deltas: PeerDelta[] = [];
    const fresh = this.#fresh;
    this.#fresh = [];
    this.#isUrgent = false;
    const shared = this.#sharedValues(fresh);
    const digestRound = isBeat && this.#ticks % limits.digestEveryTicks === 0;
    const restless = digestRound && elapsedMs - this.#restlessMs >= limits.restlessMs;
    if (restless) this.#restlessMs = elapsedMs;
    const incarnation = this.#parts.inParts() ? this.#parts.incarnation : 0;
    const round = rounds.close();
    const own = interest?.own.tick(elapsedMs);
    for (const [peer, outbox] of this.#peers) {
      if (isBeat) outbox.beat();
      const ready = writable(peer);
      const isAll = interest === undefined || outbox.interest.isAll;
      const direct = isAll && ready && outbox.backlog === 0 && shared !== undefined && outbox.takeRoom(shared.values.length, shared.bytes);
      if (!isAll) this.#divide(peer, outbox, fresh, elapsedMs);
      else if (!direct) outbox.push(fresh);
      if (!ready) {
        if (own?.news !== undefined) outbox.knowsInterest = false;
        continue;
      }
      const delta = emptyDelta();
      if (restless) outbox.release();
      outbox.releaseLate(elapsedMs);
      delta.interest = outbox.knowsInterest ? own?.news : own?.whole();
      outbox.knowsInterest = true;
      delta.hurry = this.#hurried.delete(peer);
      if (isBeat) outbox.catchUp((since) => this.publishedSince(since));
      outbox.drain(delta, isBeat);
      if (digestRound) repair.addDigests(outbox, delta, restless ? Number.POSITIVE_INFINITY : elapsedMs - limits.settleMs);
      if (direct) delta.values = delta.values.length === 0 ? shared.values : shared.values.concat(delta.values);
      if (incarnation !== 0) outbox.reach(round, delta);
      delta.asksAgain = incarnation !== 0 && rounds.asks(peer, elapsedMs);
      for (const value of delta.values) this.#counters.sentBytes += encodedSize(value);
      if (isEmpty(delta) && (incarnation === 0 || !outbox.isFirst)) continue;
      if (incarnation !== 0) {
        delta.incarnation = incarnation;
        outbox.number(delta);
        rounds.say(peer, delta);
      }
      deltas.push({ to: peer, delta });
    }
    return deltas;
  }

  /** Registers that were published here after a round; undefined for each that was not. */
  *publishedSince(round: number): Generator<Register | undefined, void> {
    for (const home of [...this.#parts.table.regions]) {
      for (const register of registersOf(home)) yield register.round > round ? register : undefined;
    }
  }

  get counters(): { readonly overflowed: number; readonly sentBytes: number; readonly sparedBytes: number } {
    let { overflowed, sparedBytes } = this.#counters;
    for (const outbox of this.#peers.values()) {
      overflowed += outbox.overflowed;
      sparedBytes += outbox.sparedBytes;
    }
    return { overflowed, sparedBytes, sentBytes: this.#counters.sentBytes };
  }

  #urge(): void {
    if (this.#isUrgent) return;
    this.#isUrgent = true;
    this.onUrgent();
  }

  /** Whether somebody reads the region on another node. */
  #isRead(region: Region): boolean {
    if (this.#parts.interest === undefined) return true;
    for (const outbox of this.#peers.values()) if (outbox.interest.wants(region)) return true;
    return false;
  }

  /** What is read on the peer's node, or kept by it, goes now; the rest can wait. */
  #divide(peer: number, outbox: PeerOutbox, fresh: readonly Register[], elapsedMs: number): void {
    const now: Register[] = [];
    const later: Register[] = [];
    let home: Register["home"] | undefined;
    let isNow = false;
    for (const register of fresh) {
      // Mostly many of one region follow each other.
      if (register.home !== home) {
        home = register.home;
        isNow = outbox.interest.wants(home.region) || this.#parts.interest?.keeperOf(home.region) === peer;
      }
      (isNow ? now : later).push(register);
    }
    outbox.push(now);
    outbox.hold(later, elapsedMs);
  }

  /** This tick's changes as one list for every peer that has nothing else waiting; undefined where they pass the limits. */
  #sharedValues(fresh: readonly Register[]): { readonly values: EventualValue[]; readonly bytes: number } | undefined {
    const values: EventualValue[] = [];
    let bytes = 0;
    for (const register of fresh) {
      register.fresh = false;
      bytes += encodedSize(register.value);
      values.push(register.value);
    }
    const { maxValuesPerTick, maxBytesPerTick } = this.#parts.limits;
    return values.length > maxValuesPerTick || bytes > maxBytesPerTick ? undefined : { values, bytes };
  }
}
