// A Redis on virtual time: it can be down, hang, be flushed, answer what it held before, and lose what is published.
import type { RedisEvents, RedisPort } from "@statemesh/store";
import type { SimRandom } from "../sim-random.ts";
import type { Simulation } from "../simulation.ts";

/** How Redis and the way to it behave. All may be changed while it runs; probabilities are of one command, or one message to one subscriber. */
export interface RedisWeather {
  /** Shortest and longest time of one way, milliseconds. */
  minDelayMs: number;
  maxDelayMs: number;
  /** A command's answer is lost; half of the time the command was done. */
  loss: number;
  /** A GET is answered by a replica that is behind: what the key held before it was last changed. */
  oldValue: number;
  /** A published message does not arrive at one subscriber, whose connection stands. */
  lostMessage: number;
}

export const CALM_REDIS: RedisWeather = { minDelayMs: 0.05, maxDelayMs: 0.5, loss: 0, oldValue: 0, lostMessage: 0 };

/** Milliseconds until a client gives a command up. */
export const COMMAND_TIMEOUT_MS = 100;
/** Milliseconds until a client whose connection broke tries again. */
const RECONNECT_MS = 200;

interface Value {
  readonly bytes: Uint8Array;
  readonly expiresMs: number;
}

export class SimRedis {
  readonly #simulation: Simulation;
  readonly #random: SimRandom;
  readonly #values = new Map<string, Value>();
  readonly #before = new Map<string, Value>();
  readonly #connections = new Set<SimRedisConnection>();
  #isUp = true;
  #isPaused = false;
  #whenResumed: (() => void)[] = [];
  weather: RedisWeather;
  readonly counts = { commands: 0, lost: 0, oldValues: 0, lostMessages: 0, flushes: 0, downs: 0 };

  constructor(simulation: Simulation, weather: RedisWeather = { ...CALM_REDIS }) {
    this.#simulation = simulation;
    this.#random = simulation.random.fork();
    this.weather = weather;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** A connection of one process; opens by itself, now or later. */
  connect(events: RedisEvents): SimRedisConnection {
    const connection = new SimRedisConnection(this, this.#simulation, events);
    this.#connections.add(connection);
    return connection;
  }

  disconnected(connection: SimRedisConnection): void {
    this.#connections.delete(connection);
  }

  /** All values are gone; connections stand. */
  flush(): void {
    this.counts.flushes++;
    this.#values.clear();
    this.#before.clear();
  }

  /** The process dies: connections break, and it comes back empty. */
  stop(): void {
    this.counts.downs++;
    this.#isUp = false;
    this.#values.clear();
    this.#before.clear();
    for (const connection of this.#connections) connection.lost();
  }

  start(): void {
    this.#isUp = true;
  }

  /** It answers nothing, though connections stand; what was sent is done when it goes on. */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    for (const run of this.#whenResumed.splice(0)) run();
  }

  /** A command there and back. `run` is one step of the server. */
  async command<T>(connection: SimRedisConnection, run: () => T): Promise<T> {
    if (!connection.isReady) throw new Error("not connected");
    return await this.exchange(connection, run);
  }

  /** As `command`, on the connection of the subscription. */
  async exchange<T>(connection: SimRedisConnection, run: () => T): Promise<T> {
    this.counts.commands++;
    const isLost = this.#random.chance(this.weather.loss);
    const isDone = !isLost || this.#random.chance(0.5);
    if (isLost) this.counts.lost++;
    return await new Promise<T>((resolve, reject) => {
      const timeout = this.#simulation.after(COMMAND_TIMEOUT_MS, () => {
        if (!connection.isClosed) reject(new Error("command timed out"));
      });
      const serve = (): void => {
        if (!this.#isUp || !isDone) return;
        if (this.#isPaused) {
          this.#whenResumed.push(serve);
          return;
        }
        const result = run();
        if (isLost) return;
        this.#simulation.after(this.#delayMs(), () => {
          timeout();
          if (!connection.isClosed) resolve(result);
        });
      };
      // One connection carries commands in their order.
      connection.lastArrivalMs = Math.max(connection.lastArrivalMs, this.#simulation.nowMs + this.#delayMs());
      this.#simulation.after(connection.lastArrivalMs - this.#simulation.nowMs, serve);
    });
  }

  get(key: string): Uint8Array | undefined {
    const value = this.#values.get(key);
    if (value !== undefined && value.expiresMs > this.#simulation.nowMs) return value.bytes;
    this.#values.delete(key);
    return undefined;
  }

  /** As GET by a client, which a replica that is behind may answer. */
  read(key: string): Uint8Array | null {
    const old = this.#before.get(key);
    if (old !== undefined && this.#random.chance(this.weather.oldValue)) {
      this.counts.oldValues++;
      return old.bytes;
    }
    return this.get(key) ?? null;
  }

  set(key: string, bytes: Uint8Array, ttlMs: number): void {
    this.#keep(key);
    this.#values.set(key, { bytes: bytes.slice(), expiresMs: this.#simulation.nowMs + ttlMs });
  }

  delete(key: string): void {
    this.#keep(key);
    this.#values.delete(key);
  }

  deleteAll(prefix: string): void {
    for (const key of [...this.#values.keys()]) if (key.startsWith(prefix)) this.delete(key);
  }

  publish(channel: string, message: string): void {
    for (const connection of this.#connections) {
      if (connection.channel !== channel) continue;
      if (this.#random.chance(this.weather.lostMessage)) {
        this.counts.lostMessages++;
        continue;
      }
      this.#simulation.after(this.#delayMs(), () => connection.heard(channel, message));
    }
  }

  /** What a replica that is behind still has. Values only: leases are asked of the primary. */
  #keep(key: string): void {
    const value = this.#values.get(key);
    if (value !== undefined && key.endsWith("v")) this.#before.set(key, value);
  }

  #delayMs(): number {
    const { minDelayMs, maxDelayMs } = this.weather;
    return minDelayMs + this.#random.next() * (maxDelayMs - minDelayMs);
  }
}

/** Both connections of one process. They break with the server, and are opened again by themselves. */
export class SimRedisConnection implements RedisPort {
  readonly #redis: SimRedis;
  readonly #simulation: Simulation;
  readonly #events: RedisEvents;
  #isReady = false;
  #subscriberIsOpen = false;
  #isClosed = false;
  lastArrivalMs = 0;
  /** Subscribed to. */
  channel: string | undefined;

  constructor(redis: SimRedis, simulation: Simulation, events: RedisEvents) {
    this.#redis = redis;
    this.#simulation = simulation;
    this.#events = events;
    this.#simulation.after(1, () => this.#open());
  }

  get isReady(): boolean {
    return this.#isReady && !this.#isClosed;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  async get(key: string): Promise<Uint8Array | null> {
    return await this.#redis.command(this, () => this.#redis.read(key));
  }

  async getOrLease(value: string, lease: string, token: Uint8Array, leaseMs: number): ReturnType<RedisPort["getOrLease"]> {
    return await this.#redis.command(this, () => {
      const held = this.#redis.get(value);
      if (held !== undefined) return { value: held };
      const known = this.#redis.get(lease);
      if (known === undefined) this.#redis.set(lease, token, leaseMs);
      return { value: undefined, token: known ?? token };
    });
  }

