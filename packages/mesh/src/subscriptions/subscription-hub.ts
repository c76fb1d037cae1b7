// Subscriptions: a snapshot, then every change, in order, without a gap or a repeat. Changes are pushed in as they
// happen; the service pulls messages out whenever a stream can be written. Nothing here waits without a bound.
import { merge, sequenceOf } from "@statemesh/clocks";
import {
  type DeliveredEvent, type Entity, type EntityChange, type EventualValue, MeshError, type Region, type SubscribeResponse, type SubscriptionArea,
  type SubscriptionChanges, type SubscriptionMoved, type SubscriptionSnapshot, type VectorClock, type VectorClockEntry,
} from "@statemesh/contract";
import { ChangeRing, isPassed, type PlacedChange } from "./change-ring.ts";
import { Crowds } from "./crowd.ts";
import type { SubscriptionHubOptions, SubscriptionRequest, SubscriptionStatistics } from "./hub-options.ts";
import { DEFAULT_SUBSCRIPTION_LIMITS, type SubscriptionLimits } from "./limits.ts";
import { takeAgain, takeChanges, takeEvents, takeParts, takeValues } from "./message-parts.ts";
import { RegionFeeds } from "./region-feeds.ts";
import { decodeResumeToken, hashOfCluster, type ResumePoint } from "./resume-token.ts";
import { validateRequest } from "./request.ts";
import { missedSince } from "./resuming.ts";
import { areaOf, distinctRegions, regionsOfArea, scopeOf, setOfRegions, without } from "./scope.ts";
import { hasNoParts, isCaughtUp, newSubscriber, NOWHERE, type Subscriber } from "./subscriber.ts";
import { TokenWriter } from "./token-writer.ts";
import { ValueRounds } from "./value-rounds.ts";

/** Tokens of areas say nothing about fixed regions, nor those about areas. */
const AREA_SCOPE = 0x5bd1e995;

/** The subscriptions of one node. Pure: changes in, messages out. */
export class SubscriptionHub {
  readonly limits: SubscriptionLimits;
  readonly #options: SubscriptionHubOptions;
  readonly #cluster: number;
  readonly #subscribers = new Map<number, Subscriber>();
  readonly #feeds: RegionFeeds;
  readonly #rings = new Map<number, ChangeRing>();
  readonly #counters = { lagged: 0, snapshots: 0, resumed: 0, moved: 0 };
  // Lagging subscribers that found no room for a snapshot.
  readonly #waiting = new Set<Subscriber>();
  readonly #rounds: ValueRounds;
  readonly #crowds = new Crowds();
  readonly #tokens: TokenWriter;
  // Subscribers that move once this node stands where they do.
  readonly #ahead = new Set<Subscriber>();
  #nextId = 1;
  #changeNumber = 0;
  #snapshotItems = 0;
  #frontier: VectorClock | undefined;

  constructor(options: SubscriptionHubOptions) {
    this.#options = options;
    this.limits = { ...DEFAULT_SUBSCRIPTION_LIMITS, ...options.limits };
    this.#cluster = hashOfCluster(options.clusterId);
    this.#rounds = new ValueRounds(options.monotonicMs);
    this.#feeds = new RegionFeeds(options.interest);
    this.#tokens = new TokenWriter({ cluster: this.#cluster, nowMs: options.nowMs, ringOf: (groupId) => this.#ringOf(groupId), causalFrontier: () => this.#causalFrontier() });
  }

