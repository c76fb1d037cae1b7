import type { SimRandom } from "./sim-random.ts";
import type { Simulation } from "./simulation.ts";

/** How a network treats messages. All may be changed while it runs. */
export interface NetworkWeather {
  /** Shortest and longest delay, milliseconds, uniform between. */
  minDelayMs: number;
  maxDelayMs: number;
  /** Probability that a message is lost. */
  loss: number;
  /** Probability that a message arrives twice. */
  duplication: number;
  /** Probability that a message, or its double, is held up, and for how long at most, milliseconds. */
  straggling: number;
  maxStraggleMs: number;
  /** Whether a pair's messages arrive in the order sent, as on one stream; else delays reorder them. */
  ordered: boolean;
}

export const FAIR_WEATHER: NetworkWeather = { minDelayMs: 0.2, maxDelayMs: 1, loss: 0, duplication: 0, straggling: 0, maxStraggleMs: 0, ordered: true };

/** Messages under way at once; further ones are lost, and counted. */
const MAX_IN_FLIGHT = 100_000;

/** Endpoints are numbers below this. */
const ENDPOINTS = 1_000_000;

/** A network of endpoints named by numbers, on virtual time. */
export class SimNetwork<Message> {
  readonly #simulation: Simulation;
  readonly #random: SimRandom;
  readonly #receivers = new Map<number, (from: number, message: Message) => void>();
  /** Directed pairs over which nothing passes. */
  readonly #blocked = new Set<number>();
  /** By endpoint: how much later everything reaches it, milliseconds. */
  readonly #lateMs = new Map<number, number>();
  readonly #lastArrivalMs = new Map<number, number>();
  #inFlight = 0;
  /** How often everything under way was dropped. */
  #drops = 0;
  weather: NetworkWeather;
  /** What is not let through vanishes, such as messages above a size. */
  passes: (message: Message) => boolean = () => true;
  readonly counts = { sent: 0, delivered: 0, lost: 0, duplicated: 0, blocked: 0, overflowed: 0 };

  constructor(simulation: Simulation, weather: NetworkWeather = FAIR_WEATHER) {
    this.#simulation = simulation;
    this.#random = simulation.random.fork();
    this.weather = weather;
  }

  attach(endpoint: number, receive: (from: number, message: Message) => void): void {
    this.#receivers.set(endpoint, receive);
  }

  /** The endpoint is gone; what is on its way to it is lost. */
  detach(endpoint: number): void {
    this.#receivers.delete(endpoint);
  }

  send(from: number, to: number, message: Message): void {
    const { weather } = this;
    this.counts.sent++;
    if (this.#random.chance(weather.loss) || !this.passes(message)) {
      this.counts.lost++;
      return;
    }
    this.#carry(from, to, message);
    if (this.#random.chance(weather.duplication)) {
      this.counts.duplicated++;
      this.#carry(from, to, message);
    }
  }

  /** Nothing passes from `from` to `to`; the other way is not touched. What is on its way is lost. */
  block(from: number, to: number): void {
    this.#blocked.add(pair(from, to));
  }

  /** What is sent to `endpoint` from now on comes `ms` later than it would; what it sends does not. */
  delay(endpoint: number, ms: number): void {
    this.#lateMs.set(endpoint, ms);
  }

  /** Endpoints of different sides no longer hear each other; endpoints that no side names hear nobody. */
  partition(...sides: readonly number[][]): void {
    this.#blocked.clear();
    const endpoints = [...this.#receivers.keys()].sort((a, b) => a - b);
    for (const side of sides) for (const endpoint of side) if (!endpoints.includes(endpoint)) endpoints.push(endpoint);
    const sideOf = (endpoint: number): number => sides.findIndex((side) => side.includes(endpoint));
    for (const from of endpoints) {
      for (const to of endpoints) if (from !== to && (sideOf(from) < 0 || sideOf(from) !== sideOf(to))) this.block(from, to);
    }
  }

  heal(): void {
    this.#blocked.clear();
    this.#lateMs.clear();
  }

  /** What is on its way is lost. */
  drop(): void {
    this.#drops++;
  }

  #carry(from: number, to: number, message: Message): void {
    if (this.#inFlight >= MAX_IN_FLIGHT) {
      this.counts.overflowed++;
      return;
    }
    const { minDelayMs, maxDelayMs, straggling, maxStraggleMs, ordered } = this.weather;
    const key = pair(from, to);
    let arrivalMs = this.#simulation.nowMs + minDelayMs + this.#random.next() * (maxDelayMs - minDelayMs);
    if (this.#random.chance(straggling)) arrivalMs += this.#random.next() * maxStraggleMs;
    arrivalMs += this.#lateMs.get(to) ?? 0;
    if (ordered) arrivalMs = Math.max(arrivalMs, this.#lastArrivalMs.get(key) ?? 0);
    this.#lastArrivalMs.set(key, arrivalMs);
    this.#inFlight++;
    const drops = this.#drops;
    this.#simulation.after(arrivalMs - this.#simulation.nowMs, () => {
      this.#inFlight--;
      // Also what was sent before the path was cut: a reset loses what is under way.
      if (drops !== this.#drops || this.#blocked.has(key)) {
        this.counts.blocked++;
        return;
      }
      const receive = this.#receivers.get(to);
      if (receive === undefined) {
        this.counts.lost++;
        return;
      }
      this.counts.delivered++;
      receive(from, message);
    });
  }
}

/** One number for a directed pair of endpoints. */
function pair(from: number, to: number): number {
  return from * ENDPOINTS + to;
}
