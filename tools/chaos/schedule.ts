/** Which faults come in which order, drawn from a seed. Their targets are chosen when they come, from the same seed and who leads then. */
import { SimRandom } from "@statemesh/simulator";
import type { FaultKind } from "./fault.ts";

/** A fault to come. */
export interface Planned {
  readonly kind: FaultKind;
  /** How long it lasts. */
  readonly seconds: number;
  readonly seed: number;
}

/** Faults of one time, and the rest after them. */
export interface Step {
  readonly fault: Planned;
  /** Comes a second later. */
  readonly company: Planned | undefined;
  readonly restSeconds: number;
}

const REST_S = [2, 4] as const;
/** Of faults that may have company, how many get it. */
const COMPANY = 0.3;

/** Faults by a seed. */
export interface Schedule {
  /** Endless, unless there are none: every kind comes once before one comes twice. */
  readonly steps: Iterable<Step>;
  /** What comes at the end, once, because it stays. */
  readonly last: Planned | undefined;
}

export function schedule(seed: number, kinds: readonly FaultKind[]): Schedule {
  const random = new SimRandom(seed);
  const lasting = kinds.filter((kind) => kind.lastly === true);
  const last = lasting.length === 0 ? undefined : plan(random.pick(lasting), random);
  return { steps: stepsOf(random, kinds.filter((kind) => kind.lastly !== true)), last };
}

function plan(kind: FaultKind, random: SimRandom): Planned {
  return { kind, seconds: random.between(...kind.seconds), seed: random.u32() };
}

function* stepsOf(random: SimRandom, kinds: readonly FaultKind[]): Generator<Step, void> {
  let deck: FaultKind[] = [];
  for (;;) {
    if (deck.length === 0) deck = shuffled(kinds, random);
    const kind = deck.shift();
    if (kind === undefined) return;
    const fault = plan(kind, random);
    const at = kind.alone !== true && random.chance(COMPANY) ? deck.findIndex((other) => other.alone !== true) : -1;
    const company = at < 0 ? undefined : deck.splice(at, 1)[0];
    yield { fault, company: company === undefined ? undefined : plan(company, random), restSeconds: random.between(...REST_S) };
  }
}

function shuffled<T>(list: readonly T[], random: SimRandom): T[] {
  const left = [...list];
  const out: T[] = [];
  while (left.length > 0) out.push(...left.splice(random.between(0, left.length - 1), 1));
  return out;
}
