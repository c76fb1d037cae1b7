import type { EventualValue, Region } from "@statemesh/contract";
import type { Subscriber } from "./subscriber.ts";

/** The latest value of an eventual key, in the list of its region in order of last change. */
interface FeedValue {
  value: EventualValue;
  number: number;
  before: FeedValue | undefined;
  after: FeedValue | undefined;
}

/** A subscriber's part in the eventual values of a region. */
export interface FeedMember {
  readonly subscriber: Subscriber;
  readonly feed: RegionFeed;
  /** It has every change up to this number. */
  seen: number;
  /** Is in its subscriber's list of regions with news. */
  dirty: boolean;
  /** Its place among those that have no news. */
  place: number;
}

/**
 * Who reads a region, and its eventual values in order of last change. A value is there once, with its latest
 * change, whoever still has to read it: so readers of any slowness cost nothing more, and a change costs the same
 * with one reader that has news waiting or a thousand.
 */
export class RegionFeed {
  readonly region: Region;
  readonly strong = new Set<Subscriber>();
  readonly causal = new Set<Subscriber>();
  readonly members = new Set<FeedMember>();
  readonly #values = new Map<object, FeedValue>();
  /** Members without news, in any order. */
  readonly #clean: FeedMember[] = [];
  #newest: FeedValue | undefined;

  constructor(region: Region) {
    this.region = region;
  }

  get isEmpty(): boolean {
    return this.strong.size === 0 && this.causal.size === 0 && this.members.size === 0;
  }

  join(subscriber: Subscriber, seen: number): FeedMember {
    const member: FeedMember = { subscriber, feed: this, seen, dirty: false, place: this.#clean.length };
    this.members.add(member);
    this.#clean.push(member);
    return member;
  }

  leave(member: FeedMember): void {
    if (!this.members.delete(member) || member.dirty) return;
    const last = this.#clean.pop() as FeedMember;
    if (last === member) return;
    last.place = member.place;
    this.#clean[member.place] = last;
  }

  /** Takes a change; `wake` hears of each member that had no news before. */
  change(value: EventualValue, register: object, number: number, wake: (member: FeedMember) => void): void {
    let node = this.#values.get(register);
    if (node === undefined) {
      node = { value, number, before: undefined, after: undefined };
      this.#values.set(register, node);
    } else {
      this.#unlink(node);
      node.value = value;
      node.number = number;
    }
    node.before = this.#newest;
    if (this.#newest !== undefined) this.#newest.after = node;
    this.#newest = node;
    for (const member of this.#clean) {
      member.dirty = true;
      wake(member);
    }
    this.#clean.length = 0;
  }

  /** The key is gone for good; `missed` hears of each member that has not read its deletion. */
  forget(register: object, missed: (member: FeedMember) => void): void {
    const node = this.#values.get(register);
    if (node === undefined) return;
    this.#values.delete(register);
    this.#unlink(node);
    for (const member of this.members) if (member.seen < node.number && member.subscriber.wishes.wantsType(node.value.type)) missed(member);
  }

  /** Moves wanted changes that the member has not seen, up to a number, into `values`, oldest first, until they fill `maxBytes`. Returns the bytes. */
  read(member: FeedMember, values: EventualValue[], through: number, maxBytes: number, sizeOf: (value: EventualValue) => number): number {
    const { wishes } = member.subscriber;
    let node = this.#newest;
    if (node === undefined || node.number <= member.seen) {
      this.#settle(member);
      return 0;
    }
    while (node.before !== undefined && node.before.number > member.seen) node = node.before;
    let bytes = 0;
    for (let next: FeedValue | undefined = node; next !== undefined; next = next.after) {
      if (bytes >= maxBytes || next.number > through) return bytes;
      member.seen = next.number;
      if (!wishes.wantsType(next.value.type)) continue;
      const value = wishes.value(next.value);
      values.push(value);
      bytes += sizeOf(value);
    }
    this.#settle(member);
    return bytes;
  }

  /** The member has all up to a number from elsewhere. */
  pass(member: FeedMember, through: number): void {
    member.seen = Math.max(member.seen, through);
    if (this.#newest === undefined || this.#newest.number <= member.seen) this.#settle(member);
  }

  #settle(member: FeedMember): void {
    if (!member.dirty) return;
    member.dirty = false;
    member.place = this.#clean.length;
    this.#clean.push(member);
  }

  #unlink(node: FeedValue): void {
    if (node.before !== undefined) node.before.after = node.after;
    if (node.after !== undefined) node.after.before = node.before;
    else if (this.#newest === node) this.#newest = node.before;
    node.before = undefined;
    node.after = undefined;
  }
}
