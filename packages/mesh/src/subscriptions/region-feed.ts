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
  #clean: FeedMember[] = [];
  #newest: FeedValue | undefined;

  constructor(region: Region) {
    this.region = region;
  }

  get isEmpty(): boolean {
    return this.strong.size === 0 && this.causal.size === 0 && this.members.size === 0;
  }

  join(subscriber: Subscriber, seen: number): FeedMember {
    const member: FeedMember = { subscriber, feed: this, seen, dirty: false };
    this.members.add(member);
    this.#clean.push(member);
    return member;
  }

  leave(member: FeedMember): void {
    this.members.delete(member);
    if (!member.dirty) this.#clean = this.#clean.filter((other) => other !== member);
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
    if (this.#clean.length === 0) return;
    const clean = this.#clean;
    this.#clean = [];
    for (const member of clean) {
      member.dirty = true;
      wake(member);
    }
  }

  /** The key is gone for good; `missed` hears of each member that has not read its deletion. */
  forget(register: object, missed: (member: FeedMember) => void): void {
    const node = this.#values.get(register);
    if (node === undefined) return;
    this.#values.delete(register);
    this.#unlink(node);
    for (const member of this.members) if (member.seen < node.number) missed(member);
  }

  /** Moves changes that the member has not seen into `values`, oldest first, until they fill `maxBytes`. Returns the bytes. */
  read(member: FeedMember, values: EventualValue[], maxBytes: number, sizeOf: (value: EventualValue) => number): number {
    let node = this.#newest;
    if (node === undefined || node.number <= member.seen) {
      this.#settle(member);
      return 0;
    }
    while (node.before !== undefined && node.before.number > member.seen) node = node.before;
    let bytes = 0;
    for (let next: FeedValue | undefined = node; next !== undefined; next = next.after) {
      if (bytes >= maxBytes) return bytes;
      values.push(next.value);
      member.seen = next.number;
      bytes += sizeOf(next.value);
    }
    this.#settle(member);
    return bytes;
  }

  #settle(member: FeedMember): void {
    if (!member.dirty) return;
    member.dirty = false;
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