  async fill(value: string, lease: string, token: Uint8Array, content: Uint8Array, ttlMs: number): Promise<void> {
    await this.#redis.command(this, () => {
      const held = this.#redis.get(lease);
      if (held !== undefined && Buffer.compare(held, token) === 0) this.#redis.set(value, content, ttlMs);
    });
  }

  async remove(keys: readonly string[], channel: string, message: string): Promise<void> {
    await this.#redis.command(this, () => {
      for (const key of keys) this.#redis.delete(key);
      this.#redis.publish(channel, message);
    });
  }

  async removeAll(prefix: string, channel: string, message: string): Promise<void> {
    await this.#redis.command(this, () => {
      this.#redis.deleteAll(prefix);
      this.#redis.publish(channel, message);
    });
  }

  async subscribe(channel: string): Promise<void> {
    if (!this.#subscriberIsOpen) throw new Error("not connected");
    await this.#redis.exchange(this, () => {
      if (this.#subscriberIsOpen) this.channel = channel;
    });
  }

  async pingSubscriber(): Promise<void> {
    if (!this.#subscriberIsOpen) throw new Error("not connected");
    await this.#redis.exchange(this, () => undefined);
  }

  reconnectSubscriber(): void {
    this.#closeSubscriber();
    this.#simulation.after(RECONNECT_MS, () => this.#open());
  }

  close(): void {
    this.#isClosed = true;
    this.channel = undefined;
    this.#redis.disconnected(this);
  }

  /** The server is gone. */
  lost(): void {
    this.#isReady = false;
    this.#closeSubscriber();
    this.#simulation.after(RECONNECT_MS, () => this.#open());
  }

  heard(channel: string, message: string): void {
    if (!this.#isClosed && this.channel === channel) this.#events.message(message);
  }

  #open(): void {
    if (this.#isClosed) return;
    if (!this.#redis.isUp) {
      this.#simulation.after(RECONNECT_MS, () => this.#open());
      return;
    }
    this.#isReady = true;
    if (this.#subscriberIsOpen) return;
    this.#subscriberIsOpen = true;
    this.#events.subscriberReady();
  }

  #closeSubscriber(): void {
    this.channel = undefined;
    if (!this.#subscriberIsOpen) return;
    this.#subscriberIsOpen = false;
    if (!this.#isClosed) this.#events.subscriberClosed();
  }
}
