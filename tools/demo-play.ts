/** Turns what a bot wants into operations, and what was decided into what the bot holds. */
import type { Place } from "@statemesh/client";
import { type Decision, type Operation, Outcome, type Region } from "@statemesh/contract";
import { sameRegion } from "@statemesh/world";
import type { DemoBot, Intent } from "./demo-bot.ts";
import type { DemoSetting } from "./demo-setting.ts";
import type { DemoShard } from "./demo-shard.ts";

const MATERIALS = ["stone", "sand", "clay"] as const;
const COLOURS = ["moss", "snow", "ash"] as const;

interface Act {
  readonly operation: Operation;
  /** Called where the operation is in force. */
  readonly done: (decision: Decision) => void;
  /** Called where it was rejected. */
  readonly refused?: () => void;
  /** Accounts that are unsure where the outcome stays open. */
  readonly accounts: readonly string[];
}

/** Plays the bots of one demo. */
export class DemoPlay {
  readonly #demo: DemoSetting;
  #made = 0;

  constructor(demo: DemoSetting) {
    this.#demo = demo;
  }

  /** Lets a bot that waits for nothing do what it wants to. */
  act(bot: DemoBot): void {
    if (bot.busy) return;
    const demo = this.#demo;
    const writer = demo.writerOf(bot.region, demo.shardOf(bot));
    // The lease of the region is on its way from one shard to another: the bot waits a moment.
    if (writer === undefined) return;
    const here = (it: { region: Region }): boolean => sameRegion(it.region, bot.region);
    const intent = bot.decide(demo.random, {
      items: demo.itemsIn(bot.region),
      resources: demo.world.resources.filter(here).map((it) => demo.prefix + it.id),
      creatures: demo.world.creatures.filter(here).map((it) => demo.prefix + it.id),
      companions: demo.bots.filter((other) => other.path === bot.path),
    });
    const act = this.#actOf(bot, intent, writer.shard, writer.place);
    if (act === undefined) return;
    bot.busy = true;
    const taken = writer.shard.submit(act.operation, (decision, error) => {
      bot.busy = false;
      if (error?.reason === "OUTCOME_UNKNOWN") for (const account of act.accounts) demo.ledger.unsure.add(account);
      if (decision?.outcome === Outcome.ACCEPTED || decision?.outcome === Outcome.MERGED) act.done(decision);
      else if (decision?.outcome === Outcome.REJECTED) act.refused?.();
    });
    if (!taken) bot.busy = false;
  }

  /** Gives up everything that the bots hold of the world's own, so that it is free for the next run. */
  async tidyUp(): Promise<void> {
    const demo = this.#demo;
    const releases: Promise<unknown>[] = [];
    for (const bot of demo.bots) {
      for (const [resourceId, region] of bot.claims) {
        const writer = demo.writerOf(region, demo.shardOf(bot));
        if (writer === undefined) continue;
        const operation = writer.shard.make.resourceRelease(writer.place, { resourceId, playerId: bot.playerId });
        releases.push(writer.shard.decide(operation).then((decision) => {
          if (decision?.outcome !== Outcome.ACCEPTED) return;
          bot.claims.delete(resourceId);
          demo.ledger.setClaim(resourceId, undefined, decision);
        }));
      }
    }
    await Promise.all(releases);
  }

  #id(what: string): string {
    this.#made += 1;
    return `${this.#demo.prefix}${what}-${this.#made}`;
  }

  #actOf(bot: DemoBot, intent: Intent, shard: DemoShard, place: Place): Act | undefined {
    const { ledger, random } = this.#demo;
    const { playerId } = bot;
    const { region } = place;
    const make = shard.make;
    const accounts = [playerId];
    const nothing = (): void => undefined;
    switch (intent.kind) {
      case "wander":
        return undefined;
      case "pick_up":
        return {
          operation: make.itemPickup(place, { itemId: intent.itemId, playerId }),
          accounts,
          // Somebody else has it.
          refused: () => this.#demo.removeItem(region, intent.itemId),
          done: () => {
            const item = ledger.pickUp(intent.itemId, playerId);
            if (item !== undefined) bot.hold(item.kind, item.quantity);
            this.#demo.removeItem(region, intent.itemId);
          },
        };
      case "drop": {
        const { itemKind, quantity } = intent;
        const itemId = this.#id("drop");
        return {
          operation: make.drop(place, { playerId, itemKind, quantity, itemId, position: bot.position }),
          accounts,
          done: () => {
            bot.hold(itemKind, -quantity);
            ledger.add(playerId, itemKind, -quantity);
            ledger.lay(itemId, itemKind, quantity, region);
            this.#demo.addItem(region, itemId);
          },
        };
      }
      case "craft": {
        // What is made of them is not the mesh's concern: the items are used up.
        const { itemKind, quantity } = intent;
        return {
          operation: make.burn(place, { playerId, itemKind, quantity }),
          accounts,
          done: () => {
            bot.hold(itemKind, -quantity);
            ledger.add(playerId, itemKind, -quantity);
          },
        };
      }
      case "trade": {
        const { other, gives, takes } = intent;
        const operation = make.trade(place, {
          firstPlayerId: playerId, secondPlayerId: other.playerId,
          firstGives: [{ itemKind: gives, quantity: 1 }], secondGives: [{ itemKind: takes, quantity: 1 }],
        });
        return {
          operation,
          accounts: [playerId, other.playerId],
          done: () => {
            for (const [who, kind, quantity] of [[bot, gives, -1], [bot, takes, 1], [other, takes, -1], [other, gives, 1]] as const) {
              who.hold(kind, quantity);
              ledger.add(who.playerId, kind, quantity);
            }
          },
        };
      }
      case "build": {
        const structureId = this.#id("hut");
        return {
          operation: make.structurePlacement(place, { structureId, kind: "hut", bounds: intent.bounds, playerId, attributes: new Map([["colour", "red"]]) }),
          accounts: [],
          done: () => {
            bot.structures.set(structureId, region);
            ledger.structures.set(structureId, { region, bounds: intent.bounds });
          },
        };
      }
      case "demolish":
        return {
          operation: make.structureRemoval(place, { structureId: intent.structureId, playerId }),
          accounts: [],
          done: () => {
            bot.structures.delete(intent.structureId);
            ledger.structures.delete(intent.structureId);
          },
        };
      case "dig":
        return { operation: make.dig(place, { bounds: intent.bounds, playerId }), accounts: [], done: nothing };
      case "fill":
        return { operation: make.fill(place, { bounds: intent.bounds, playerId, material: random.pick(MATERIALS) ?? "stone" }), accounts: [], done: nothing };
      case "paint":
        return { operation: make.paint(place, { bounds: intent.bounds, playerId, material: random.pick(COLOURS) ?? "moss" }), accounts: [], done: nothing };
      case "claim":
        return {
          operation: make.resourceClaim(place, { resourceId: intent.resourceId, playerId }),
          accounts: [],
          done: (decision) => {
            bot.claims.set(intent.resourceId, region);
            ledger.setClaim(intent.resourceId, playerId, decision);
          },
        };
      case "release":
        return {
          operation: make.resourceRelease(place, { resourceId: intent.resourceId, playerId }),
          accounts: [],
          done: (decision) => {
            bot.claims.delete(intent.resourceId);
            ledger.setClaim(intent.resourceId, undefined, decision);
          },
        };
      case "tame":
        return { operation: make.creatureOwnership(place, { creatureId: intent.creatureId }), accounts: [], done: nothing };
    }
  }
}
