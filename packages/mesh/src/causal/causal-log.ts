// Causal events: each node start is an origin that numbers its events; an event carries what it directly depends
// on; every node delivers causes before effects, pulls what it misses, and keeps the newest events for others.
import { emptyClock, toEntries } from "@statemesh/clocks";
import { type CausalBatch, type CausalEvent, type DeliveredEvent, MeshError, type VectorClock, type VectorClockEntry } from "@statemesh/contract";
import { ElapsedTime } from "../eventual/elapsed-time.ts";
import type { PublishPolicy } from "../eventual/validate-update.ts";
import { CausalPeer } from "./causal-peer.ts";
import { CausalDelivery } from "./delivery.ts";
import { type CausalLimits, DEFAULT_CAUSAL_LIMITS } from "./limits.ts";
import type { OriginLog } from "./origin-log.ts";
import { originOf } from "./origin.ts";
import { pullMissing } from "./pull.ts";
import { type CausalMembers, StableCut } from "./stable-cut.ts";
import { isWellFormed, validateEvents, validateToken } from "./validate-event.ts";

export interface CausalLogOptions {
  /** 1..2^21-1. */
  readonly nodeId: number;
  /** 1..2^32-1, greater with every start of the node. */
  readonly incarnation: number;
  /** Default: whoever is connected takes part, and nobody is removed. */
  readonly members?: CausalMembers;
  readonly limits?: Partial<CausalLimits>;
}

/** One peer's share of a tick. */
export interface PeerBatch {
  readonly to: number;
  readonly batch: CausalBatch;
}

/** Counters since the start, and what is held now. */
export interface CausalStatistics {
  delivered: number;
  duplicates: number;
  refused: number;
  gaps: number;
  published: number;
  origins: number;
  pending: number;
  keptBytes: number;
}

/** The causal events of one node. Pure: time is passed in, batches and deliveries come out. */
export class CausalLog {
  readonly origin: number;
  readonly limits: CausalLimits;
  readonly #delivery: CausalDelivery;
  readonly #own: OriginLog;
  readonly #cut: StableCut;
  readonly #peers = new Map<number, CausalPeer>();
  #ticks = 0;
  readonly #elapsed = new ElapsedTime();
  #tickedThrough = 0;
  #frontierCursor = 0;

  constructor(options: CausalLogOptions) {
    this.limits = { ...DEFAULT_CAUSAL_LIMITS, ...options.limits };
    this.origin = originOf(options.nodeId, options.incarnation);
    this.#cut = new StableCut(options.members ?? { others: () => [...this.#peers.keys()], isEvicted: () => false });
    this.#delivery = new CausalDelivery(this.limits, this.#cut);
    this.#own = this.#delivery.open(this.origin) as OriginLog;
  }

  /** One listener hears every event once, causes first. It must not publish while it is called. */
  listen(listener: (event: DeliveredEvent) => void): void {
    this.#delivery.listener = listener;
  }

  /** One more, which hears the same after the first: what is written to the region store. */
  listenBehind(listener: (event: DeliveredEvent) => void): void {
    this.#delivery.behind = listener;
  }

