import type { SimRandom } from "../sim-random.ts";
import type { PlainRecord } from "../tier.ts";

/** What differs from one simulated group to another: each seed turns some features on and others off. */
export type RaftSettings = {
  /** Nodes that there are; the bootstrap configuration is of some of them. */
  readonly nodes: number;
  readonly bootstrap: readonly number[];
  /** `weighted`, `majority`, or `mixed`: nodes of both, as in a rolling change. */
  readonly quorum: string;
  readonly checkQuorum: boolean;
  readonly leaseReads: boolean;
  /** Groups with nothing to do fall asleep. */
  readonly quiescence: boolean;
  readonly maxMessageBytes: number;
  readonly maxInflightMessages: number;
  /** Applied entries from one snapshot to the next, and entries that stay behind it at most. */
  readonly snapshotEvery: number;
  readonly trailing: number;
  readonly segmentBytes: number;
  /** Per cent by which clocks run fast or slow, at most. */
  readonly driftPercent: number;
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
  readonly loss: number;
  readonly duplication: number;
  readonly straggling: number;
  readonly maxStraggleMs: number;
  readonly ordered: boolean;
  readonly maxSyncMs: number;
  /** Registers, and the longest time from one request to the next. */
  readonly keys: number;
  readonly requestEveryMs: number;
  /** How long clients rest now and then; 0: never. */
  readonly restMs: number;
  readonly valueBytes: number;
  /** Of the requests. */
  readonly readShare: number;
  /** How long faults go on, and the longest time from one to the next. */
  readonly troubleMs: number;
  readonly faultEveryMs: number;
  /** Kinds of fault that occur, with commas between. */
  readonly faults: string;
  /** After the faults only as many nodes as can decide come back. */
  readonly coreOnly: boolean;
};

export const RAFT_FAULTS = [
  "partition", "isolate", "one way", "mute", "late", "bridge", "heal", "weather", "large messages lost", "crash", "crash of all", "pause", "clock rate", "transfer", "campaign", "slow disk",
  "stuck disk", "disk full", "sync fails", "unreachable", "reconfigure",
] as const;
export type RaftFault = (typeof RAFT_FAULTS)[number];

/** The settings of a seed, where `hints` do not overrule them. */
export function drawSettings(random: SimRandom, hints: PlainRecord): RaftSettings {
  const changing = random.chance(0.6);
  // The lowest id is not always there from the start; some nodes wait to join.
  const nodes = given(hints, "nodes", random.pick([1, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6]) + (changing ? random.pick([0, 1, 2]) : 0));
  const ids = Array.from({ length: nodes }, (_, n) => n + 1);
  const leaseReads = random.chance(0.35);
  const enabled = RAFT_FAULTS.filter((kind) => (kind === "reconfigure" ? changing : kind === "heal" || random.chance(0.55)));
  const maxDelayMs = random.pick([1, 1, 5, 40, 120]);
  return {
    nodes,
    bootstrap: changing ? sample(random, ids) : ids,
    quorum: random.pick(["weighted", "weighted", "majority", "mixed"]),
    checkQuorum: leaseReads || random.chance(0.85),
    leaseReads,
    quiescence: random.chance(0.35),
    maxMessageBytes: random.pick([40, 150, 1000]),
    maxInflightMessages: random.pick([1, 4, 8]),
    snapshotEvery: random.pick([10, 25, 100, 1000]),
    trailing: random.pick([0, 3, 10]),
    segmentBytes: random.pick([600, 4000, 100_000]),
    driftPercent: leaseReads ? random.pick([0, 4]) : random.pick([0, 5, 30]),
    minDelayMs: 0.1,
    maxDelayMs,
    loss: random.pick([0, 0, 0.02, 0.15]),
    duplication: random.pick([0, 0, 0.1]),
    straggling: random.pick([0, 0.02, 0.1]),
    maxStraggleMs: random.pick([200, 1500]),
    ordered: random.chance(0.4),
    maxSyncMs: random.pick([1, 1, 20, 80]),
    keys: random.pick([1, 3, 8]),
    requestEveryMs: random.pick([10, 30, 80]),
    restMs: random.pick([0, 0, 600]),
    valueBytes: random.pick([8, 8, 60]),
    readShare: random.pick([0.1, 0.4]),
    troubleMs: random.pick([3000, 6000, 10_000]),
    faultEveryMs: random.pick([60, 250, 800]),
    faults: enabled.join(),
    coreOnly: random.chance(0.4),
    ...hints,
  };
}

/** Some of the nodes, at least one. */
export function sample(random: SimRandom, ids: readonly number[]): number[] {
  const some = ids.filter(() => random.chance(0.6));
  return some.length > 0 ? some : [random.pick(ids)];
}

function given(hints: PlainRecord, name: string, drawn: number): number {
  const hint = hints[name];
  return typeof hint === "number" ? hint : drawn;
}
