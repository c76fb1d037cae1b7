// What a session has seen of eventual values. Each node counts the ticks in which something was published at it: its rounds. It tells
// each peer up to which round that one has been sent everything, and a peer that was away is first sent what it missed. So "up to round
// 17 of node 2" means the same on every node, and a session's token names one round for each node.
import type { EventualDelta, VectorClockEntry } from "@statemesh/contract";
import { isOrigin, nodeOfOrigin, originOf } from "../causal/origin.ts";

/** What is known of one peer's rounds. */
interface PeerRounds {
  incarnation: number;
  /** Everything that was published there up to this round has come here. */
  known: number;
  /** Since when the peer's start is known, or its way is closed, in elapsed time. */
  sinceMs: number;
  isUp: boolean;
  /** The number of the last delta of which a value found no room. */
  refusedNumber: number;
  /** What came is not all: something was lost, or found no room. */
  isLacking: boolean;
  /** When it is next asked to send again what this node lacks, in elapsed time, and how long after that once more, milliseconds. */
  askAtMs: number;
  askEveryMs: number;
}

export interface RoundsIdentity {
  /** Undefined: nobody asks for sessions here. */
  readonly nodeId: number;
  readonly incarnation: number;
}

/** How long a start of a node that is over or away still counts, milliseconds: by then those that are left have repaired what they have of it. */
export const GONE_AFTER_MS = 10_000;

/** From noticing that something lacks to asking for it; doubles from one time to the next, up to the most. Milliseconds. */
const ASK_AFTER_MS = 1_000;
const ASK_AFTER_MAX_MS = 64_000;

export class PublishRounds {
  readonly origin: number;
  readonly #peers = new Map<number, PeerRounds>();
  /** The last round of each node of which anything may be held here: parts of a round come before its end, and by way of others. By node. */
  readonly #seen = new Map<number, VectorClockEntry>();
  readonly #nodeId: number;
  #round = 1;
  #isOpen = false;

  constructor({ nodeId, incarnation }: RoundsIdentity) {
    this.#nodeId = nodeId;
    this.origin = originOf(nodeId, incarnation);
  }

  /** Something is published now. Returns the round that it belongs to. */
  publish(): number {
    this.#isOpen = true;
    return this.#round;
  }

