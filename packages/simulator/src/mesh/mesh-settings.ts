// The swarm configuration of a mesh run: what the seed draws up front.
import type { PlainRecord, PlainValue } from "../tier.ts";
import type { SimRandom } from "../sim-random.ts";

/** A type and not an interface, so that it is a plain record. */
export type MeshSettings = {
  readonly nodes: number;
  /** Groups that hold regions. */
  readonly groups: number;
  readonly arbiters: number;
  readonly hasStore: boolean;
  /** Where there is a store: a second one before the same database, and a Redis between their caches. */
  readonly hasRedis: boolean;
  readonly shards: number;
  readonly subscribers: number;
  /** Regions of one group that shards fight for. */
  readonly regionsPerGroup: number;
  readonly tickMs: number;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  readonly balanceTicks: number;
  readonly leaseReads: boolean;
  readonly snapshotLogBytes: number;
  readonly trailingEntries: number;
  readonly segmentBytes: number;
  readonly decisionWindow: number;
  readonly touchCapacity: number;
  readonly queueCapacity: number;
  readonly leaseMs: number;
  readonly registrationTtlMs: number;
  readonly arbiterTimeoutMs: number;
  /** Milliseconds of the phase with faults. */
  readonly safetyMs: number;
  readonly paceMs: number;
  readonly mischief: number;
  readonly leasing: boolean;
  /** Shards hand regions to each other. */
  readonly handoffs: boolean;
  /** Share of the operations that are to be kept where their node is cut off. */
  readonly tentative: number;
  /** Regions that the directory may bring a shard to by itself. */
  readonly maxRegions: number;
  readonly names: number;
  /** Share of the boxes that lie across a border between two regions. */
  readonly borders: number;
  /** Share of the structures that name a plot beside their place: of those that come together, in whatever regions, one is built. */
  readonly plots: number;
  /** Share of the operations that have to do with containers. */
  readonly containers: number;
  /** Share of the operations that send creatures and entities of own types from region to region, and from group to group. */
  readonly travellers: number;
  /** Share of the operations that have to do with escrows. */
  readonly escrows: number;
  /** Shards hold regions on both sides of a border between two groups. */
  readonly facing: boolean;
  readonly slowReaderMs: number;
  /** Share of the readers that walk: with an area that moves, instead of regions. */
  readonly walking: number;
  readonly keepaliveMs: number;
  readonly restartMs: number;
  readonly maxDelayMs: number;
  readonly maxSyncMs: number;
  /** Kinds of fault that this run has, with commas between; empty: those of its classes. */
  readonly faults: string;
  /** Text of a policy file that nodes and arbiters go by; empty: the simulator's own, `studio-policy.ts`. */
  readonly policy: string;
  /** Share of the operations, and of what is published, that are of the policy's own types. */
  readonly ownTypes: number;
  /** Which classes of faults this run has, as bits in the order of `FAULT_CLASSES`. */
  readonly faultClasses: number;
  /** Mean milliseconds between two faults. */
  readonly faultEveryMs: number;
  /** Machines with a node that waits to be taken into the cluster. */
  readonly spares: number;
  /** Nodes that begin with a build that speaks version 1 only: those of the lowest ids. */
  readonly oldNodes: number;
};

export const SHARDS_MAX = 4;

export const FAULT_CLASSES = ["network", "weather", "process", "disk", "clock", "arbiter", "store", "clients", "operators", "loss of data", "members", "versions", "shards"] as const;

/** Load is what a run costs: one under much of it is over sooner. Milliseconds of faults at most, for each of the pace. */
const SAFETY_MS_A_PACE = 800;

/** Share of a policy's own types where the policy is given. */
const OWN_TYPES_OF_A_STUDIO = 0.6;

/** Classes that came later are drawn last, so that what a seed drew before stays. */
const FIRST_CLASSES = 10;

