import type { Simulation } from "./simulation.ts";
import type { Outcome, RunOptions, Violation } from "./tier.ts";

/** Lines that one run may trace; what a person, or a disk, can take. */
const TRACE_LINES_MAX = 5_000_000;

/**
 * What happens in a run: a trace with its hash, counts, and the first violation. The hash is over names and values, not over lines, so
 * that a run without a trace costs little and has the same hash.
 */
export class Recorder {
  readonly #simulation: Simulation;
  readonly #sink: ((line: string) => void) | undefined;
  readonly #names = new Map<string, number>();
  readonly #faults = new Map<string, number>();
  readonly #sometimes = new Map<string, number>();
  readonly #types = new Map<string, number>();
  readonly #violations: Violation[] = [];
  #lines = 0;
  #low = 0x811c9dc5;
  #high = 0x9e3779b9;
  operations = 0;

  constructor(simulation: Simulation, options: RunOptions = {}) {
    this.#simulation = simulation;
    this.#sink = options.trace;
  }

  /** Whether a line would be read: build costly text for `note` only then. */
  get isTraced(): boolean {
    return this.#sink !== undefined;
  }

  /** A rule did not hold: the run is to end. */
  get isOver(): boolean {
    return this.#violations.length > 0;
  }

  /** Something happened. Give `name` as a constant, and what differs as values. */
  note(name: string, ...values: (number | string)[]): void {
    this.#mix(this.#nameHash(name));
    this.#mixNumber(this.#simulation.nowMs);
    for (const value of values) {
      if (typeof value === "number") this.#mixNumber(value);
      else this.#mix(hashOf(value));
    }
    this.#trace(name, values);
  }

  /** A fault took effect. */
  fault(kind: string, ...values: (number | string)[]): void {
    this.#faults.set(kind, (this.#faults.get(kind) ?? 0) + 1);
    this.note("fault", kind, ...values);
  }

  /** Something rare came about. */
  sometimes(name: string): void {
    this.#sometimes.set(name, (this.#sometimes.get(name) ?? 0) + 1);
  }

  /** An operation of a type was answered. `what`: how. */
  ofType(type: string, what: string): void {
    const name = `${type} ${what}`;
    this.#types.set(name, (this.#types.get(name) ?? 0) + 1);
  }

  /** A rule did not hold. Only the first counts: what follows from it says nothing new. */
  violation(kind: string, message: string): void {
    if (this.isOver) return;
    this.#violations.push({ kind, message, atMs: this.#simulation.nowMs });
    this.note("violation", kind, message);
  }

  outcome(): Outcome {
    const { seed, nowMs, eventsRun } = this.#simulation;
    const hex = (part: number): string => (part >>> 0).toString(16).padStart(8, "0");
    return {
      seed, simulatedMs: nowMs, events: eventsRun, operations: this.operations,
      faults: sorted(this.#faults), sometimes: sorted(this.#sometimes), types: sorted(this.#types), violations: this.#violations,
      hash: hex(this.#high) + hex(this.#low),
    };
  }

  #trace(name: string, values: readonly (number | string)[]): void {
    if (this.#sink === undefined || this.#lines >= TRACE_LINES_MAX) return;
    this.#lines++;
    this.#sink(`${this.#simulation.nowMs.toFixed(3).padStart(11)} ${name}${values.map((value) => ` ${value}`).join("")}`);
  }

  #nameHash(name: string): number {
    let hash = this.#names.get(name);
    if (hash === undefined) {
      hash = hashOf(name);
      this.#names.set(name, hash);
    }
    return hash;
  }

  #mixNumber(value: number): void {
    if (Number.isInteger(value) && value >= 0 && value < 0x1_0000_0000) {
      this.#mix(value);
      return;
    }
    SCRATCH.setFloat64(0, value);
    this.#mix(SCRATCH.getUint32(0));
    this.#mix(SCRATCH.getUint32(4));
  }

  #mix(word: number): void {
    this.#low = Math.imul(this.#low ^ word, 0x01000193);
    this.#low ^= this.#low >>> 15;
    this.#high = (Math.imul(this.#high ^ this.#low, 0x85ebca6b) + word) | 0;
    this.#high ^= this.#high >>> 13;
  }
}

const SCRATCH = new DataView(new ArrayBuffer(8));

function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}

function sorted(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