  /** A peer can be reached: it gets this node's kept events, and is asked for what is missing. */
  peerUp(peer: number): void {
    if (!this.#peers.has(peer)) this.#peers.set(peer, new CausalPeer(this.#own.keptFrom - 1, this.limits));
  }

  peerDown(peer: number): void {
    this.#peers.delete(peer);
  }

  /** A node that is no member any more. */
  forget(peer: number): void {
    this.peerDown(peer);
    this.#cut.forget(peer);
  }

  /**
   * Numbers events of a server and delivers them here. They follow each other and everything that the token has seen.
   * Returns the token that stands for all of that: it replaces the caller's.
   * Throws INVALID_FIELD, UNKNOWN_TYPE, OVERLOADED, and TOKEN_AHEAD where the token is not covered here yet.
   */
  publish(events: readonly CausalEvent[], serverId: number, token: VectorClock | undefined, policy: PublishPolicy): VectorClock {
    const seen = token ?? emptyClock();
    this.validateToken(seen, "causal_token");
    if (events.length === 0) return this.collapse(seen);
    validateEvents(events, serverId, policy, this.limits);
    if (!this.covers(seen)) {
      throw new MeshError("TOKEN_AHEAD", "causal_token names events that this node does not have yet", { retryDelayMs: this.limits.retryDelayMs });
    }
    if (this.#own.delivered + events.length - this.#tickedThrough > this.limits.maxPublishedPerTick) {
      throw new MeshError("OVERLOADED", `at most ${this.limits.maxPublishedPerTick} events between two ticks`, { retryDelayMs: this.limits.retryDelayMs });
    }
    const { named, isCut } = this.#dependencies(seen.entries);
    let dependencies: VectorClock = { entries: named };
    for (const event of events) {
      const id = { origin: this.origin, sequence: this.#own.delivered + 1 };
      this.#delivery.accept({ event: { ...event }, serverId, id, dependencies });
      // The next of this request depends on this one, which its number says.
      dependencies = emptyClock();
    }
    return tokenOf([{ origin: this.origin, sequence: this.#own.delivered }], isCut || seen.collapsed === true);
  }

  /** Refuses a token that is not of the known form. */
  validateToken(token: VectorClock, path: string): void {
    validateToken(token, path, this.limits.maxTokenEntries);
  }

  /**
   * Whether this node has delivered everything that the token has seen: then a read here goes back behind none
   * of it. Events that are lost with their node, and that nobody reachable has, do not count.
   */
  covers(token: VectorClock): boolean {
    // It names no more what every member had. A node that has started since may not have it.
    if (token.collapsed === true && !this.isCaughtUp) return false;
    for (const { origin, sequence } of token.entries) {
      if (this.#delivery.delivered(origin) < sequence && !this.#isLost(origin, sequence)) return false;
    }
    return true;
  }

  /** Whether this node has delivered all that the others had when it started. */
  get isCaughtUp(): boolean {
    return this.#cut.isCaughtUp((origin) => this.#delivery.delivered(origin), this.#peers.keys());
  }

  /** How far every member has delivered an origin, as far as this node has heard. */
  stable(origin: number): number {
    return this.#cut.sequenceOf(origin, this.#delivery.delivered(origin));
  }

  /** A token that stands for the same with fewer entries: without what follows from others of them, and without what every member has. */
  collapse(token: VectorClock): VectorClock {
    const nearest = this.#nearest(token.entries, 0);
    if (nearest.length <= this.limits.maxDependencies) return tokenOf(nearest, token.collapsed === true);
    const entries = nearest.filter(({ origin, sequence }) => this.stable(origin) < sequence);
    return tokenOf(entries, token.collapsed === true || entries.length < nearest.length);
  }

  /** Every origin that this node knows of. */
  origins(): number[] {
    return [...this.#delivery.origins.keys()];
  }

  /** How far an origin was delivered here, and the first of its events that are kept; one past that where none is. */
  standingOf(origin: number): { readonly delivered: number; readonly keptFrom: number } {
    return this.#delivery.origins.get(origin) ?? { delivered: 0, keptFrom: 1 };
  }

  /** What this node has delivered. May have more entries than a session token. */
  frontier(): VectorClock {
    const sequences = new Map<number, number>();
    for (const [origin, log] of this.#delivery.origins) sequences.set(origin, log.delivered);
    return { entries: toEntries(sequences) };
  }

  /** Kept events after a clock that `wants` accepts, causes first, and how many after it are kept no more. */
  since(clock: VectorClock, wants: (event: DeliveredEvent) => boolean): { events: DeliveredEvent[]; lost: number } {
    return this.#delivery.since(clock, wants);
  }

  /** Takes a peer's batch. */
  onBatch(from: number, batch: CausalBatch): void {
    for (const event of batch.events) {
      if (isWellFormed(event, this.limits)) this.#delivery.accept(event);
      else this.#delivery.counters.refused += 1;
    }
    const peer = this.#peers.get(from);
    for (const { origin, sequence } of batch.frontier) {
      peer?.frontier.set(origin, sequence);
      const log = this.#delivery.open(origin);
      if (log !== undefined && sequence > log.known) log.known = sequence;
    }
    if (peer === undefined) return;
    if (batch.frontier.length > 0) {
      peer.heard = true;
      this.#cut.heard(from, batch.frontier);
    }
    for (const { origin, sequence } of batch.keptFrom) peer.keptFrom.set(origin, sequence);
    for (const range of batch.wanted) peer.ask(range);
  }

  /** What goes to each peer now, at most one batch a peer; nothing to one for which `writable` is false. */
  tick(nowMs: number, writable: (peer: number) => boolean = () => true): PeerBatch[] {
    this.#ticks += 1;
    this.#tickedThrough = this.#own.delivered;
    // From 1 on: 0 means never.
    const elapsedMs = this.#elapsed.advance(nowMs) + 1;
    const wanted = pullMissing(this.#delivery, this.#own, this.#peers, elapsedMs, this.limits);
    const frontier = this.#ticks % this.limits.frontierEveryTicks === 0 ? this.#nextFrontier() : [];
    const batches: PeerBatch[] = [];
    for (const [to, peer] of this.#peers) {
      if (!writable(to)) continue;
      const batch: CausalBatch = { events: [], frontier, wanted: wanted.get(to) ?? [], keptFrom: [] };
      this.#addOwn(peer, batch.events);
      peer.answer(this.#delivery.origins, batch.events, batch.keptFrom);
      if (batch.events.length + batch.frontier.length + batch.wanted.length + batch.keptFrom.length > 0) batches.push({ to, batch });
    }
    return batches;
  }

  statistics(): CausalStatistics {
    const { counters, pending, keptBytes, origins } = this.#delivery;
    return { ...counters, published: this.#own.delivered, origins: origins.size, pending, keptBytes };
  }

  /** What the next event here must name of a token. Throws OVERLOADED where that is too much, until more of it is stable. */
  #dependencies(entries: readonly VectorClockEntry[]): { named: VectorClockEntry[]; isCut: boolean } {
    const nearest = this.#nearest(entries, this.#own.delivered + 1);
    if (nearest.length <= this.limits.maxDependencies) return { named: nearest, isCut: false };
    const unstable = nearest.filter(({ origin, sequence }) => this.stable(origin) < sequence);
    if (unstable.length <= this.limits.maxDependencies) return { named: unstable, isCut: true };
    throw new MeshError("OVERLOADED", `an event can follow at most ${this.limits.maxDependencies} others that not every node has yet, and causal_token names ${unstable.length}`, {
      retryDelayMs: this.limits.retryDelayMs, metadata: { limit: "dependencies", max_dependencies: String(this.limits.maxDependencies) },
    });
  }

  /** Entries without those that others of them follow; with `next`, also without those that an own event of that number follows anyway. */
  #nearest(entries: readonly VectorClockEntry[], next: number): VectorClockEntry[] {
    const kept = entries.filter(
      ({ origin, sequence }) => next === 0 || (origin !== this.origin && !this.#own.hasSeen(next, origin, sequence) && this.#delivery.delivered(origin) >= sequence),
    );
    return kept
      .filter(({ origin, sequence }) => !kept.some((other) => other.origin !== origin && this.#delivery.delivered(other.origin) >= other.sequence && this.#delivery.origins.get(other.origin)?.hasSeen(other.sequence, origin, sequence) === true))
      .map((entry) => ({ ...entry }));
  }

  /** Lost: numbered by a start of a node that is over (or all of it was delivered, and it is forgotten), and all peers within reach have said that they do not have it. */
  #isLost(origin: number, sequence: number): boolean {
    if (this.#delivery.isForgotten(origin)) return true;
    if (!this.#delivery.isOver(origin)) return false;
    if ((this.#delivery.origins.get(origin)?.known ?? 0) >= sequence) return false;
    for (const peer of this.#peers.values()) if (!peer.heard) return false;
    return true;
  }

  #addOwn(peer: CausalPeer, events: DeliveredEvent[]): void {
    let bytes = this.limits.maxBytesPerTick;
    peer.sentThrough = Math.max(peer.sentThrough, this.#own.keptFrom - 1);
    while (peer.sentThrough < this.#own.delivered && events.length < this.limits.maxEventsPerTick && bytes > 0) {
      peer.sentThrough += 1;
      const event = this.#own.find(peer.sentThrough) as DeliveredEvent;
      events.push(event);
      bytes -= (event.event as CausalEvent).payload.length + 128;
    }
  }

  /** The next part of the frontier: own origin always (also before its first event, so that peers learn of this start). */
  #nextFrontier(): VectorClockEntry[] {
    const entries: VectorClockEntry[] = [{ origin: this.origin, sequence: this.#own.delivered }];
    const all = [...this.#delivery.origins.values()];
    const count = Math.min(all.length, this.limits.maxFrontier);
    for (let i = 0; i < count; i += 1) {
      this.#frontierCursor = (this.#frontierCursor + 1) % all.length;
      const log = all[this.#frontierCursor] as OriginLog;
      if (log !== this.#own) entries.push({ origin: log.origin, sequence: log.delivered });
    }
    return entries;
  }
}

/** The flag is said only where it is true: older nodes and callers never see it. */
function tokenOf(entries: VectorClockEntry[], isCollapsed: boolean): VectorClock {
  return isCollapsed ? { entries, collapsed: true } : { entries };
}
