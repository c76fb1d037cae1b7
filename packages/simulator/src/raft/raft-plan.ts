import { SimRandom } from "../sim-random.ts";
import type { Fault, PlainRecord, Plan } from "../tier.ts";
import { drawSettings, RAFT_FAULTS, sample } from "./raft-settings.ts";
import type { RaftFault, RaftSettings } from "./raft-settings.ts";

/** When the first fault may come: a leader is there by then. */
const QUIET_MS = 300;
/** How much more often than once a kind is drawn. */
const WEIGHTS: Partial<Record<RaftFault, number>> = { heal: 3, crash: 4, isolate: 2, partition: 2, reconfigure: 5 };

/** Settings and faults of a seed, drawn before anything runs. */
export function drawPlan(seed: number, hints: PlainRecord = {}): Plan<RaftSettings> {
  // Of its own: what the plan draws changes nothing about the run.
  const random = new SimRandom(seed).fork();
  const settings = drawSettings(random, hints);
  const kinds = RAFT_FAULTS.filter((kind) => settings.faults.split(",").includes(kind)).flatMap((kind) => Array.from({ length: WEIGHTS[kind] ?? 1 }, () => kind));
  const faults: Fault[] = [];
  let atMs = QUIET_MS;
  while (kinds.length > 0) {
    atMs += random.between(5, random.pick([40, settings.faultEveryMs]));
    if (atMs >= settings.troubleMs) break;
    const kind = random.pick(kinds);
    faults.push({ atMs, kind, args: argsOf(kind, settings, random) });
  }
  return { settings, faults };
}

function argsOf(kind: RaftFault, { nodes, leaseReads, driftPercent }: RaftSettings, random: SimRandom): PlainRecord {
  const ids = Array.from({ length: nodes }, (_, n) => n + 1);
  const node = random.pick(ids);
  // It hurts most at the leader, and in the middle of a write.
  const at = random.pick(["leader", "leader", "node", "writer"]);
  switch (kind) {
    case "partition":
      return { side: ids.filter(() => random.chance(0.5)) };
    case "isolate":
      return { at: random.pick(["leader", "leader", "node"]), node };
    case "one way":
      return { from: node, to: random.pick(ids) };
    case "mute":
      return { at: random.pick(["leader", "leader", "node"]), node };
    case "late":
      return { at: random.pick(["leader", "leader", "node"]), node, ms: random.between(20, random.pick([120, 600])) };
    case "bridge":
      return { node, side: ids.filter(() => random.chance(0.5)) };
    case "heal":
      return {};
    case "weather":
      return { loss: random.pick([0, 0.05, 0.3]), maxDelayMs: random.pick([1, 20, 150]), straggling: random.pick([0, 0.1]) };
    case "large messages lost":
      return { bytes: random.pick([60, 200]), ms: random.between(50, 1500) };
    case "crash":
      return { at, node, powerCut: random.chance(0.7), downMs: random.between(1, random.pick([10, 600, 2000])) };
    case "crash of all":
      return { powerCut: random.chance(0.7), downMs: random.between(1, 300) };
    case "pause":
      return { at: random.pick(["leader", "node"]), node, ms: random.between(20, random.pick([200, 1500])) };
    case "clock rate":
      return { node, percent: random.between(-driftPercent, driftPercent) };
    case "campaign":
      return { at: random.pick(["node", "node", "writer"]), node };
    case "transfer":
      return { to: node };
    case "slow disk":
      return { at: random.pick(["all", "leader", "node"]), node, maxSyncMs: random.pick([1, 20, 150]) };
    case "stuck disk":
      return { at, node, ms: random.between(50, leaseReads ? 800 : 1500) };
    case "disk full":
      return { at, node, ms: random.between(50, 800) };
    case "sync fails":
      return { at, node };
    case "unreachable":
      return { node };
    case "reconfigure": {
      const voters = sample(random, ids);
      return { voters, learners: ids.filter((id) => !voters.includes(id) && random.chance(0.5)) };
    }
  }
}
