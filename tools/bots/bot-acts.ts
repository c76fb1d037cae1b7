/** What players do beside walking: they build, claim, pick up, trade. One thing at a time, as a player would. */
import type { OperationBuilder, Place } from "@statemesh/client";
import { type Decision, type Operation, Outcome, type Position, type Region } from "@statemesh/contract";
import { REGION_EDGE_M } from "@statemesh/world";
import { boxAround } from "../demo-bot.ts";
import type { DemoRandom } from "../demo-random.ts";
import type { BotView } from "./bot-view.ts";

/** A player as its shard simulates it. */
export interface BotPlayer {
  readonly number: number;
  readonly id: string;
  /** Where the mesh says that it is. */
  readonly region: Region;
  /** Since when its shard has it; wall time. */
  readonly beganMs: number;
  position: Position;
  /** Something of it is undecided: it waits. */
  busy: boolean;
  /** What it was told it holds, in the account of its region's group. */
  held: Map<string, number>;
  /** When it last wanted something, by the count of its wishes. */
  wish: number;
}

/** What acting needs of the shard. */
export interface BotActing {
  readonly run: string;
  readonly make: OperationBuilder;
  readonly view: BotView;
  /** Another player of this shard in the same region, who waits for nothing. */
  companionOf(player: BotPlayer, random: DemoRandom): BotPlayer | undefined;
  /** Undefined where it was refused, or nobody knows. */
  decide(operation: Operation): Promise<Decision | undefined>;
  /** Reads what a player holds: after anything that did not go as it was meant. */
  readHeld(player: BotPlayer): Promise<void>;
  newId(what: string): string;
}

const KINDS = ["ore", "wood", "salt"] as const;
const FIRST_ITEMS = 4;
const STRUCTURES_MAX = 4;
const ITEMS_MAX = 6;
const VEINS_A_REGION = 16;
/** No box of a wish reaches over a border: an operation's footprint stays in one group. */
const EDGE_M = 12;
const REACH_M = 400;

type Wish = "build" | "demolish" | "claim" | "release" | "find" | "pick_up" | "drop" | "trade" | "use";
/** How often each wish comes up, against the others that are possible. */
const WEIGHTS: Readonly<Record<Wish, number>> = { build: 20, demolish: 8, claim: 10, release: 8, find: 8, pick_up: 16, drop: 8, trade: 14, use: 4 };

export class BotActs {
  readonly #acting: BotActing;
  /** Structures that decisions put up, and that stand as far as is known. */
  readonly standing = new Set<string>();
  /** Structures of which nobody knows. */
  readonly unsure = new Set<string>();

  constructor(acting: BotActing) {
    this.#acting = acting;
  }

