// Subscriptions: a snapshot, then every change, in order, without a gap or a repeat. Changes are pushed in as they
// happen; the service pulls messages out whenever a stream can be written. Nothing here waits without a bound.
import { merge, sequenceOf } from "@statemesh/clocks";
import {
  type DeliveredEvent,
  type Entity,
  type EntityChange,
  type EventualValue,
  MeshError,
  type Region,
  type SubscribeResponse,
  type SubscriptionChanges,
  type SubscriptionSnapshot,
  type VectorClock,
  type VectorClockEntry,
} from "@statemesh/contract";
import { RegionMap } from "../eventual/region-map.ts";
import { ChangeRing, isPassed, type PlacedChange } from "./change-ring.ts";
import type { SubscriptionHubOptions, SubscriptionRequest, SubscriptionStatistics } from "./hub-options.ts";
import { DEFAULT_SUBSCRIPTION_LIMITS, type SubscriptionLimits } from "./limits.ts";
import { sizeOfDelivered, sizeOfEntity, sizeOfValue } from "./message-size.ts";
import { RegionFeed } from "./region-feed.ts";
import { decodeResumeToken, encodeResumeToken, type GroupCursor, hashOfCluster, type ResumePoint } from "./resume-token.ts";
import { distinctRegions, scopeOf } from "./scope.ts";
import { Queue, type Subscriber } from "./subscriber.ts";

/** The subscriptions of one node. Pure: changes in, messages out. */
export class SubscriptionHub {
  readonly limits: SubscriptionLimits;
  readonly #options: SubscriptionHubOptions;
  readonly #cluster: number;
  readonly #subscribers = new Map<number, Subscriber>();
  readonly #feeds = new RegionMap<RegionFeed>();
  readonly #rings = new Map<number, ChangeRing>();
  readonly #counters = { lagged: 0, snapshots: 0, resumed: 0 };
  // Lagging subscribers that found no room for a snapshot.
  readonly #waiting = new Set<Subscriber>();
  #nextId = 1;
  #changeNumber = 0;
  #snapshotItems = 0;
  #frontier: VectorClock | undefined;

  constructor(options: SubscriptionHubOptions) {
    this.#options = options;
    this.limits = { ...DEFAULT_SUBSCRIPTION_LIMITS, ...options.limits };
    this.#cluster = hashOfCluster(options.clusterId);
  }

