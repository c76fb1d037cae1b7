// Eventual state: last-write-wins registers on every node. A publish changes this node and returns; ticks carry
// the latest value of each changed key to the peers; digests of regions find and repair whatever got lost.
import { type HybridClock } from "@statemesh/clocks";
import { type EventualDelta, type EventualUpdate, type EventualValue, type HybridTimestamp, MeshError, type Region, type VectorClockEntry } from "@statemesh/contract";
import { nodeOfOrigin } from "../causal/origin.ts";
import { AntiEntropy } from "./anti-entropy.ts";
import { ElapsedTime } from "./elapsed-time.ts";
import { compareWrites } from "./last-write-wins.ts";
import { DEFAULT_EVENTUAL_LIMITS, type EventualLimits } from "./limits.ts";
import { PublishRounds } from "./publish-rounds.ts";
import { registersOf } from "./region-sketch.ts";
import { type Register, RegisterTable } from "./register-table.ts";
import { type InterestPort, type PeerDelta, Spreading } from "./spreading.ts";
import { type PublishPolicy, validateUpdates } from "./validate-update.ts";

/** What became of published updates. */
export interface PublishCounts {
  /** Updates that took effect. */
  readonly updates: number;
  /** Updates older than what the node holds. */
  readonly staleUpdates: number;
}

/** Hears of every write that takes effect, once; also of a deletion of a key that was not there: a reader may know it from another node. */
export interface EventualListener {
  /** `register` stands for the key, by identity, until `forgotten` names it. The value is never changed afterwards. */
  changed(value: EventualValue, register: object): void;
  /** The key's tombstone was collected. */
  forgotten(register: object, region: Region): void;
}

/** Counters since the start, and what is held now. */
export interface EventualStatistics {
  registers: number;
  tombstones: number;
  regions: number;
  bytes: number;
  published: number;
  stale: number;
  received: number;
  receivedStale: number;
  /** Values of peers refused: malformed, stamped too far ahead, no room. */
  refused: number;
  /** Keys left to digest repair because a peer's backlog was full. */
  overflowed: number;
  /** Regions that differed: asked for, and answered. */
  repairsAsked: number;
  repairsAnswered: number;
  /** Bytes of values that went to peers, about; and that did not, because nobody there read them before there was a later one. */
  sentBytes: number;
  sparedBytes: number;
  /** Values that were deleted elsewhere while this node was away for longer than tombstones are kept. */
  buried: number;
}

/** What the others know a node by, and understand. */
export interface EventualIdentity {
  readonly nodeId: number;
  /** A number of this start of the node, 1..2^32-1, greater with every start. */
  readonly incarnation: number;
  /** Whether every member reads sketches of regions: cluster version 3. */
  readonly inParts: () => boolean;
}

const EMPTY = new Uint8Array(0);

/** The eventual state of one node. Pure: time is passed in, deltas come out. */
export class EventualStore {
  readonly limits: EventualLimits;
  readonly #table: RegisterTable;
  readonly #counters = { published: 0, stale: 0, received: 0, receivedStale: 0, refused: 0 };
  readonly #repair: AntiEntropy;
  readonly #identity: EventualIdentity;
  readonly #rounds: PublishRounds;
  readonly #interest: InterestPort | undefined;
  readonly #spreading: Spreading;
  #listener: EventualListener | undefined;
  #behind: ((value: EventualValue, register: object) => void) | undefined;
  // Intervals are counted in ticks' time: the wall clock may jump.
  readonly #elapsed = new ElapsedTime();
  // The wall clock at the last event.
  #nowMs = 0;

  constructor(limits: Partial<EventualLimits> = {}, identity: EventualIdentity = { nodeId: 1, incarnation: 1, inParts: () => true }, interest?: InterestPort) {
    this.limits = { ...DEFAULT_EVENTUAL_LIMITS, ...limits };
    this.#identity = identity;
    this.#interest = interest;
    this.#rounds = new PublishRounds(identity);
    this.#table = new RegisterTable(this.limits.maxRegisters, this.limits.maxBytes);
    this.#repair = new AntiEntropy({ table: this.#table, limits: this.limits, inParts: identity.inParts, bury: (register) => this.#bury(register) });
    this.#spreading = new Spreading({ limits: this.limits, table: this.#table, repair: this.#repair, rounds: this.#rounds, interest, incarnation: identity.incarnation, inParts: identity.inParts });
  }

  /** Registers held, tombstones included. */
  get size(): number {
    return this.#table.registers;
  }

  /** One listener: the subscription hub. */
  listen(listener: EventualListener): void {
    this.#listener = listener;
  }