  /** The tick ends. Returns the last round that is over. */
  close(): number {
    if (this.#isOpen) this.#round += 1;
    this.#isOpen = false;
    return this.#round - 1;
  }

  peerUp(peer: number, elapsedMs: number): void {
    this.#of(peer, elapsedMs).isUp = true;
  }

  peerDown(peer: number, elapsedMs: number): void {
    const known = this.#of(peer, elapsedMs);
    known.isUp = false;
    known.sinceMs = elapsedMs;
  }

  forget(peer: number): void {
    this.#peers.delete(peer);
    this.#seen.delete(peer);
  }

  /** A delta was taken. `isWhole`: every delta since the one that it names has come. `refused`: values of it found no room. */
  heard(peer: number, { incarnation, number, throughRound, wholeFrom, seen }: EventualDelta, isWhole: boolean, refused: boolean, elapsedMs: number): void {
    if (incarnation === 0) return;
    for (const entry of seen) this.#sees(entry);
    if (throughRound > 0) this.#sees({ origin: originOf(peer, incarnation), sequence: throughRound });
    const known = this.#of(peer, elapsedMs);
    if (known.incarnation !== incarnation) {
      known.incarnation = incarnation;
      known.known = 0;
      known.sinceMs = elapsedMs;
      known.refusedNumber = 0;
    }
    // Numbers begin anew with every way.
    if (number <= known.refusedNumber) known.refusedNumber = 0;
    if (refused) known.refusedNumber = number;
    const hasAll = isWhole && known.refusedNumber < Math.max(wholeFrom, 1);
    if (throughRound > known.known && hasAll) known.known = throughRound;
    if (hasAll) known.askEveryMs = ASK_AFTER_MS;
    else if (!known.isLacking) known.askAtMs = elapsedMs + known.askEveryMs;
    known.isLacking = !hasAll;
  }

  /** Whether the peer is asked now to send again what this node lacks. */
  asks(peer: number, elapsedMs: number): boolean {
    const known = this.#peers.get(peer);
    if (known?.isLacking !== true || elapsedMs < known.askAtMs) return false;
    known.askEveryMs = Math.min(known.askEveryMs * 2, ASK_AFTER_MAX_MS);
    known.askAtMs = elapsedMs + known.askEveryMs;
    return true;
  }

  /** What a delta to a peer says of what is known of it. */
  say(peer: number, delta: EventualDelta): void {
    const known = this.#peers.get(peer);
    delta.knownIncarnation = known?.incarnation ?? 0;
    delta.knownRounds = (known?.known ?? 0) + 1;
    if (delta.values.length + delta.unchanged.length > 0) delta.seen = this.frontier();
  }

  /** What may have been seen here of each node's publishes, this one's included. */
  frontier(): VectorClockEntry[] {
    const own = { origin: this.origin, sequence: this.#isOpen ? this.#round : this.#round - 1 };
    return [own, ...this.#seen.values()].filter(({ sequence }) => sequence > 0).sort((a, b) => a.origin - b.origin);
  }

  /** Whether this node holds all that the entries name. `isEvicted`: the node is a member no more. */
  covers(entries: readonly VectorClockEntry[], elapsedMs: number, isEvicted: (nodeId: number) => boolean): boolean {
    return entries.every(({ origin, sequence }) => this.#covers(origin, sequence, elapsedMs, isEvicted));
  }

  #covers(origin: number, sequence: number, elapsedMs: number, isEvicted: (nodeId: number) => boolean): boolean {
    const node = nodeOfOrigin(origin);
    if (origin === this.origin) return sequence <= this.#round;
    const isLate = (sinceMs: number): boolean => elapsedMs - sinceMs >= GONE_AFTER_MS;
    // Of an earlier start of this node it holds what the others gave back.
    if (node === this.#nodeId || isEvicted(node)) return isLate(0);
    const known = this.#peers.get(node);
    if (known === undefined) return isLate(0);
    if (known.incarnation !== 0 && origin === originOf(node, known.incarnation)) return known.known >= sequence || (!known.isUp && isLate(known.sinceMs));
    return isLate(known.sinceMs);
  }

  /** The entries of both: of each node the newest start, and the highest round. */
  after(entries: readonly VectorClockEntry[], frontier: readonly VectorClockEntry[]): VectorClockEntry[] {
    const newest = new Map<number, VectorClockEntry>();
    for (const entry of [...entries, ...frontier]) {
      const before = newest.get(nodeOfOrigin(entry.origin));
      if (before === undefined || entry.origin > before.origin || (entry.origin === before.origin && entry.sequence > before.sequence)) newest.set(nodeOfOrigin(entry.origin), entry);
    }
    return [...newest.values()].sort((a, b) => a.origin - b.origin);
  }

  /** Of a node's starts the newest counts: what is left of an earlier one has been exchanged by the time that it would matter. */
  #sees(entry: VectorClockEntry): void {
    const node = nodeOfOrigin(entry.origin);
    const before = this.#seen.get(node);
    if (node === this.#nodeId || !isOrigin(entry.origin)) return;
    if (before === undefined || entry.origin > before.origin || (entry.origin === before.origin && entry.sequence > before.sequence)) this.#seen.set(node, entry);
  }

  #of(peer: number, elapsedMs: number): PeerRounds {
    let known = this.#peers.get(peer);
    if (known === undefined) this.#peers.set(peer, (known = { incarnation: 0, known: 0, sinceMs: elapsedMs, isUp: false, refusedNumber: 0, isLacking: false, askAtMs: 0, askEveryMs: ASK_AFTER_MS }));
    return known;
  }
}