  /** What a player brings into the world. */
  async equip(player: BotPlayer, place: Place): Promise<void> {
    await this.#busy([player], async () => {
      for (const itemKind of KINDS.slice(0, 2)) {
        const done = await this.#decided(this.#acting.make.mint(place, { playerId: player.id, itemKind, quantity: FIRST_ITEMS }));
        if (done) hold(player, itemKind, FIRST_ITEMS);
      }
    });
  }

  /** One wish, from `random`. */
  async act(player: BotPlayer, place: Place, random: DemoRandom): Promise<void> {
    const { view } = this.#acting;
    const own = view.structuresOf(player.id, player.region);
    const claims = view.claimsOf(player.id, player.region);
    const items = view.itemsIn(player.region);
    const kinds = [...player.held].filter(([, quantity]) => quantity > 0).map(([kind]) => kind);
    const partner = this.#acting.companionOf(player, random);
    const possible: Wish[] = ["claim"];
    if (own.length < STRUCTURES_MAX) possible.push("build");
    if (own.length > 0) possible.push("demolish");
    if (claims.length > 0) possible.push("release");
    if (items.length < ITEMS_MAX) possible.push("find");
    if (items.length > 0) possible.push("pick_up");
    if (kinds.length > 0) possible.push("drop", "use");
    if (kinds.length > 0 && partner !== undefined && partner.held.size > 0) possible.push("trade");
    const wish = weighted(possible, random);
    const first = (list: readonly string[]): string => random.pick(list) ?? "";
    switch (wish) {
      case "build": return await this.#build(player, place, random);
      case "demolish": return await this.#demolish(player, place, first(own));
      case "claim": return await this.#claim(player, place, random.below(VEINS_A_REGION));
      case "release": return await this.#plain(player, this.#acting.make.resourceRelease(place, { resourceId: first(claims), playerId: player.id }));
      case "find": return await this.#plain(player, this.#acting.make.spawn(place, { itemKind: random.pick(KINDS) ?? "ore", quantity: 1, itemId: this.#acting.newId("i"), position: this.#spot(player, random, 20) }));
      case "pick_up": return await this.#pickUp(player, place, first(items));
      case "drop": return await this.#give(player, first(kinds), (itemKind) => this.#acting.make.drop(place, { playerId: player.id, itemKind, quantity: 1, itemId: this.#acting.newId("i"), position: this.#spot(player, random, 5) }));
      case "use": return await this.#give(player, first(kinds), (itemKind) => this.#acting.make.burn(place, { playerId: player.id, itemKind, quantity: 1 }));
      case "trade": return await this.#trade(player, partner, place, first(kinds), random);
      default: return;
    }
  }

  /** Carries everything to the account that another group keeps: who crosses into that group's regions finds it there. */
  async carryOver(player: BotPlayer, place: Place, toRegion: Region): Promise<void> {
    for (const [itemKind, quantity] of [...player.held]) {
      if (quantity <= 0) continue;
      const done = await this.#decided(this.#acting.make.transfer(place, { playerId: player.id, counterpartyId: player.id, itemKind, quantity, counterpartyRegion: toRegion }));
      if (done) player.held.delete(itemKind);
    }
  }

  async #build(player: BotPlayer, place: Place, random: DemoRandom): Promise<void> {
    const structureId = this.#acting.newId("s");
    const bounds = boxAround(this.#spot(player, random, REACH_M), random.between(4, 9), 6);
    await this.#busy([player], async () => {
      const decision = await this.#acting.decide(this.#acting.make.structurePlacement(place, { structureId, kind: "hut", bounds, playerId: player.id }));
      if (isInForce(decision)) this.standing.add(structureId);
      else if (decision === undefined) this.unsure.add(structureId);
    });
  }

  async #demolish(player: BotPlayer, place: Place, structureId: string): Promise<void> {
    await this.#busy([player], async () => {
      const decision = await this.#acting.decide(this.#acting.make.structureRemoval(place, { structureId, playerId: player.id }));
      if (decision === undefined) this.unsure.add(structureId);
      if (isInForce(decision) || decision === undefined) this.standing.delete(structureId);
    });
  }

  async #claim(player: BotPlayer, place: Place, vein: number): Promise<void> {
    const { x, z } = player.region;
    await this.#plain(player, this.#acting.make.resourceClaim(place, { resourceId: `${this.#acting.run}v${x}.${z}.${vein}`, playerId: player.id }));
  }

  /** Something that changes nothing that the player holds. */
  async #plain(player: BotPlayer, operation: Operation): Promise<void> {
    await this.#busy([player], async () => {
      await this.#acting.decide(operation);
    });
  }

  async #pickUp(player: BotPlayer, place: Place, itemId: string): Promise<void> {
    await this.#busy([player], async () => {
      // What kind it is the account says.
      if (await this.#decided(this.#acting.make.itemPickup(place, { itemId, playerId: player.id }))) await this.#acting.readHeld(player);
    });
  }

  async #give(player: BotPlayer, itemKind: string, operation: (itemKind: string) => Operation): Promise<void> {
    await this.#busy([player], async () => {
      if (await this.#decided(operation(itemKind))) hold(player, itemKind, -1);
      else await this.#acting.readHeld(player);
    });
  }

  async #trade(player: BotPlayer, partner: BotPlayer | undefined, place: Place, gives: string, random: DemoRandom): Promise<void> {
    const takes = random.pick([...(partner?.held.keys() ?? [])]);
    if (partner === undefined || takes === undefined || takes === gives) return;
    const operation = this.#acting.make.trade(place, {
      firstPlayerId: player.id, secondPlayerId: partner.id, firstGives: [{ itemKind: gives, quantity: 1 }], secondGives: [{ itemKind: takes, quantity: 1 }],
    });
    await this.#busy([player, partner], async () => {
      if (await this.#decided(operation)) {
        for (const [who, kind, quantity] of [[player, gives, -1], [player, takes, 1], [partner, takes, -1], [partner, gives, 1]] as const) hold(who, kind, quantity);
      } else for (const who of [player, partner]) await this.#acting.readHeld(who);
    });
  }

  async #decided(operation: Operation): Promise<boolean> {
    return isInForce(await this.#acting.decide(operation));
  }

  async #busy(players: readonly BotPlayer[], run: () => Promise<void>): Promise<void> {
    for (const each of players) each.busy = true;
    try {
      await run();
    } finally {
      for (const each of players) each.busy = false;
    }
  }

  /** A point nearby, well inside of the player's region. */
  #spot({ position, region }: BotPlayer, random: DemoRandom, metres: number): Position {
    const within = (value: number, index: number): number => Math.max(index * REGION_EDGE_M + EDGE_M, Math.min((index + 1) * REGION_EDGE_M - EDGE_M, value));
    const x = within(position.x + random.between(-metres, metres), region.x);
    return { x, y: position.y, z: within(position.z + random.between(-metres, metres), region.z) };
  }
}

function hold(player: BotPlayer, kind: string, quantity: number): void {
  const now = (player.held.get(kind) ?? 0) + quantity;
  if (now <= 0) player.held.delete(kind);
  else player.held.set(kind, now);
}

/** Whether what was asked for is in force. */
export function isInForce(decision: Decision | undefined): boolean {
  return decision?.outcome === Outcome.ACCEPTED || decision?.outcome === Outcome.MERGED;
}

function weighted(possible: readonly Wish[], random: DemoRandom): Wish | undefined {
  let rest = random.next() * possible.reduce((sum, wish) => sum + WEIGHTS[wish], 0);
  return possible.find((wish) => (rest -= WEIGHTS[wish]) < 0);
}
