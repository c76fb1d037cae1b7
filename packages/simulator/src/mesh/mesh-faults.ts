// The faults of a mesh run: drawn up front from the seed, so that a plan can be shrunk by leaving some out.
import type { Fault, PlainRecord } from "../tier.ts";
import type { SimRandom } from "../sim-random.ts";
import { FAULT_CLASSES, type MeshSettings, SHARDS_MAX } from "./mesh-settings.ts";

type Draw = (random: SimRandom, nodes: number) => PlainRecord;

const node = (random: SimRandom, nodes: number): number => random.between(1, nodes);
const pair = (random: SimRandom, nodes: number): { from: number; to: number } => {
  const from = node(random, nodes);
  const to = 1 + ((from - 1 + random.between(1, nodes - 1)) % nodes);
  return { from, to };
};
const shard = (random: SimRandom): number => random.between(1, SHARDS_MAX);
const some = (random: SimRandom, nodes: number): number[] => Array.from({ length: nodes }, (_, at) => at + 1).filter(() => random.chance(0.5));
/** Milliseconds: mostly short, at times long. */
const lasting = (random: SimRandom): number => (random.chance(0.2) ? random.between(3_000, 12_000) : random.between(50, 3_000));

/** Every kind, by its class. */
const KINDS: Readonly<Record<(typeof FAULT_CLASSES)[number], Readonly<Record<string, Draw>>>> = {
  network: {
    "one-way cut": (random, nodes) => ({ ...pair(random, nodes), ms: lasting(random) }),
    isolate: (random, nodes) => ({ node: node(random, nodes), ms: lasting(random) }),
    partition: (random, nodes) => ({ side: some(random, nodes), ms: lasting(random) }),
    "three-way partition": (random, nodes) => ({ sides: Array.from({ length: nodes }, () => random.between(0, 2)), ms: lasting(random) }),
    bridge: (random, nodes) => ({ node: node(random, nodes), side: some(random, nodes), ms: lasting(random) }),
    ring: (random) => ({ ms: lasting(random) }),
    flapping: (random, nodes) => ({ ...pair(random, nodes), times: random.between(3, 12), everyMs: random.between(50, 400) }),
    reset: (random, nodes) => ({ ...pair(random, nodes), halfOpen: random.chance(0.5) }),
  },
  weather: {
    lossy: (random) => ({ loss: random.next() * 0.2, ms: lasting(random) }),
    doubling: (random) => ({ duplication: random.next() * 0.2, ms: lasting(random) }),
    straggling: (random) => ({ meanMs: random.between(5, 150), ms: lasting(random) }),
    "clogged path": (random, nodes) => ({ ...pair(random, nodes), bandwidth: random.between(1, 50), ms: lasting(random) }),
    "slow peer": (random, nodes) => ({ node: node(random, nodes), delayMs: random.between(20, 400), ms: lasting(random) }),
    "large frames stuck": (random) => ({ bytes: random.pick([300, 1_000, 8_000]), ms: lasting(random) }),
  },
  process: {
    kill: (random, nodes) => ({ node: node(random, nodes) }),
    "power cut": (random, nodes) => ({ node: node(random, nodes) }),
    "power cut for all": () => ({}),
    "crash loop": (random, nodes) => ({ node: node(random, nodes), times: random.between(3, 8), everyMs: random.between(200, 1_500) }),
    pause: (random, nodes) => ({ node: node(random, nodes), ms: lasting(random) }),
    "pause of the leader": (random) => ({ ms: lasting(random) }),
    "kill of the leader": () => ({}),
  },
  disk: {
    "disk full": (random, nodes) => ({ node: node(random, nodes), leftBytes: random.between(0, 4_096), ms: lasting(random) }),
    "slow disk": (random, nodes) => ({ node: node(random, nodes), maxSyncMs: random.between(20, 500), ms: lasting(random) }),
    "stuck disk": (random, nodes) => ({ node: node(random, nodes), ms: lasting(random) }),
    "sync fails": (random, nodes) => ({ node: node(random, nodes) }),
    "write fails": (random, nodes) => ({ node: node(random, nodes) }),
    "read fails": (random, nodes) => ({ node: node(random, nodes), ms: lasting(random) }),
  },
  clock: {
    "clock jump": (random, nodes) => ({ node: node(random, nodes), ms: random.between(-600_000, 600_000) }),
    "clock skew": (random, nodes) => ({ node: node(random, nodes), ms: random.between(-300, 300) }),
    "clock drift": (random, nodes) => ({ node: node(random, nodes), permille: random.between(-10, 10) }),
    "clock strobe": (random, nodes) => ({ node: node(random, nodes), ms: random.between(10, 400), times: random.between(5, 30), everyMs: random.between(5, 100) }),
  },
  arbiter: {
    "arbiter away": (random) => ({ arbiter: random.between(0, 1), ms: lasting(random) }),
    "arbiter silent": (random) => ({ arbiter: random.between(0, 1), ms: lasting(random) }),
    "arbiter slow": (random) => ({ arbiter: random.between(0, 1), ms: lasting(random) }),
    "arbiter of another policy": (random) => ({ arbiter: random.between(0, 1), ms: lasting(random) }),
    "arbiter of another version": (random) => ({ arbiter: random.between(0, 1), ms: lasting(random) }),
  },
  store: {
    "store killed": (random) => ({ ms: lasting(random) }),
    "store cut off": (random) => ({ ms: lasting(random) }),
    "store unheard": (random) => ({ loss: 0.1 + random.next() * 0.4, ms: lasting(random) }),
    "store slow": (random) => ({ ms: lasting(random) }),
    "store aborts": (random) => ({ ms: lasting(random) }),
    "store refuses": (random) => ({ ms: lasting(random) }),
    "store commits unheard": (random) => ({ ms: lasting(random) }),
    "failover of the database": (random) => ({ ms: lasting(random) }),
    "redis down": (random) => ({ ms: lasting(random) }),
    "redis hangs": (random) => ({ ms: lasting(random) }),
    "redis flushed": () => ({}),
    "redis answers lost": (random) => ({ loss: 0.05 + random.next() * 0.3, ms: lasting(random) }),
    "redis answers old values": (random) => ({ share: 0.1 + random.next() * 0.3, ms: lasting(random) }),
    "redis messages lost": (random) => ({ share: 0.1 + random.next() * 0.4, ms: lasting(random) }),
  },
  clients: {
    "shards cut off": (random, nodes) => ({ node: node(random, nodes), ms: lasting(random) }),
    "readers move": () => ({}),
    "idle streams": (random, nodes) => ({ node: node(random, nodes), count: random.pick([100, 1_000, 10_000]), ms: lasting(random) }),
  },
  operators: {
    "leadership transfer": (random, nodes) => ({ node: node(random, nodes), group: random.between(0, 3) }),
    "step down": (random, nodes) => ({ node: node(random, nodes) }),
    "snapshot now": (random, nodes) => ({ node: node(random, nodes), group: random.between(0, 3) }),
  },
  "loss of data": {
    reformat: (random, nodes) => ({ node: node(random, nodes) }),
    "snapshot rot": (random, nodes) => ({ node: node(random, nodes), place: random.next(), bit: random.between(0, 7) }),
    "misdirected write": (random, nodes) => ({ node: node(random, nodes), from: random.next(), to: random.next() }),
    "bit rot": (random, nodes) => ({ node: node(random, nodes), place: random.next(), bit: random.between(0, 7) }),
  },
  members: {
    "node added": (random) => ({ named: random.chance(0.5) }),
    "node removed": (random, nodes) => ({ node: node(random, nodes), named: random.chance(0.5) }),
    "leader removed": (random) => ({ group: random.between(0, 3), named: random.chance(0.5) }),
    "node replaced": (random, nodes) => ({ node: node(random, nodes), named: random.chance(0.5) }),
    "wiped node replaced": (random, nodes) => ({ node: node(random, nodes), named: random.chance(0.5) }),
    "change cancelled": () => ({}),
    "node drained": (random, nodes) => ({ node: node(random, nodes), ms: lasting(random) }),
  },
  shards: {
    "shard killed": (random) => ({ shard: shard(random), ms: lasting(random) }),
    "shard paused": (random) => ({ shard: shard(random), ms: lasting(random) }),
    "shard cut off": (random) => ({ shard: shard(random), ms: lasting(random) }),
    "shard flapping": (random) => ({ shard: shard(random), times: random.between(3, 12), everyMs: random.between(50, 1_500) }),
  },
  versions: {
    upgrade: (random, nodes) => ({ node: node(random, nodes) }),
    "older build": (random, nodes) => ({ node: node(random, nodes), ms: lasting(random) }),
  },
};

