/** Subscribers on other nodes: what arrives there, how late, and whether causes come before effects. */
import type { Subscription } from "@statemesh/client";
import { type EventualValue, MeshError, type SubscriptionChanges, type VectorClock } from "@statemesh/contract";
import { decodePosition } from "./demo-eventual.ts";
import type { DemoSetting } from "./demo-setting.ts";
import type { DemoShard } from "./demo-shard.ts";
import { decodeStep, type QuestStep } from "./demo-quest.ts";

/** A step of a quest as it was delivered. */
export interface DeliveredStep extends QuestStep {
  /** What has to be seen before anything that follows from the step. */
  readonly token: VectorClock;
}

/** Follows the regions of one shard at another node than the one that the shard writes to. */
export class DemoFollower {
  readonly shard: DemoShard;
  /** Position messages that arrived. */
  values = 0;
  events = 0;
  snapshots = 0;
  lagged = 0;
  /** What went against the rules, in words. */
  readonly troubles: string[] = [];
  /** Newest step by quest. */
  readonly #steps = new Map<string, number>();
  readonly #subscription: Subscription;
  readonly #demo: DemoSetting;
  readonly #onStep: (step: DeliveredStep) => void;
  #ended: Promise<void> = Promise.resolve();

  constructor(demo: DemoSetting, shard: DemoShard, onStep: (step: DeliveredStep) => void) {
    this.shard = shard;
    this.#demo = demo;
    this.#onStep = onStep;
    // Every shard follows the whole world: quests run through all of it.
    this.#subscription = shard.follower.subscribe({ regions: demo.world.regions.map((it) => it.region) });
  }

  start(): void {
    this.#ended = this.#read();
  }

  async stop(): Promise<void> {
    this.#subscription.close();
    await this.#ended;
  }

  async #read(): Promise<void> {
    try {
      for await (const { event } of this.#subscription) {
        if (event?.$case === "changes") this.#onChanges(event.value);
        else if (event?.$case === "snapshot") this.snapshots += 1;
        else if (event?.$case === "lagged") this.lagged += 1;
      }
    } catch (error) {
      this.troubles.push(`the subscription of ${this.shard.name} ended: ${MeshError.from(error).message}`);
    }
  }

  #onChanges(changes: SubscriptionChanges): void {
    const now = Date.now();
    this.#demo.measure.entityChanges += changes.entities.length;
    for (const value of changes.values) this.#onValue(value, now);
    for (const delivered of changes.events) {
      const step = delivered.event === undefined ? undefined : decodeStep(delivered.event, this.#demo.prefix);
      if (step === undefined) continue;
      this.events += 1;
      this.#demo.measure.causalArrival.add(now - step.sentMs);
      const before = this.#steps.get(step.quest);
      // A subscription begins with the events that come after it, so the first one may be any step.
      if (before !== undefined && step.step !== before + 1) {
        this.troubles.push(`${this.shard.name} saw step ${step.step} of ${step.quest} after step ${before}`);
      }
      this.#steps.set(step.quest, step.step);
      const entries = new Map((delivered.dependencies?.entries ?? []).map((entry) => [entry.origin, entry.sequence]));
      if (delivered.id !== undefined) entries.set(delivered.id.origin, delivered.id.sequence);
      const token = { entries: [...entries].sort(([a], [b]) => a - b).map(([origin, sequence]) => ({ origin, sequence })) };
      this.#onStep({ ...step, token });
    }
  }

  #onValue(value: EventualValue, now: number): void {
    // What this shard wrote itself says nothing about another node.
    if (value.deleted || value.serverId === this.shard.id || !value.key.startsWith(this.#demo.prefix)) return;
    this.values += 1;
    const position = decodePosition(value.value);
    if (position !== undefined) this.#demo.measure.eventualArrival.add(now - position.sentMs);
  }
}
