import type { Region } from "@statemesh/contract";
import { RegionMap } from "../eventual/region-map.ts";
import type { SubscriptionHubOptions } from "./hub-options.ts";
import { type FeedMember, RegionFeed } from "./region-feed.ts";
import type { Subscriber } from "./subscriber.ts";

/** Who reads what: a feed for each region that anybody reads. */
export class RegionFeeds {
  readonly #feeds = new RegionMap<RegionFeed>();
  #joins = 0;
  readonly #interest: SubscriptionHubOptions["interest"];

  constructor(interest: SubscriptionHubOptions["interest"]) {
    this.#interest = interest;
  }

  get size(): number {
    return this.#feeds.size;
  }

  /** Regions that are read, each as often as it is. */
  get joins(): number {
    return this.#joins;
  }

  get(region: Region): RegionFeed | undefined {
    return this.#feeds.get(region);
  }

  /** The reader reads the region, eventual values behind a number. */
  join(subscriber: Subscriber, region: Region, seen: number): void {
    this.#joins += 1;
    let feed = this.#feeds.get(region);
    if (feed === undefined) {
      feed = new RegionFeed(region);
      this.#feeds.set(region, feed);
    }
    if (subscriber.wishes.strong) feed.strong.add(subscriber);
    if (subscriber.wishes.causal) feed.causal.add(subscriber);
    if (!subscriber.wishes.eventual) return;
    subscriber.members.push(feed.join(subscriber, seen));
    this.#interest?.hold(region);
  }

  leave(subscriber: Subscriber, region: Region): void {
    const feed = this.#feeds.get(region);
    if (feed === undefined) return;
    this.#joins -= 1;
    feed.strong.delete(subscriber);
    feed.causal.delete(subscriber);
    const isElsewhere = (member: FeedMember): boolean => member.feed !== feed;
    for (const member of subscriber.members) if (!isElsewhere(member)) feed.leave(member);
    subscriber.members = subscriber.members.filter(isElsewhere);
    subscriber.dirty = subscriber.dirty.filter(isElsewhere);
    if (subscriber.wishes.eventual) this.#interest?.release(region);
    if (feed.isEmpty) this.#feeds.delete(region);
  }
}