export const MESH_FAULT_KINDS: readonly string[] = Object.values(KINDS).flatMap((kinds) => Object.keys(kinds));

/** A run has some kinds of a class, not all: what always comes together hides what each does alone. */
function ofClasses(random: SimRandom, classes: number): [string, Draw][] {
  const draws: [string, Draw][] = [];
  for (const [bit, name] of FAULT_CLASSES.entries()) {
    if ((classes & (1 << bit)) === 0) continue;
    for (const entry of Object.entries(KINDS[name])) if (random.chance(0.6)) draws.push(entry);
  }
  return draws;
}

function named(list: string): [string, Draw][] {
  const all = new Map(Object.values(KINDS).flatMap((kinds) => Object.entries(kinds)));
  return list.split(",").map((kind) => {
    const draw = all.get(kind);
    if (draw === undefined) throw new RangeError(`faults: the mesh has no kind of fault called ${kind}`);
    return [kind, draw];
  });
}

export function drawFaults(random: SimRandom, settings: MeshSettings): Fault[] {
  const draws = settings.faults === "" ? ofClasses(random, settings.faultClasses) : named(settings.faults);
  const faults: Fault[] = [];
  if (draws.length === 0) return faults;
  for (let atMs = 2_000 - Math.log(1 - random.next()) * settings.faultEveryMs; atMs < settings.safetyMs; atMs -= Math.log(1 - random.next()) * settings.faultEveryMs) {
    const [kind, draw] = random.pick(draws);
    faults.push({ atMs: Math.round(atMs), kind, args: draw(random, settings.nodes + settings.spares) });
  }
  // One by one, at any moment; what is still old at the end comes with the healing.
  for (let old = 1; old <= settings.oldNodes; old++) faults.push({ atMs: random.between(1_500, settings.safetyMs), kind: "upgrade", args: { node: old } });
  return faults.sort((one, other) => one.atMs - other.atMs);
}