export function drawSettings(random: SimRandom, hints: PlainRecord): MeshSettings {
  const tickMs = random.pick([20, 50, 50, 100]);
  const heartbeatTicks = random.between(1, 3);
  // Above the heartbeat and the margin for clocks together, so that leases are allowed.
  const electionTicks = heartbeatTicks + random.between(4, 12);
  let faultClasses = 0;
  for (let bit = 0; bit < FIRST_CLASSES; bit++) if (random.chance(0.5)) faultClasses |= 1 << bit;
  const drawn: MeshSettings = {
    nodes: random.pick([3, 3, 3, 4, 5]),
    groups: random.pick([1, 1, 2, 3]),
    arbiters: random.between(0, 2),
    hasStore: random.chance(0.6),
    shards: random.between(1, SHARDS_MAX),
    subscribers: random.between(0, 3),
    regionsPerGroup: random.between(1, 3),
    tickMs,
    electionTicks,
    heartbeatTicks,
    balanceTicks: random.pick([0, 60]),
    leaseReads: random.chance(0.4),
    snapshotLogBytes: random.pick([8_192, 32_768, 262_144, 67_108_864]),
    trailingEntries: random.pick([0, 8, 256]),
    segmentBytes: random.pick([16_384, 131_072, 4_194_304]),
    decisionWindow: random.pick([64, 1_024, 65_536]),
    touchCapacity: random.pick([64, 4_096]),
    queueCapacity: random.pick([16, 256, 16_384]),
    leaseMs: random.pick([1_500, 3_000]),
    registrationTtlMs: random.pick([4_000, 10_000]),
    arbiterTimeoutMs: random.pick([50, 500]),
    safetyMs: random.between(10, 40) * 1_000,
    paceMs: random.pick([10, 40, 150, 150, 400]),
    mischief: random.pick([0, 0.05, 0.2]),
    leasing: random.chance(0.6),
    names: random.pick([3, 12, 60]),
    slowReaderMs: random.pick([1, 50, 2_000]),
    keepaliveMs: random.pick([500, 2_500, 5_000]),
    restartMs: random.pick([200, 1_000, 3_000]),
    maxDelayMs: random.pick([1, 5, 20]),
    maxSyncMs: random.pick([1, 5, 15]),
    borders: random.pick([0, 0.1, 0.4]),
    faults: "",
    policy: "",
    ownTypes: 0,
    faultClasses,
    faultEveryMs: random.pick([400, 1_500, 4_000]),
    spares: 0,
    oldNodes: 0,
    handoffs: false,
    maxRegions: 0,
    tentative: 0,
    plots: 0,
    containers: 0,
    escrows: 0,
    walking: 0,
    facing: false,
    travellers: 0,
    hasRedis: false,
  };
  const withMembers = { ...drawn, ...drawMembers(random, drawn) };
  const safetyMs = Math.min(drawn.safetyMs, drawn.paceMs * SAFETY_MS_A_PACE);
  return overruled({ ...withMembers, ...drawShards(random, withMembers), safetyMs, plots: random.pick([0, 0, 0.3]), containers: random.pick([0, 0, 0.3]), walking: random.pick([0, 0.5, 1]), facing: drawn.borders > 0 && random.chance(0.6), ownTypes: random.pick([0, 0, 0.3]), travellers: random.pick([0, 0.1, 0.4]), hasRedis: drawn.hasStore && random.chance(0.5), escrows: random.pick([0, 0.2]) }, hints);
}

/** Who comes and goes, and with which builds. */
function drawMembers(random: SimRandom, { nodes, faultClasses }: MeshSettings): Pick<MeshSettings, "spares" | "oldNodes" | "faultClasses"> {
  const members = random.chance(0.4);
  const versions = random.chance(0.25);
  return {
    spares: members ? random.between(1, 2) : 0,
    oldNodes: versions ? random.pick([1, nodes, nodes]) : 0,
    faultClasses: faultClasses | (members ? 1 << FAULT_CLASSES.indexOf("members") : 0) | (versions ? 1 << FAULT_CLASSES.indexOf("versions") : 0),
  };
}

/** What shards do with regions, and what becomes of shards. */
function drawShards(random: SimRandom, { faultClasses }: MeshSettings): Pick<MeshSettings, "handoffs" | "maxRegions" | "faultClasses" | "tentative"> {
  return {
    handoffs: random.chance(0.6),
    maxRegions: random.pick([0, 0, 1, 64]),
    faultClasses: faultClasses | (random.chance(0.4) ? 1 << FAULT_CLASSES.indexOf("shards") : 0),
    tentative: random.pick([0, 0.3, 1]),
  };
}

function overruled(settings: MeshSettings, hints: PlainRecord): MeshSettings {
  const known: Record<string, PlainValue> = { ...settings };
  for (const [name, value] of Object.entries(hints)) {
    if (typeof known[name] !== typeof value) throw new RangeError(`no such setting of the mesh, or another type: ${name}`);
  }
  const all = { ...settings, ...hints };
  // Who brings a policy wants to see what becomes of it.
  return "policy" in hints && !("ownTypes" in hints) ? { ...all, ownTypes: settings.ownTypes === 0 ? OWN_TYPES_OF_A_STUDIO : settings.ownTypes } : all;
}