  /**
   * Adds a reader, which stands at the state of this moment or where its token says. Returns its id.
   * Throws INVALID_FIELD, INVALID_RESUME_TOKEN, and OVERLOADED at the limit of subscribers or snapshots.
   */
  subscribe(request: SubscriptionRequest): number {
    const { area, wishes } = validateRequest(request, this.limits);
    const wanted = area === undefined ? distinctRegions(request.regions, this.limits.maxRegions) : regionsOfArea(area, []);
    const point = request.resumeToken === "" ? undefined : decodeResumeToken(request.resumeToken, this.#cluster, this.limits.maxTokenLength);
    if (this.#subscribers.size >= this.limits.maxSubscribers) throw this.#overloaded(`at most ${this.limits.maxSubscribers} subscribers a node`);
    this.#checkRoom(Math.max(wanted.length, point?.regions?.length ?? 0));
    const scope = area === undefined ? scopeOf(wanted, wishes.hash) : scopeOf([], wishes.hash ^ AREA_SCOPE);
    const subscriber = newSubscriber({ id: this.#nextId, wishes, area, scope, intervalMs: request.eventualIntervalMs ?? 0, clock: point?.causal ?? this.#causalFrontier() });
    if (point !== undefined) this.#read(subscriber, point.regions ?? wanted);
    if (point !== undefined && this.#resume(subscriber, point)) {
      this.#counters.resumed += 1;
      subscriber.partial = point.partial;
    } else {
      this.#read(subscriber, wanted);
      subscriber.events.clear();
      subscriber.dropped = this.#queueEventsSince(subscriber);
      if (subscriber.dropped > 0) subscriber.phase = "lagged";
      else if (!this.#takeSnapshot(subscriber)) throw this.#overloaded("too many snapshots wait for slow readers");
    }
    this.#nextId += 1;
    this.#subscribers.set(subscriber.id, subscriber);
    if (area === undefined) this.#enterCrowd(subscriber);
    for (const region of subscriber.regions) this.#feeds.join(subscriber, region, this.#changeNumber);
    subscriber.readThrough = this.#changeNumber;
    this.#turnTo(subscriber);
    if (this.#hasNews(subscriber)) this.#signal(subscriber);
    return subscriber.id;
  }

  /**
   * Moves the area of a reader; an unknown id is ignored: its stream may have ended. It hears of it once it has read what came before; of
   * several moves until then the last counts, and only that is worked out. Throws INVALID_FIELD.
   */
  move(id: number, to: SubscriptionArea): void {
    const area = areaOf(to, "move");
    const subscriber = this.#subscribers.get(id);
    if (subscriber === undefined) return;
    if (subscriber.area === undefined) throw MeshError.field("move", "only a subscription that began with an area moves");
    subscriber.area = area;
    subscriber.isTurned = true;
    this.#signal(subscriber);
  }

  /**
   * Where this node's groups must stand so that a reader does not go back behind its token: a snapshot of a node that is behind would be
   * older than what the reader has. Throws INVALID_FIELD and INVALID_RESUME_TOKEN.
   */
  aheadOf(request: SubscriptionRequest): { readonly groupId: number; readonly index: number }[] {
    if (request.resumeToken === "") return [];
    const { area } = validateRequest(request, this.limits);
    const point = decodeResumeToken(request.resumeToken, this.#cluster, this.limits.maxTokenLength);
    const told = point.regions ?? [];
    const regions = area === undefined ? distinctRegions(request.regions, this.limits.maxRegions) : told.length > 0 ? told : regionsOfArea(area, []);
    const groups = new Set(regions.map((region) => this.#options.groupOf(region)));
    return point.cursors.filter(({ groupId, index }) => groups.has(groupId) && index > this.#options.reader.positionOf(groupId).index).map(({ groupId, index }) => ({ groupId, index }));
  }

  /** Removes a reader; an unknown id is ignored: its stream may end twice. */
  unsubscribe(id: number): void {
    const subscriber = this.#subscribers.get(id);
    if (subscriber === undefined) return;
    this.#subscribers.delete(id);
    this.#waiting.delete(subscriber);
    this.#ahead.delete(subscriber);
    this.#rounds.forget(subscriber);
    this.#clear(subscriber);
    if (subscriber.crowd !== undefined) this.#crowds.leave(subscriber.crowd);
    for (const region of subscriber.regions) this.#feeds.leave(subscriber, region);
  }

  /** Time goes on: rounds of eventual values begin. */
  tick(): void {
    this.#rounds.tick((subscriber) => this.#signal(subscriber));
    for (const subscriber of this.#ahead) this.#signal(subscriber);
    this.#ahead.clear();
  }

  /**
   * Takes the changes of a log entry, in order of index within a group; indices may be left out, repeated ones are
   * ignored. An entity that moved to another region is two changes: removed where it was, then put where it is.
   */
  onStrongChange(groupId: number, index: number, term: number, changes: readonly EntityChange[]): void {
    let ring = this.#rings.get(groupId);
    if (ring === undefined) {
      ring = new ChangeRing(this.limits.maxRecentChanges, { index: index - 1, term });
      this.#rings.set(groupId, ring);
    }
    if (index <= ring.index) return;
    let ordinal = 0;
    for (const change of changes) {
      const placed: PlacedChange = { groupId, term, index, ordinal, change };
      ordinal += 1;
      ring.push(placed);
      const region = change.entity?.region;
      if (region === undefined) continue;
      const feed = this.#feeds.get(region);
      if (feed !== undefined) for (const subscriber of feed.strong) this.#queueChange(subscriber, placed);
    }
    ring.advance(index, term);
  }

  /**
   * The group's state was replaced (by a snapshot of its leader): its readers start again with a new snapshot. Who came from another node
   * and stands as far as the new state, or further, lacks nothing: a snapshot would take it back.
   */
  onGroupReplaced(groupId: number): void {
    const position = this.#options.reader.positionOf(groupId);
    this.#rings.set(groupId, new ChangeRing(this.limits.maxRecentChanges, position));
    for (const subscriber of this.#subscribers.values()) {
      if (!subscriber.groups.includes(groupId)) continue;
      const cursor = subscriber.cursors.get(groupId);
      const isAhead = cursor !== undefined && (cursor.index > position.index || (cursor.index === position.index && cursor.partial === 0));
      if (subscriber.phase !== "live" || !isAhead) this.#lag(subscriber, 0);
    }
  }

  /** A change of an eventual key. With `forgotten` this is an `EventualListener`. */
  changed(value: EventualValue, register: object): void {
    const feed = this.#feeds.get(value.region as Region);
    if (feed === undefined || feed.members.size === 0) return;
    this.#changeNumber += 1;
    feed.change(value, register, this.#changeNumber, (member) => {
      member.subscriber.dirty.push(member);
      this.#signal(member.subscriber);
    });
  }

  /** The tombstone of an eventual key was collected: who has not read the deletion by now starts again. */
  forgotten(register: object, region: Region): void {
    this.#feeds.get(region)?.forget(register, (member) => this.#lag(member.subscriber, 1));
  }

  /** A causal event was delivered on this node. */
  onCausal(event: DeliveredEvent): void {
    this.#frontier = undefined;
    const feed = this.#feeds.get(event.event?.region as Region);
    if (feed === undefined) return;
    const { origin, sequence } = event.id as VectorClockEntry;
    for (const subscriber of feed.causal) {
      if (!subscriber.wishes.wantsType(event.event?.type ?? "")) continue;
      if (sequenceOf(subscriber.clock, origin) >= sequence) continue;
      if (!this.#hasRoom(subscriber)) continue;
      subscriber.events.push(event);
      this.#signal(subscriber);
    }
  }

  /**
   * The subscriber's next message of about `maxBytes`, at least one item; undefined where there is nothing to read:
   * then `onReadable` tells when there is. Throws OVERLOADED where its area has come to reach more than there is room for.
   */
  next(id: number, maxBytes: number): SubscribeResponse | undefined {
    const subscriber = this.#subscribers.get(id);
    if (subscriber === undefined) return undefined;
    if (subscriber.isTurned) this.#turnTo(subscriber);
    if (subscriber.next !== undefined && isCaughtUp(subscriber) && !this.#isAhead(subscriber)) this.#startMove(subscriber);
    let response: SubscribeResponse | undefined;
    if (subscriber.phase === "lagged") response = this.#nextLagged(subscriber);
    else if (subscriber.phase === "snapshot") response = this.#nextSnapshot(subscriber, maxBytes);
    else if (subscriber.phase === "moving") response = this.#nextMoved(subscriber, maxBytes);
    else response = this.#nextChanges(subscriber, maxBytes);
    if (response === undefined) subscriber.signalled = false;
    return response;
  }

  statistics(): SubscriptionStatistics {
    return { ...this.#counters, subscribers: this.#subscribers.size, regions: this.#feeds.size, snapshotItems: this.#snapshotItems };
  }

  /** Who wants the same of the same regions has one list of them. */
  #enterCrowd(subscriber: Subscriber): void {
    const { scope, wishes, regions, groups } = subscriber;
    const crowd = this.#crowds.enter(scope, wishes, regions, () => groups);
    subscriber.crowd = crowd;
    subscriber.wishes = crowd.wishes;
    subscriber.regions = crowd.regions;
    subscriber.told = crowd.regions;
    subscriber.groups = crowd.groups;
  }

  /** From now on the reader reads these regions. */
  #read(subscriber: Subscriber, regions: readonly Region[]): void {
    subscriber.regions = regions;
    subscriber.told = regions;
    subscriber.groups = subscriber.wishes.strong ? [...new Set(regions.map((region) => this.#options.groupOf(region)))] : [];
    const groups = new Set(subscriber.groups);
    for (const groupId of subscriber.cursors.keys()) if (!groups.has(groupId)) subscriber.cursors.delete(groupId);
  }

  /** Looks what the area reaches: nothing, where that is what the reader reads. */
  #turnTo(subscriber: Subscriber): void {
    subscriber.isTurned = false;
    if (subscriber.area === undefined) return;
    const regions = regionsOfArea(subscriber.area, subscriber.regions);
    const isThere = regions.length === subscriber.regions.length && without(regions, subscriber.regions).length === 0;
    subscriber.next = isThere && subscriber.partial.length === 0 ? undefined : regions;
  }

  /** The reader goes over to the regions that its area reaches. Returns those that it leaves, and those that it enters. */
  #goOver(subscriber: Subscriber): { readonly left: readonly Region[]; readonly entered: readonly Region[] } {
    const regions = subscriber.next ?? subscriber.regions;
    this.#checkRoom(regions.length - subscriber.regions.length);
    const left = without(subscriber.regions, regions);
    const entered = without(regions, subscriber.regions);
    subscriber.next = undefined;
    for (const region of left) this.#feeds.leave(subscriber, region);
    this.#read(subscriber, regions);
    for (const region of entered) this.#feeds.join(subscriber, region, this.#changeNumber);
    subscriber.readThrough = NOWHERE;
    return { left, entered };
  }

  /** Throws OVERLOADED where so many more regions are too many. */
  #checkRoom(more: number): void {
    if (more > 0 && this.#feeds.joins + more > this.limits.maxReads) throw this.#overloaded(`all subscribers of a node together read at most ${this.limits.maxReads} regions`);
  }

  /** Whether the reader has seen more elsewhere than stands here: what it enters would be older. Then it moves a tick later, or two. */
  #isAhead(subscriber: Subscriber): boolean {
    for (const { groupId, index } of subscriber.cursors.values()) {
      if (index <= this.#options.reader.positionOf(groupId).index) continue;
      this.#ahead.add(subscriber);
      return true;
    }
    return false;
  }

  /** A reader that has read everything so far moves: what comes into reach stands at this moment, and changes from now on follow it. */
  #startMove(subscriber: Subscriber): void {
    const before = subscriber.regions;
    const { left, entered } = this.#goOver(subscriber);
    if (!this.#takeState(subscriber, entered)) return this.#lag(subscriber, 0);
    if (subscriber.wishes.causal) subscriber.clock = merge(subscriber.clock, this.#causalFrontier());
    subscriber.told = without(before, left);
    // What it has a part of from before is entered anew, or left.
    subscriber.moved = { entered, left: [...left, ...without(subscriber.partial, subscriber.regions)] };
    subscriber.partial = entered;
    subscriber.phase = "moving";
    this.#counters.moved += 1;
  }

  /** Puts the reader where its token says; false where that is no longer, or not for these regions, possible. */
  #resume(subscriber: Subscriber, point: ResumePoint): boolean {
    const { wishes, regions } = subscriber;
    if (point.scope !== subscriber.scope || regions.length === 0) return false;
    if (wishes.eventual && this.#options.nowMs() - point.issuedMs > this.limits.maxResumeAgeMs) return false;
    if (wishes.eventual && point.cursors.length === 0 && !wishes.strong) return false;
    const missed = missedSince(point, subscriber, (groupId) => this.#ringOf(groupId));
    if (missed === undefined) return false;
    if (this.#queueEventsSince(subscriber) > 0) return false;
    if (missed.length + subscriber.events.length > this.limits.maxQueued) return false;
    const values: EventualValue[] = [];
    // Which values it has is not known here: all are sent again, deletions too; a value is the same however often it comes.
    if (wishes.eventual) for (const region of regions) for (const value of this.#options.reader.valuesOf(region, true)) if (wishes.wantsType(value.type)) values.push(wishes.value(value));
    if (!this.#hasSnapshotRoom(values.length)) return false;
    for (const change of missed) subscriber.changes.push(change);
    for (const value of values) subscriber.values.push(value);
    this.#snapshotItems += values.length;
    return true;
  }

  /** Takes the state of this moment; false where there is no room. */
  #takeSnapshot(subscriber: Subscriber): boolean {
    if (!this.#takeState(subscriber, subscriber.regions)) return false;
    for (const member of subscriber.members) member.seen = this.#changeNumber;
    subscriber.readThrough = this.#changeNumber;
    subscriber.told = subscriber.regions;
    subscriber.partial = [];
    subscriber.phase = "snapshot";
    this.#counters.snapshots += 1;
    return true;
  }

  /** Puts what stands in regions into the reader's queues, and its cursors to this moment; false where there is no room. */
  #takeState(subscriber: Subscriber, regions: readonly Region[]): boolean {
    const { reader } = this.#options;
    const { wishes } = subscriber;
    const entities: Entity[] = [];
    const values: EventualValue[] = [];
    for (const region of regions) {
      if (wishes.strong) for (const entity of reader.entitiesOf(region)) if (wishes.wantsKind(entity.kind)) entities.push(wishes.entity(entity));
      if (wishes.eventual) for (const value of reader.valuesOf(region, false)) if (wishes.wantsType(value.type)) values.push(wishes.value(value));
    }
    if (!this.#hasSnapshotRoom(entities.length + values.length)) return false;
    this.#snapshotItems += entities.length + values.length;
    for (const entity of entities) subscriber.entities.push(entity);
    for (const value of values) subscriber.values.push(value);
    for (const groupId of subscriber.groups) {
      this.#ringOf(groupId);
      subscriber.cursors.set(groupId, { groupId, ...reader.positionOf(groupId), partial: 0 });
    }
    return true;
  }

  /** One snapshot always finds room, however large. */
  #hasSnapshotRoom(items: number): boolean {
    return this.#snapshotItems === 0 || this.#snapshotItems + items <= this.limits.maxSnapshotItems;
  }

  /** Queues kept causal events that the reader lacks. Returns how many it has lost. */
  #queueEventsSince(subscriber: Subscriber): number {
    const { wishes } = subscriber;
    if (!wishes.causal) return 0;
    const wanted = setOfRegions(subscriber.regions);
    const { events, lost } = this.#options.causal.since(subscriber.clock, ({ event }) => wanted.get(event?.region as Region) === true && wishes.wantsType(event?.type ?? ""));
    const tooMany = Math.max(0, events.length - (this.limits.maxQueued >> 1));
    for (let i = tooMany; i < events.length; i += 1) subscriber.events.push(events[i] as DeliveredEvent);
    return lost + tooMany;
  }

  #queueChange(subscriber: Subscriber, placed: PlacedChange): void {
    const cursor = subscriber.cursors.get(placed.groupId);
    if (cursor !== undefined && isPassed(placed, cursor.index, cursor.partial)) return;
    if (!subscriber.wishes.wantsKind(placed.change.entity?.kind ?? "")) return;
    if (!this.#hasRoom(subscriber)) return;
    subscriber.changes.push(placed);
    this.#signal(subscriber);
  }

  /** Whether one more may wait; where not, everything is dropped. */
  #hasRoom(subscriber: Subscriber): boolean {
    if (subscriber.phase === "lagged") {
      subscriber.dropped += 1;
      return false;
    }
    if (subscriber.changes.length + subscriber.events.length < this.limits.maxQueued) return true;
    this.#lag(subscriber, 1);
    return false;
  }

  #lag(subscriber: Subscriber, dropped: number): void {
    subscriber.dropped += subscriber.changes.length + subscriber.events.length + dropped;
    this.#clear(subscriber);
    if (subscriber.phase !== "lagged") this.#counters.lagged += 1;
    subscriber.phase = "lagged";
    this.#signal(subscriber);
  }

  /** Drops what waits for the reader. */
  #clear(subscriber: Subscriber): void {
    subscriber.changes.clear();
    subscriber.events.clear();
    this.#release(subscriber.entities.length + subscriber.values.length);
    subscriber.entities.clear();
    subscriber.values.clear();
    subscriber.moved = undefined;
  }

  #release(items: number): void {
    this.#snapshotItems -= items;
    if (items === 0 || this.#waiting.size === 0) return;
    for (const waiting of this.#waiting) this.#signal(waiting);
    this.#waiting.clear();
  }

  #nextLagged(subscriber: Subscriber): SubscribeResponse | undefined {
    if (subscriber.next !== undefined) this.#goOver(subscriber);
    if (!this.#takeSnapshot(subscriber)) {
      this.#waiting.add(subscriber);
      return undefined;
    }
    this.#waiting.delete(subscriber);
    subscriber.events.clear();
    // Kept causal events are not lost by being slow: they follow the snapshot.
    subscriber.dropped = Math.max(subscriber.dropped, this.#queueEventsSince(subscriber));
    const dropped = subscriber.dropped;
    subscriber.dropped = 0;
    return { event: { $case: "lagged", value: { dropped } }, resumeToken: this.#tokens.write(subscriber, false) };
  }

  #nextSnapshot(subscriber: Subscriber, maxBytes: number): SubscribeResponse {
    const part: SubscriptionSnapshot = { entities: [], values: [], complete: false, regions: [] };
    this.#release(takeParts(subscriber, part, maxBytes));
    part.complete = hasNoParts(subscriber);
    if (part.complete) {
      part.regions.push(...subscriber.regions);
      subscriber.phase = "live";
    }
    return { event: { $case: "snapshot", value: part }, resumeToken: this.#tokens.write(subscriber, part.complete) };
  }

  #nextMoved(subscriber: Subscriber, maxBytes: number): SubscribeResponse {
    const { entered = [], left = [] } = subscriber.moved ?? {};
    const part: SubscriptionMoved = { entered: [...entered], left: [...left], entities: [], values: [], complete: false };
    subscriber.moved = undefined;
    this.#release(takeParts(subscriber, part, maxBytes));
    part.complete = hasNoParts(subscriber);
    if (part.complete) {
      subscriber.told = subscriber.regions;
      subscriber.partial = [];
      subscriber.phase = "live";
    }
    return { event: { $case: "moved", value: part }, resumeToken: this.#tokens.write(subscriber, true) };
  }

  #nextChanges(subscriber: Subscriber, maxBytes: number): SubscribeResponse | undefined {
    const message: SubscriptionChanges = { entities: [], values: [], events: [] };
    let bytes = takeChanges(subscriber, message, maxBytes);
    bytes += takeEvents(subscriber, message, maxBytes - bytes);
    const again = takeAgain(subscriber, message, maxBytes - bytes);
    if (again.items > 0) this.#release(again.items);
    bytes += again.bytes;
    if (bytes < maxBytes && subscriber.dirty.length > 0 && this.#rounds.begins(subscriber, this.#changeNumber)) takeValues(subscriber, message, maxBytes - bytes);
    if (message.entities.length + message.values.length + message.events.length === 0) return undefined;
    return { event: { $case: "changes", value: message }, resumeToken: this.#tokens.write(subscriber, true) };
  }

  #hasNews(subscriber: Subscriber): boolean {
    return subscriber.phase !== "live" || subscriber.isTurned || subscriber.next !== undefined || subscriber.changes.length + subscriber.events.length + subscriber.values.length > 0;
  }

  #signal(subscriber: Subscriber): void {
    if (subscriber.signalled || !this.#subscribers.has(subscriber.id)) return;
    subscriber.signalled = true;
    this.#options.onReadable(subscriber.id);
  }

  #ringOf(groupId: number): ChangeRing {
    let ring = this.#rings.get(groupId);
    if (ring === undefined) {
      ring = new ChangeRing(this.limits.maxRecentChanges, this.#options.reader.positionOf(groupId));
      this.#rings.set(groupId, ring);
    }
    return ring;
  }

  #causalFrontier(): VectorClock {
    this.#frontier ??= this.#options.causal.frontier();
    return this.#frontier;
  }

  #overloaded(why: string): MeshError {
    return new MeshError("OVERLOADED", why, { retryDelayMs: this.limits.retryDelayMs });
  }
}