  /**
   * Adds a reader, which stands at the state of this moment or where its token says. Returns its id.
   * Throws INVALID_FIELD, INVALID_RESUME_TOKEN, and OVERLOADED at the limit of subscribers or snapshots.
   */
  subscribe(request: SubscriptionRequest): number {
    const regions = distinctRegions(request.regions, this.limits.maxRegions);
    const point = request.resumeToken === "" ? undefined : decodeResumeToken(request.resumeToken, this.#cluster, this.limits.maxTokenLength);
    if (this.#subscribers.size >= this.limits.maxSubscribers) throw this.#overloaded(`at most ${this.limits.maxSubscribers} subscribers a node`);
    const all = !request.strong && !request.eventual && !request.causal;
    const [strong, eventual, causal] = [all || request.strong, all || request.eventual, all || request.causal];
    const subscriber: Subscriber = {
      id: this.#nextId,
      regions,
      strong,
      eventual,
      causal,
      scope: scopeOf(regions, strong, eventual, causal),
      groups: strong ? [...new Set(regions.map((region) => this.#options.groupOf(region)))] : [],
      phase: "live",
      cursors: new Map(),
      clock: point?.causal ?? this.#causalFrontier(),
      changes: new Queue(),
      events: new Queue(),
      dirty: [],
      members: [],
      entities: new Queue(),
      values: new Queue(),
      dropped: 0,
      signalled: false,
    };
    if (causal) subscriber.dropped = this.#queueEventsSince(subscriber);
    if (subscriber.dropped > 0) subscriber.phase = "lagged";
    else if (point !== undefined && this.#resume(subscriber, point)) this.#counters.resumed += 1;
    else if (!this.#takeSnapshot(subscriber)) throw this.#overloaded("too many snapshots wait for slow readers");
    this.#nextId += 1;
    this.#subscribers.set(subscriber.id, subscriber);
    this.#join(subscriber);
    if (this.#hasNews(subscriber)) this.#signal(subscriber);
    return subscriber.id;
  }

  /**
   * Where this node's groups must stand so that a reader does not go back behind its token: a snapshot of a node that is behind would be
   * older than what the reader has. Throws INVALID_FIELD and INVALID_RESUME_TOKEN.
   */
  aheadOf(request: SubscriptionRequest): { readonly groupId: number; readonly index: number }[] {
    if (request.resumeToken === "") return [];
    const regions = distinctRegions(request.regions, this.limits.maxRegions);
    const groups = new Set(regions.map((region) => this.#options.groupOf(region)));
    const { cursors } = decodeResumeToken(request.resumeToken, this.#cluster, this.limits.maxTokenLength);
    return cursors.filter(({ groupId, index }) => groups.has(groupId) && index > this.#options.reader.positionOf(groupId).index).map(({ groupId, index }) => ({ groupId, index }));
  }

  /** Removes a reader; an unknown id is ignored: its stream may end twice. */
  unsubscribe(id: number): void {
    const subscriber = this.#subscribers.get(id);
    if (subscriber === undefined) return;
    this.#subscribers.delete(id);
    this.#waiting.delete(subscriber);
    this.#clear(subscriber);
    for (const member of subscriber.members) member.feed.leave(member);
    for (const region of subscriber.regions) {
      const feed = this.#feeds.get(region);
      if (feed === undefined) continue;
      feed.strong.delete(subscriber);
      feed.causal.delete(subscriber);
      if (feed.isEmpty) this.#feeds.delete(region);
    }
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
      if (sequenceOf(subscriber.clock, origin) >= sequence) continue;
      if (!this.#hasRoom(subscriber)) continue;
      subscriber.events.push(event);
      this.#signal(subscriber);
    }
  }

  /**
   * The subscriber's next message of about `maxBytes`, at least one item; undefined where there is nothing to read:
   * then `onReadable` tells when there is.
   */
  next(id: number, maxBytes: number): SubscribeResponse | undefined {
    const subscriber = this.#subscribers.get(id);
    if (subscriber === undefined) return undefined;
    let response: SubscribeResponse | undefined;
    if (subscriber.phase === "lagged") response = this.#nextLagged(subscriber);
    else if (subscriber.phase === "snapshot") response = this.#nextSnapshot(subscriber, maxBytes);
    else response = this.#nextChanges(subscriber, maxBytes);
    if (response === undefined) subscriber.signalled = false;
    return response;
  }

  statistics(): SubscriptionStatistics {
    return { ...this.#counters, subscribers: this.#subscribers.size, regions: this.#feeds.size, snapshotItems: this.#snapshotItems };
  }

  #join(subscriber: Subscriber): void {
    for (const region of subscriber.regions) {
      let feed = this.#feeds.get(region);
      if (feed === undefined) {
        feed = new RegionFeed(region);
        this.#feeds.set(region, feed);
      }
      if (subscriber.strong) feed.strong.add(subscriber);
      if (subscriber.causal) feed.causal.add(subscriber);
      if (subscriber.eventual) subscriber.members.push(feed.join(subscriber, this.#changeNumber));
    }
  }

  /** Puts the reader where its token says; false where that is no longer, or not for these regions, possible. */
  #resume(subscriber: Subscriber, point: ResumePoint): boolean {
    if (point.scope !== subscriber.scope) return false;
    if (subscriber.eventual && this.#options.nowMs() - point.issuedMs > this.limits.maxResumeAgeMs) return false;
    if (subscriber.eventual && point.cursors.length === 0 && !subscriber.strong) return false;
    const wanted = new RegionMap<true>();
    for (const region of subscriber.regions) wanted.set(region, true);
    const missed: PlacedChange[] = [];
    for (const groupId of subscriber.groups) {
      const cursor = point.cursors.find((candidate) => candidate.groupId === groupId);
      const changes = cursor === undefined ? undefined : this.#ringOf(groupId).after(cursor.index, cursor.partial);
      if (cursor === undefined || changes === undefined) return false;
      subscriber.cursors.set(groupId, cursor);
      for (const change of changes) {
        const region = change.change.entity?.region;
        if (region !== undefined && wanted.get(region) === true) missed.push(change);
      }
    }
    if (missed.length + subscriber.events.length > this.limits.maxQueued) return false;
    const values: EventualValue[] = [];
    // Which values it has is not known here: all are sent again, deletions too; a value is the same however often it comes.
    if (subscriber.eventual) {
      for (const region of subscriber.regions) for (const value of this.#options.reader.valuesOf(region, true)) values.push(value);
    }
    if (!this.#hasSnapshotRoom(values.length)) return false;
    for (const change of missed) subscriber.changes.push(change);
    for (const value of values) subscriber.values.push(value);
    this.#snapshotItems += values.length;
    return true;
  }

  /** Takes the state of this moment; false where there is no room. */
  #takeSnapshot(subscriber: Subscriber): boolean {
    const { reader } = this.#options;
    const entities: Entity[] = [];
    const values: EventualValue[] = [];
    for (const region of subscriber.regions) {
      if (subscriber.strong) for (const entity of reader.entitiesOf(region)) entities.push(entity);
      if (subscriber.eventual) for (const value of reader.valuesOf(region, false)) values.push(value);
    }
    if (!this.#hasSnapshotRoom(entities.length + values.length)) return false;
    this.#snapshotItems += entities.length + values.length;
    for (const entity of entities) subscriber.entities.push(entity);
    for (const value of values) subscriber.values.push(value);
    for (const groupId of subscriber.groups) {
      this.#ringOf(groupId);
      subscriber.cursors.set(groupId, { groupId, ...reader.positionOf(groupId), partial: 0 });
    }
    for (const member of subscriber.members) member.seen = this.#changeNumber;
    subscriber.phase = "snapshot";
    this.#counters.snapshots += 1;
    return true;
  }

  /** One snapshot always finds room, however large. */
  #hasSnapshotRoom(items: number): boolean {
    return this.#snapshotItems === 0 || this.#snapshotItems + items <= this.limits.maxSnapshotItems;
  }

  /** Queues kept causal events that the reader lacks. Returns how many it has lost. */
  #queueEventsSince(subscriber: Subscriber): number {
    const wanted = new RegionMap<true>();
    for (const region of subscriber.regions) wanted.set(region, true);
    const { events, lost } = this.#options.causal.since(subscriber.clock, (event) => wanted.get(event.event?.region as Region) === true);
    const tooMany = Math.max(0, events.length - (this.limits.maxQueued >> 1));
    for (let i = tooMany; i < events.length; i += 1) subscriber.events.push(events[i] as DeliveredEvent);
    return lost + tooMany;
  }

  #queueChange(subscriber: Subscriber, placed: PlacedChange): void {
    const cursor = subscriber.cursors.get(placed.groupId);
    if (cursor !== undefined && isPassed(placed, cursor.index, cursor.partial)) return;
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
  }

  #release(items: number): void {
    this.#snapshotItems -= items;
    if (items === 0 || this.#waiting.size === 0) return;
    for (const waiting of this.#waiting) this.#signal(waiting);
    this.#waiting.clear();
  }

  #nextLagged(subscriber: Subscriber): SubscribeResponse | undefined {
    if (!this.#takeSnapshot(subscriber)) {
      this.#waiting.add(subscriber);
      return undefined;
    }
    this.#waiting.delete(subscriber);
    subscriber.events.clear();
    if (subscriber.causal) {
      // Kept causal events are not lost by being slow: they follow the snapshot.
      const queued = this.#queueEventsSince(subscriber);
      subscriber.dropped = Math.max(subscriber.dropped, queued);
    }
    const dropped = subscriber.dropped;
    subscriber.dropped = 0;
    return { event: { $case: "lagged", value: { dropped } }, resumeToken: this.#token(subscriber, false) };
  }

  #nextSnapshot(subscriber: Subscriber, maxBytes: number): SubscribeResponse {
    const part: SubscriptionSnapshot = { entities: [], values: [], complete: false };
    const { entities, values } = subscriber;
    let bytes = 0;
    for (let entity = bytes < maxBytes ? entities.shift() : undefined; entity !== undefined; entity = bytes < maxBytes ? entities.shift() : undefined) {
      part.entities.push(entity);
      bytes += sizeOfEntity(entity);
    }
    for (let value = bytes < maxBytes ? values.shift() : undefined; value !== undefined; value = bytes < maxBytes ? values.shift() : undefined) {
      part.values.push(value);
      bytes += sizeOfValue(value);
    }
    part.complete = entities.length === 0 && values.length === 0;
    if (part.complete) subscriber.phase = "live";
    this.#release(part.entities.length + part.values.length);
    return { event: { $case: "snapshot", value: part }, resumeToken: this.#token(subscriber, part.complete) };
  }

  #nextChanges(subscriber: Subscriber, maxBytes: number): SubscribeResponse | undefined {
    const message: SubscriptionChanges = { entities: [], values: [], events: [] };
    let bytes = 0;
    let last: PlacedChange | undefined;
    while (bytes < maxBytes) {
      const placed = subscriber.changes.shift();
      if (placed === undefined) break;
      if (last !== undefined && last.groupId !== placed.groupId) this.#passed(subscriber, last);
      last = placed;
      message.entities.push(placed.change);
      bytes += sizeOfEntity(placed.change.entity as Entity);
    }
    if (last !== undefined) this.#passed(subscriber, last);
    bytes += this.#takeEvents(subscriber, message, maxBytes - bytes);
    this.#takeValues(subscriber, message, maxBytes - bytes);
    if (message.entities.length + message.values.length + message.events.length === 0) return undefined;
    return { event: { $case: "changes", value: message }, resumeToken: this.#token(subscriber, true) };
  }

  #takeEvents(subscriber: Subscriber, message: SubscriptionChanges, maxBytes: number): number {
    let bytes = 0;
    const sent = new Map<number, number>();
    while (bytes < maxBytes) {
      const event = subscriber.events.shift();
      if (event === undefined) break;
      message.events.push(event);
      bytes += sizeOfDelivered(event);
      const id = event.id as VectorClockEntry;
      sent.set(id.origin, id.sequence);
    }
    for (const [origin, sequence] of sent) subscriber.clock = merge(subscriber.clock, { entries: [{ origin, sequence }] });
    return bytes;
  }

  #takeValues(subscriber: Subscriber, message: SubscriptionChanges, maxBytes: number): void {
    let bytes = 0;
    let again = 0;
    while (bytes < maxBytes) {
      const value = subscriber.values.shift();
      if (value === undefined) break;
      message.values.push(value);
      bytes += sizeOfValue(value);
      again += 1;
    }
    if (again > 0) this.#release(again);
    if (bytes >= maxBytes || subscriber.dirty.length === 0) return;
    const dirty = subscriber.dirty;
    subscriber.dirty = [];
    for (const member of dirty) {
      if (bytes < maxBytes) bytes += member.feed.read(member, message.values, maxBytes - bytes, sizeOfValue);
      if (member.dirty) subscriber.dirty.push(member);
    }
  }

  #passed(subscriber: Subscriber, { groupId, term, index, ordinal }: PlacedChange): void {
    subscriber.cursors.set(groupId, { groupId, term, index, partial: ordinal + 1 });
  }

  /** The token after a message. In the middle of a snapshot it says only what causal events the reader has. */
  #token(subscriber: Subscriber, stands: boolean): string {
    const cursors: GroupCursor[] = [];
    if (stands) {
      for (const groupId of subscriber.groups) {
        const cursor = subscriber.cursors.get(groupId) as GroupCursor;
        const ring = this.#ringOf(groupId);
        const passed = subscriber.changes.length === 0 && ring.index >= cursor.index;
        cursors.push(passed ? { groupId, term: ring.term, index: ring.index, partial: 0 } : cursor);
      }
      // Says that the values stand, where no group does.
      if (subscriber.groups.length === 0) cursors.push({ groupId: 0, term: 0, index: 0, partial: 0 });
    }
    if (subscriber.causal && subscriber.events.length === 0 && subscriber.phase === "live") {
      subscriber.clock = merge(subscriber.clock, this.#causalFrontier());
    }
    return encodeResumeToken({ scope: subscriber.scope, issuedMs: this.#options.nowMs(), cursors, causal: subscriber.clock }, this.#cluster);
  }

  #hasNews(subscriber: Subscriber): boolean {
    return subscriber.phase !== "live" || subscriber.changes.length + subscriber.events.length + subscriber.values.length > 0;
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
