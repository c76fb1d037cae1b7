/** A demo while it runs: the world, the shards, the bots, and who may write where. */
import type { Place } from "@statemesh/client";
import type { Region } from "@statemesh/contract";
import { groupOf } from "@statemesh/world";
import { type DemoBot, keyOf, makeBots } from "./demo-bot.ts";
import { DemoLedger } from "./demo-ledger.ts";
import type { Measure } from "./demo-measure.ts";
import { DemoRandom } from "./demo-random.ts";
import { type DemoShard, placeOf } from "./demo-shard.ts";
import type { World, WorldRegion } from "./world-file.ts";

export class DemoSetting {
  readonly world: World;
  readonly shards: readonly DemoShard[];
  readonly measure: Measure;
  readonly ledger: DemoLedger = new DemoLedger();
  readonly random: DemoRandom;
  readonly bots: readonly DemoBot[];
  /** In front of every id of this run, so that runs on one data folder don't meet. */
  readonly prefix: string;
  readonly groups: number;
  readonly #regions = new Map<string, WorldRegion>();
  /** Who owns a region now; leases move from shard to shard. */
  readonly #owners = new Map<string, DemoShard>();
  /** On common ground a bot stays with the shard that it came with. */
  readonly #shardOfBot = new Map<DemoBot, DemoShard>();
  /** Items on the ground by region. */
  readonly #items = new Map<string, string[]>();

  constructor(world: World, shards: readonly DemoShard[], measure: Measure, prefix: string, groups: number) {
    this.world = world;
    this.shards = shards;
    this.measure = measure;
    this.prefix = prefix;
    this.groups = groups;
    this.random = new DemoRandom(world.seed);
    this.bots = makeBots(world.paths, prefix);
    for (const region of world.regions) {
      this.#regions.set(keyOf(region.region), region);
      const shard = shards.find((each) => each.name === region.shard);
      if (shard !== undefined) this.#owners.set(keyOf(region.region), shard);
    }
    for (const bot of this.bots) this.#shardOfBot.set(bot, this.ownerOf(bot.region) ?? this.anyShard());
  }

  anyShard(): DemoShard {
    const shard = this.shards[0];
    if (shard === undefined) throw new Error("a world without shards");
    return shard;
  }

  /** Whether nobody owns the region, by the world file. */
  isCommon(region: Region): boolean {
    return this.#regions.get(keyOf(region))?.shard === undefined;
  }

  /** The shard that owns a region now; undefined on common ground, and while its lease moves. */
  ownerOf(region: Region): DemoShard | undefined {
    return this.#owners.get(keyOf(region));
  }

  setOwner(region: Region, shard: DemoShard | undefined): void {
    if (shard === undefined) this.#owners.delete(keyOf(region));
    else this.#owners.set(keyOf(region), shard);
  }

  /** Regions that a shard owns now. */
  regionsOf(shard: DemoShard): Region[] {
    return this.world.regions.filter((it) => this.ownerOf(it.region) === shard).map((it) => it.region);
  }

  /** The shard that runs a bot. */
  shardOf(bot: DemoBot): DemoShard {
    return this.#shardOfBot.get(bot) ?? this.anyShard();
  }

  /** Hands a bot that crossed a border to the region's shard; true where that is another one. */
  handOver(bot: DemoBot): boolean {
    const owner = this.ownerOf(bot.region);
    if (owner === undefined || owner === this.shardOf(bot)) return false;
    this.#shardOfBot.set(bot, owner);
    return true;
  }

  /** The shard and place to write a region with; undefined while nobody may. */
  writerOf(region: Region, preferred: DemoShard): { shard: DemoShard; place: Place } | undefined {
    const common = this.isCommon(region);
    const shard = common ? preferred : this.ownerOf(region);
    const place = shard === undefined ? undefined : placeOf(shard, region, common);
    return shard === undefined || place === undefined ? undefined : { shard, place };
  }

  itemsIn(region: Region): readonly string[] {
    return this.#items.get(keyOf(region)) ?? [];
  }

  addItem(region: Region, itemId: string): void {
    const items = this.#items.get(keyOf(region)) ?? [];
    this.#items.set(keyOf(region), items);
    items.push(itemId);
  }

  removeItem(region: Region, itemId: string): void {
    const items = this.#items.get(keyOf(region));
    const at = items?.indexOf(itemId) ?? -1;
    if (items === undefined || at < 0) return;
    const last = items.pop();
    if (last !== undefined && at < items.length) items[at] = last;
  }

  groupOf(region: Region): number {
    return groupOf(region, this.groups);
  }
}
