/** A subscriber of the load: what it was shown, in its order, and the quests that it takes a step further. */
import type { Subscription } from "@statemesh/client";
import { type CausalEvent, type DeliveredEvent, MeshError, type SubscribeResponse, type VectorClock } from "@statemesh/contract";
import { z } from "zod";
import type { GameServer } from "./game-server.ts";
import { REGISTER_TYPE, type Setting } from "./setting.ts";

const QUEST_TYPE = "event_sequence";
const QUEST_STEPS = 12;
const PUBLISH_LIMIT_MS = 3_000;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A register as a subscriber was shown it. */
export interface Shown {
  readonly follower: number;
  readonly register: string;
  /** `snapshot`: what was there; `change`: a write. */
  readonly by: "snapshot" | "change";
  readonly value: string;
  readonly version: number;
}

const stepOf = z.object({ quest: z.string(), step: z.number() });

/** Follows all grounds, through one node after another where connections break. */
export class Follower {
  readonly shown: Shown[] = [];
  /** What went against the rules, in words. */
  readonly troubles: string[] = [];
  steps = 0;
  snapshots = 0;
  lagged = 0;
  readonly #server: GameServer;
  readonly #setting: Setting;
  readonly #subscription: Subscription;
  /** Newest step by quest. */
  readonly #quests = new Map<string, number>();
  /** Newest version by register. */
  readonly #versions = new Map<string, number>();
  #publishing = true;
  #ended: Promise<void> = Promise.resolve();

  constructor(server: GameServer, setting: Setting) {
    this.#server = server;
    this.#setting = setting;
    const regions = [...setting.grounds.map(({ region }) => region), setting.leased.region];
    this.#subscription = server.all.subscribe({ regions, strong: true, causal: true, giveUpAfterMs: 600_000 });
  }

  start(): void {
    this.#ended = this.#read();
  }

  /** What it was shown last of a register; 0: nothing. */
  versionOf(register: string): number {
    return this.#versions.get(register) ?? 0;
  }

  /** Begins a quest: its first step, which another server goes on from. */
  async begin(): Promise<void> {
    await this.#publish({ quest: this.#server.all.nextId(), step: 0 }, undefined);
  }

  /** No more steps are taken; what is shown is still written down. */
  rest(): void {
    this.#publishing = false;
  }

  async stop(): Promise<void> {
    this.#subscription.close();
    await this.#ended;
  }

  async #read(): Promise<void> {
    try {
      for await (const message of this.#subscription) this.#onMessage(message);
    } catch (error) {
      this.troubles.push(`the subscription of server ${this.#server.serverId} ended: ${MeshError.from(error).message}`);
    }
  }

  #onMessage({ event }: SubscribeResponse): void {
    if (event?.$case === "lagged") this.lagged += 1;
    if (event?.$case === "snapshot") {
      for (const entity of event.value.entities) if (entity.kind === REGISTER_TYPE) this.#show(entity.entityId, "snapshot", entity.state, entity.version);
      if (!event.value.complete) return;
      this.snapshots += 1;
    }
    if (event?.$case !== "changes") return;
    for (const { entity } of event.value.entities) if (entity?.kind === REGISTER_TYPE) this.#show(entity.entityId, "change", entity.state, entity.version);
    for (const delivered of event.value.events) this.#onEvent(delivered);
  }

  #show(register: string, by: Shown["by"], state: Uint8Array, version: number): void {
    this.#versions.set(register, version);
    this.shown.push({ follower: this.#server.serverId, register, by, value: decoder.decode(state), version });
  }

  #onEvent({ event, id, dependencies }: DeliveredEvent): void {
    if (event?.type !== QUEST_TYPE) return;
    const { quest, step } = stepOf.parse(JSON.parse(decoder.decode(event.payload)));
    this.steps += 1;
    const before = this.#quests.get(quest);
    // Steps that were lost with the nodes that had them are passed over; what was passed over, or shown, never comes again.
    if (before !== undefined && step <= before) this.troubles.push(`server ${this.#server.serverId} saw step ${step} of ${quest} after step ${before}`);
    this.#quests.set(quest, step);
    const takesNext = (step + 1) % this.#setting.servers.length === this.#server.serverId - 1;
    if (!takesNext || step >= QUEST_STEPS) return;
    const entries = new Map((dependencies?.entries ?? []).map((entry) => [entry.origin, entry.sequence]));
    if (id !== undefined) entries.set(id.origin, id.sequence);
    const token = { entries: [...entries].sort(([a], [b]) => a - b).map(([origin, sequence]) => ({ origin, sequence })) };
    void this.#publish({ quest, step: step + 1 }, token);
  }

  /** A step that no node takes ends its quest: events are never sent twice. */
  async #publish(step: z.infer<typeof stepOf>, causalToken: VectorClock | undefined): Promise<void> {
    if (!this.#publishing) return;
    const { region } = this.#server.random.pick(this.#setting.grounds);
    const event: CausalEvent = { type: QUEST_TYPE, region, key: step.quest, payload: encoder.encode(JSON.stringify(step)) };
    try {
      await this.#server.anyNode().publish({ events: [event], causalToken }, { deadlineMs: PUBLISH_LIMIT_MS });
    } catch (thrown) {
      const { reason, message } = MeshError.from(thrown);
      if (reason === "INTERNAL" || reason === "INVALID_FIELD") this.troubles.push(`a step of a quest was refused: ${reason}: ${message}`);
    }
  }
}
