/** What settings and arguments are made of: plain data, so that a plan can be printed, passed between threads and shrunk. */
export type PlainValue = number | string | boolean | readonly number[];

/** A name for each value. */
export type PlainRecord = Readonly<Record<string, PlainValue>>;

/** One thing that goes wrong, at a moment of virtual time. What it hits is in `args`; a fault that finds its target gone does nothing. */
export interface Fault {
  /** Milliseconds since the start of the simulation. */
  readonly atMs: number;
  /** One of the tier's `faultKinds`. */
  readonly kind: string;
  readonly args: PlainRecord;
}

/**
 * Everything about a run that is drawn up front from its seed. Leaving faults out gives a plan that runs as well, which is how
 * a violation is shrunk to what causes it.
 */
export interface Plan<Settings extends PlainRecord = PlainRecord> {
  /** The swarm configuration: which features are on, how many nodes, what the network is like. */
  readonly settings: Settings;
  /** In the order of their time. */
  readonly faults: readonly Fault[];
}

/** A rule that did not hold. */
export interface Violation {
  /** Name of the invariant, for example `election safety`. */
  readonly kind: string;
  readonly message: string;
  /** Milliseconds of virtual time. */
  readonly atMs: number;
}

/** How often each name occurred. */
export type Counts = Readonly<Record<string, number>>;

/** What a run showed. Two runs of one seed and plan are equal in every field. */
export interface Outcome {
  readonly seed: number;
  /** Milliseconds of virtual time. */
  readonly simulatedMs: number;
  /** Events of the simulation. */
  readonly events: number;
  /** Requests of simulated clients that were answered. */
  readonly operations: number;
  /** Faults that took effect, by kind. */
  readonly faults: Counts;
  /** How often something rare came about; see the tier's `sometimes`. */
  readonly sometimes: Counts;
  /** Answers by type of operation: the type, a blank, and what the answer was. Empty where the tier has no types. */
  readonly types: Counts;
  /** Empty where every rule held. A run ends at its first violation. */
  readonly violations: readonly Violation[];
  /** Over everything that happened, in hexadecimal. */
  readonly hash: string;
}

export interface RunOptions {
  /** Takes each line of the trace. The hash does not depend on it. */
  readonly trace?: (line: string) => void;
}

/** A part of the system under simulation: one process, virtual time, faults from a plan, rules that are held against all that happens. */
export interface Tier<Settings extends PlainRecord = PlainRecord> {
  readonly name: string;
  /** Every kind of fault that a plan may hold; the summary names those that no run had. */
  readonly faultKinds: readonly string[];
  /** Everything rare that runs should come across; the summary names what none did. */
  readonly sometimes: readonly string[];
  /** The plan of a seed. `hints` overrule what the seed draws of the settings: they lead the search for one planted bug to where it shows. */
  plan(seed: number, hints?: PlainRecord): Plan<Settings>;
  /** Runs a plan to its end or its first violation. Rejects only where the simulator itself is broken. */
  run(seed: number, plan: Plan<Settings>, options?: RunOptions): Promise<Outcome>;
}
