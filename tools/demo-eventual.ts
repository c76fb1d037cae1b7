/** Eventual state of the demo: where bots and creatures are, at about 10 Hz. */
import { type EventualUpdate, MeshError, type Position, type Region } from "@statemesh/contract";
import { regionOf, sameRegion } from "@statemesh/world";
import type { DemoBot } from "./demo-bot.ts";
import type { DemoSetting } from "./demo-setting.ts";
import type { DemoShard } from "./demo-shard.ts";

const POSITION_BYTES = 32;
const CALLS_IN_FLIGHT = 8;

/** A position with the time when it was sent. */
export interface SentPosition extends Position {
  readonly sentMs: number;
}

export function encodePosition(position: Position, sentMs: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(POSITION_BYTES);
  bytes.writeDoubleBE(position.x, 0);
  bytes.writeDoubleBE(position.y, 8);
  bytes.writeDoubleBE(position.z, 16);
  bytes.writeDoubleBE(sentMs, 24);
  return bytes;
}

/** Undefined where the bytes are something else. */
export function decodePosition(bytes: Uint8Array): SentPosition | undefined {
  if (bytes.length !== POSITION_BYTES) return undefined;
  const read = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return { x: read.readDoubleBE(0), y: read.readDoubleBE(8), z: read.readDoubleBE(16), sentMs: read.readDoubleBE(24) };
}

function update(type: string, region: Region, key: string, value: Uint8Array, now: number, deleted = false): EventualUpdate {
  return { type, region, key, value, deleted, timestampMs: now };
}

/** What one shard publishes, a beat at a time. */
export class DemoPublisher {
  readonly #demo: DemoSetting;
  readonly #shard: DemoShard;
  /** Bots and creatures that left a region of which others still show them. */
  readonly #left: EventualUpdate[] = [];
  /** The newest update of each key that still stands, for the check at the end. */
  readonly published = new Map<string, EventualUpdate>();
  #inFlight = 0;

  constructor(demo: DemoSetting, shard: DemoShard) {
    this.#demo = demo;
    this.#shard = shard;
  }

  /** A bot crossed a border: it is no longer where it was. */
  leave(bot: DemoBot, region: Region): void {
    this.#left.push(update("creature_position", region, bot.playerId, new Uint8Array(0), Date.now(), true));
  }

  /** Publishes where everything is that the shard runs. */
  beat(number: number, seconds: number): void {
    // A mesh that does not answer gets no pile of calls from us: the next beat carries newer positions anyway.
    if (this.#inFlight >= CALLS_IN_FLIGHT) return;
    const demo = this.#demo;
    const now = Date.now();
    const updates = this.#left.splice(0);
    for (const bot of demo.bots) {
      if (demo.shardOf(bot) === this.#shard) updates.push(update("creature_position", bot.region, bot.playerId, encodePosition(bot.position, now), now));
    }
    demo.world.creatures.forEach((creature, at) => {
      if (demo.ownerOf(creature.region) !== this.#shard) return;
      const angle = seconds / 2 + at;
      const position = { x: creature.position.x + 8 * Math.cos(angle), y: creature.position.y, z: creature.position.z + 8 * Math.sin(angle) };
      if (!sameRegion(regionOf(position), creature.region)) return;
      updates.push(update("creature_position", creature.region, demo.prefix + creature.id, encodePosition(position, now), now));
    });
    const home = demo.regionsOf(this.#shard)[0];
    if (home !== undefined && number % 10 === 0) {
      const spark = new Uint8Array([number & 255]);
      updates.push(update("cosmetic_effect", home, `${demo.prefix}fire-${this.#shard.id}`, spark, now));
      updates.push(update("automation_state", home, `${demo.prefix}pump-${this.#shard.id}`, spark, now));
      updates.push(update("power_grid_state", home, `${demo.prefix}grid-${this.#shard.id}`, spark, now));
    }
    if (updates.length > 0) void this.#publish(updates);
  }

  /** Says again what still stands: a node that died took with it what it had not passed on yet. */
  async repeat(stands: (key: string, update: EventualUpdate) => boolean): Promise<void> {
    await this.#publish([...this.published].filter(([key, update]) => stands(key, update)).map(([, update]) => update));
  }

  async #publish(updates: EventualUpdate[]): Promise<void> {
    const { measure } = this.#demo;
    const startedMs = performance.now();
    this.#inFlight += 1;
    try {
      for (let at = 0; at < updates.length; at += 1_024) {
        const part = updates.slice(at, at + 1_024);
        const response = await this.#shard.client.publish({ updates: part });
        measure.updatesPublished += response.updates;
        measure.updatesStale += response.staleUpdates;
        for (const each of part) this.published.set(`${each.type} ${each.region?.x},${each.region?.y},${each.region?.z} ${each.key}`, each);
      }
      measure.publish.add(performance.now() - startedMs);
    } catch (error) {
      measure.publishFailures += 1;
      this.#shard.lost.push(`publish: ${MeshError.from(error).message}`);
      // Positions come anew with the next beat; that something left is said once.
      for (const each of updates) if (each.deleted) this.#left.push(each);
    } finally {
      this.#inFlight -= 1;
    }
  }
}