  /** Digests are compared with peers only while this holds: a node that starts first takes what the region store has. */
  compareOnce(isFilled: () => boolean): void {
    this.#repair.isFilling = () => !isFilled();
  }

  /** A peer can be reached: it gets changes from now on, and digests of everything. */
  peerUp(peer: number): void {
    if (!this.#spreading.peerUp(peer)) return;
    this.#repair.wayOpened(peer);
    this.#rounds.peerUp(peer, this.#elapsed.ms);
  }

  /** A peer can't be reached: what waits for it is dropped, digests make up for it later. */
  peerDown(peer: number): void {
    if (this.#spreading.peerDown(peer)) this.#rounds.peerDown(peer, this.#elapsed.ms);
  }

  /** A node that is no member any more. */
  forget(peer: number): void {
    this.peerDown(peer);
    this.#repair.forget(peer);
    this.#rounds.forget(peer);
  }

  /** Throws what `publish` would throw, and changes nothing. */
  admit(updates: readonly EventualUpdate[], serverId: number, nowMs: number, policy: PublishPolicy): void {
    validateUpdates(updates, serverId, nowMs, policy, this.limits);
    this.#reserve(updates);
  }

  /**
   * Takes updates of a server. All are checked before any is applied.
   * Throws INVALID_FIELD, UNKNOWN_TYPE, TIMESTAMP_IN_FUTURE, and OVERLOADED where new keys find no room.
   */
  publish(updates: readonly EventualUpdate[], serverId: number, nowMs: number, clock: HybridClock, policy: PublishPolicy): PublishCounts {
    this.admit(updates, serverId, nowMs, policy);
    // The last write wins, so that back-dating buys nothing; moved up, a write that comes late would win over what was written after it.
    const edgeMs = nowMs - this.limits.tombstoneHorizonMs / 2;
    let taken = 0;
    for (let i = 0; i < updates.length; i += 1) {
      const update = updates[i] as EventualUpdate;
      // What was deleted since may be forgotten already, or before this reaches every node.
      if (update.timestampMs !== 0 && update.timestampMs < edgeMs) continue;
      const region = update.region as Region;
      const stamp =
        update.timestampMs === 0
          ? this.#stampAfterHeld(update, clock.now(nowMs))
          : // Updates of one request that claim the same millisecond follow each other.
            { physicalMs: update.timestampMs, logical: i };
      const value: EventualValue = {
        type: update.type,
        region,
        key: update.key,
        value: update.deleted ? EMPTY : update.value,
        deleted: update.deleted,
        serverId,
        stamp,
      };
      if (!this.#apply(value, nowMs)) continue;
      taken += 1;
      const register = this.#table.lastRegister as Register;
      register.round = this.#rounds.publish();
      this.#spreading.published(register);
    }
    const staleUpdates = updates.length - taken;
    this.#counters.published += taken;
    this.#counters.stale += staleUpdates;
    return { updates: taken, staleUpdates };
  }

  /** Takes what the region store has. */
  restore(values: readonly EventualValue[], nowMs: number): void {
    this.#nowMs = nowMs;
    for (const value of values) if (this.#wellFormed(value, nowMs)) this.#apply(value, nowMs);
  }

  /** A second listener of the same writes: who writes them to the region store. */
  listenBehind(changed: (value: EventualValue, register: object) => void): void {
    this.#behind = changed;
  }

  /** Everything that is held of regions, deletions included; goes on over changes made meanwhile. */
  *valuesWhere(wants: (region: Region) => boolean): Generator<{ readonly value: EventualValue; readonly register: object }, void> {
    for (const home of this.#table.regions.filter(({ region }) => wants(region))) {
      for (const register of registersOf(home)) yield { value: register.value, register };
    }
  }

  /** Takes a peer's delta: values that win, digests to compare, regions that it wants. */
  onDelta(from: number, delta: EventualDelta, nowMs: number, clock: HybridClock): void {
    let latest: HybridTimestamp | undefined;
    this.#nowMs = nowMs;
    this.#repair.heard(from, delta);
    let hasRoom = true;
    const take = (value: EventualValue): void => {
      if (!this.#wellFormed(value, nowMs)) {
        this.#counters.refused += 1;
        this.#namedAllTheSame(from, value);
        return;
      }
      const stamp = value.stamp as HybridTimestamp;
      if (latest === undefined || stamp.physicalMs > latest.physicalMs || (stamp.physicalMs === latest.physicalMs && stamp.logical > latest.logical)) {
        latest = stamp;
      }
      if (value.deleted && value.value.length > 0) value.value = EMPTY;
      const refusedBefore = this.#counters.refused;
      if (this.#apply(value, nowMs)) this.#counters.received += 1;
      else this.#counters.receivedStale += 1;
      if (this.#counters.refused > refusedBefore) hasRoom = false;
      const register = this.#table.lastRegister;
      if (register === undefined) return;
      this.#repair.named(from, register);
      // The peer has not heard that it is deleted.
      if (register.buriedMs !== 0 && !value.deleted) this.#spreading.outboxOf(from)?.push([register]);
    };
    for (const value of delta.values) take(value);
    // Who does not hold the key has deleted it since it had the value.
    for (const value of delta.unchanged) if (value.region !== undefined && this.#table.find(value.type, value.region, value.key) !== undefined) take(value);
    // Writes that this node stamps from now on follow what it has just seen.
    if (latest !== undefined) clock.observe(latest, nowMs);
    this.#rounds.heard(from, delta, this.#repair.isWhole(from, delta), !hasRoom, this.#elapsed.ms);
    const outbox = this.#spreading.outboxOf(from);
    if (outbox === undefined) return;
    if (delta.interest !== undefined) outbox.hears(delta.interest);
    if (delta.hurry) this.#spreading.release(outbox);
    if (delta.knownRounds > 0) {
      const known = delta.knownIncarnation === this.#identity.incarnation ? delta.knownRounds - 1 : 0;
      if (delta.asksAgain) outbox.sendAgain(known, (round) => this.#spreading.publishedSince(round));
      outbox.says(known, (round) => this.#spreading.publishedSince(round));
    }
    for (const answered of delta.answered) this.#repair.finish(from, answered);
    for (const digest of delta.digests) this.#repair.compare(from, outbox, digest, this.#elapsed.ms);
    for (const region of delta.wanted) this.#repair.answerWhole(outbox, region);
    for (const sketch of delta.sketches) this.#repair.answer(from, outbox, sketch);
  }

  /** A value that is not taken, such as one from far ahead of this node's clock, says still that the peer has the key. */
  #namedAllTheSame(from: number, { type, region, key }: EventualValue): void {
    const held = region === undefined ? undefined : this.#table.find(type, region, key);
    if (held !== undefined) this.#repair.named(from, held);
  }

  /** `run` hears when something is to go before the next tick, such as what is read on another node: once, until `spread` or `tick`. */
  listenUrgent(run: () => void): void {
    this.#spreading.onUrgent = run;
  }

  /** Between two ticks: what was published goes to the peers, at most one delta a peer, within what is left of the tick's limits. */
  spread(nowMs: number, writable: (peer: number) => boolean = () => true): PeerDelta[] {
    this.#nowMs = nowMs;
    return this.#spreading.send(this.#elapsed.advance(nowMs), false, writable);
  }

  /**
   * What goes to each peer now, at most one delta a peer: also what they asked for, and digests. A peer for which `writable` is false gets
   * nothing; its keys wait, the latest value each.
   */
  tick(nowMs: number, writable: (peer: number) => boolean = () => true): PeerDelta[] {
    this.#nowMs = nowMs;
    this.#repair.tick();
    const deltas = this.#spreading.send(this.#elapsed.advance(nowMs), true, writable);
    this.#table.collect(nowMs - this.limits.tombstoneHorizonMs, 4_096, (register) => this.#forget(register));
    return deltas;
  }

  /** What this node holds of what was published at each node, for a session's token. Empty while not every member says so. */
  frontier(): VectorClockEntry[] {
    return this.#identity.inParts() ? this.#rounds.frontier() : [];
  }

  /** A session's entries once it has seen what this node holds: one a node, of its newest start. */
  sessionAfter(entries: readonly VectorClockEntry[]): VectorClockEntry[] {
    return this.#rounds.after(entries, this.frontier());
  }

  /** Whether this node holds all that a session's token names; what it lacks it asks for. `isEvicted`: the node is a member no more. */
  covers(entries: readonly VectorClockEntry[], isEvicted: (nodeId: number) => boolean): boolean {
    const lacking = entries.filter((entry) => !this.#rounds.covers([entry], this.#elapsed.ms, isEvicted));
    for (const { origin } of lacking) this.#spreading.hurry(nodeOfOrigin(origin));
    return lacking.length === 0;
  }

  /** The live value of a key. */
  get(type: string, region: Region, key: string): EventualValue | undefined {
    const value = this.#table.find(type, region, key)?.value;
    return value === undefined || value.deleted ? undefined : value;
  }

  /** The same as `valuesOf`, for somebody who may read the region again: from now on it is a tick behind at most. */
  read(region: Region): EventualValue[] {
    this.#interest?.own.read(region);
    return this.valuesOf(region);
  }

  /** Live values of a region, at most `limit`; with `tombstones` also what was deleted within the horizon. */
  valuesOf(region: Region, limit: number = Number.POSITIVE_INFINITY, tombstones = false): EventualValue[] {
    const values: EventualValue[] = [];
    const home = this.#table.regionOf(region);
    if (home === undefined) return values;
    for (const { value } of registersOf(home)) {
      if (values.length >= limit) break;
      if (tombstones || !value.deleted) values.push(value);
    }
    return values;
  }

  /** Equal on all nodes once they hold the same registers of the region, tombstones included. */
  digestOf(region: Region): { digest: number; count: number } {
    const digest = this.#table.regionOf(region)?.digest;
    return { digest: digest?.digest ?? 0, count: digest?.count ?? 0 };
  }

  /** Regions that hold anything. */
  *regions(): Generator<Region, void> {
    for (const home of this.#table.regions) if (home.held > 0) yield home.region;
  }

  statistics(): EventualStatistics {
    const { registers, tombstones, bytes } = this.#table;
    return { ...this.#counters, ...this.#repair.counters, ...this.#spreading.counters, registers, tombstones, bytes, regions: this.#table.regions.length };
  }

  /** Applies a write; true where it took effect. */
  #apply(value: EventualValue, nowMs: number): boolean {
    if (value.deleted && this.#isPast(value, nowMs)) {
      const held = this.#table.find(value.type, value.region as Region, value.key);
      this.#table.lastRegister = held;
      // Of a key that is not held it is collected already, or would be at once.
      if (held === undefined || compareWrites(value, held.value) <= 0) return false;
      if (!held.value.deleted) {
        this.#bury(held, value);
        return true;
      }
    }
    const result = this.#table.write(value, this.#elapsed.ms);
    if (result === "full") this.#counters.refused += 1;
    if (result !== "applied") return false;
    this.#tell(this.#table.lastRegister as Register);
    return true;
  }

  /** A write that this node stamps is later than what it holds, also where a peer's clock runs ahead of ours. */
  #stampAfterHeld(update: EventualUpdate, reading: HybridTimestamp): HybridTimestamp {
    const held = this.#table.find(update.type, update.region as Region, update.key)?.value.stamp;
    if (held === undefined || held.physicalMs < reading.physicalMs) return reading;
    if (held.physicalMs === reading.physicalMs && held.logical < reading.logical) return reading;
    return held.logical < 0xffff_ffff ? { physicalMs: held.physicalMs, logical: held.logical + 1 } : { physicalMs: held.physicalMs + 1, logical: 0 };
  }

  /** Refuses a publish whose new keys may find no room, before any of it is applied. */
  #reserve(updates: readonly EventualUpdate[]): void {
    let bytes = 0;
    for (const update of updates) bytes += update.value.length + update.key.length + 400;
    if (this.#table.registers + updates.length <= this.limits.maxRegisters && this.#table.bytes + bytes <= this.limits.maxBytes) return;
    for (const update of updates) {
      if (this.#table.find(update.type, update.region as Region, update.key) !== undefined) continue;
      throw new MeshError("OVERLOADED", `this node holds ${this.#table.registers} eventual keys, about all it may`, {
        retryDelayMs: this.limits.retryDelayMs,
        metadata: { limit: "eventual_keys", max_registers: String(this.limits.maxRegisters), max_bytes: String(this.limits.maxBytes) },
      });
    }
  }

  #wellFormed(value: EventualValue, nowMs: number): boolean {
    const { stamp, region } = value;
    return (
      stamp !== undefined &&
      region !== undefined &&
      value.serverId >= 1 &&
      value.key.length >= 1 &&
      value.key.length <= this.limits.maxKeyBytes &&
      value.value.length <= this.limits.maxValueBytes &&
      stamp.physicalMs >= 0 &&
      stamp.physicalMs <= nowMs + this.limits.maxPeerOffsetMs
    );
  }

  #isPast(value: EventualValue, nowMs: number): boolean {
    return (value.stamp as HybridTimestamp).physicalMs < nowMs - this.limits.tombstoneHorizonMs;
  }

  /** A live value was deleted so long ago that its tombstone is gone elsewhere. `deletion`: the write that did, where it is known. */
  #bury(register: Register, deletion: EventualValue = { ...register.value, value: EMPTY, deleted: true }): void {
    this.#table.bury(register, deletion, this.#nowMs, this.#elapsed.ms);
    this.#tell(register);
  }

  #tell(register: Register): void {
    this.#listener?.changed(register.value, register);
    this.#behind?.(register.value, register);
  }

  #forget(register: Register): void {
    this.#listener?.forgotten(register, register.home.region);
  }
}
