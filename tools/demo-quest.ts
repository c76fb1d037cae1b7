/** Quests: chains of causal events that run from shard to shard. Each step is published by who has seen the one before. */
import { type CausalEvent, MeshError, type Region, type VectorClock } from "@statemesh/contract";
import type { DeliveredStep } from "./demo-follow.ts";
import type { DemoSetting } from "./demo-setting.ts";
import type { DemoShard } from "./demo-shard.ts";

const STEP_BYTES = 12;

/** One step of a quest. */
export interface QuestStep {
  readonly quest: string;
  /** From 1. */
  readonly step: number;
  readonly sentMs: number;
}

function encodeStep(step: number, sentMs: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(STEP_BYTES));
  view.setUint32(0, step);
  view.setFloat64(4, sentMs);
  return new Uint8Array(view.buffer);
}

/** Undefined for events of something else or of another run. */
export function decodeStep(event: CausalEvent, prefix: string): QuestStep | undefined {
  if (!event.key.startsWith(prefix) || event.payload.length !== STEP_BYTES) return undefined;
  const view = new DataView(event.payload.buffer, event.payload.byteOffset, STEP_BYTES);
  return { quest: event.key, step: view.getUint32(0), sentMs: view.getFloat64(4) };
}

/** Legs of one quest, at most. */
const LEGS_MAX = 100;
const PAUSE_MS = 500;
/** What becomes of a step is not known, or nobody took it: something is down. */
const PASSING: ReadonlySet<string> = new Set(["OUTCOME_UNKNOWN", "UNREACHABLE", "NO_QUORUM", "MINORITY_PARTITION", "SHUTTING_DOWN", "TOKEN_AHEAD", "DEADLINE_EXCEEDED"]);

/**
 * A quest that shards play in turn: whose turn it is answers a step as soon as it sees it. A step that may have been
 * published can't be published again, so where that is not known the quest begins anew, as another leg.
 */
export class DemoQuest {
  readonly #name: string;
  readonly #demo: DemoSetting;
  readonly #region: Region;
  readonly #players: readonly DemoShard[];
  /** Steps of earlier legs. */
  #stepsBefore = 0;
  /** The newest step of this leg. */
  #step = 0;
  legs = 1;
  #running = false;
  failure: string | undefined;

  constructor(demo: DemoSetting, name: string, region: Region, players: readonly DemoShard[]) {
    this.#name = `${demo.prefix}quest-${name}`;
    this.#demo = demo;
    this.#region = region;
    this.#players = players;
  }

  /** Of the leg that is played. */
  get key(): string {
    return this.legs === 1 ? this.#name : `${this.#name}-${this.legs}`;
  }

  /** Steps that were published, of all legs. */
  get steps(): number {
    return this.#stepsBefore + this.#step;
  }

  start(): void {
    this.#running = true;
    void this.#publish(1, undefined);
  }

  stop(): void {
    this.#running = false;
  }

  /** A shard's subscription delivered a step: where the next one is the shard's, it goes on. */
  onStep(shard: DemoShard, delivered: DeliveredStep): void {
    if (delivered.quest !== this.key || !this.#running) return;
    if (delivered.step !== this.#step || this.#playerOf(delivered.step + 1) !== shard) return;
    void this.#publish(delivered.step + 1, delivered.token);
  }

  #playerOf(step: number): DemoShard | undefined {
    return this.#players[(step - 1) % this.#players.length];
  }

  async #publish(step: number, causalToken: VectorClock | undefined): Promise<void> {
    const player = this.#playerOf(step);
    if (player === undefined) return;
    this.#step = step;
    try {
      const event = { type: "event_sequence", region: this.#region, key: this.key, payload: encodeStep(step, Date.now()) };
      await player.client.publish({ events: [event], causalToken });
      this.#demo.measure.eventsPublished += 1;
    } catch (thrown) {
      const error = MeshError.from(thrown);
      if (PASSING.has(error.reason) && this.legs < LEGS_MAX) return this.#beginAnew();
      this.#running = false;
      this.failure = `step ${step} of ${this.key}: ${error.message}`;
    }
  }

  #beginAnew(): void {
    this.#stepsBefore += this.#step - 1;
    this.#step = 0;
    this.legs += 1;
    setTimeout(() => {
      if (this.#running) void this.#publish(1, undefined);
    }, PAUSE_MS).unref();
  }
}
