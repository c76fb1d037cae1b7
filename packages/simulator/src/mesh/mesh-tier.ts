// The whole mesh under faults: a phase in which anything may happen, then healing, and a phase in which it must come back.
import { Recorder } from "../recorder.ts";
import { SimRandom } from "../sim-random.ts";
import { Simulation } from "../simulation.ts";
import type { Outcome, Plan, RunOptions, Tier } from "../tier.ts";
import { MESH_FAULT_KINDS, drawFaults } from "./mesh-faults.ts";
import { MeshInjector } from "./mesh-injector.ts";
import { type MeshSettings, drawSettings } from "./mesh-settings.ts";
import { MeshWorld, TELLING_NAMES } from "./mesh-world.ts";

/** After healing: for connections, for a leader of every group in election timeouts, and for rest. */
const RECONNECT_MS = 15_000;
const ELECTION_TIMEOUTS = 10;
const REST_MS = 30_000;
/** Until all changes of the members have ended: lost nodes are replaced one by one, each with copies of all groups. */
const MEND_MS = 60_000;
/** Work goes on for a while after healing. */
const AFTERWARDS_MS = 2_000;

const SOMETIMES: readonly string[] = [
  ...TELLING_NAMES,
  "change resumed by another leader", "leader removed itself", "learner caught up by snapshot", "member change cancelled", "member change done", "older build stopped",
  "operator refused with CHANGE_PENDING", "operator refused with VERSION_TOO_LOW", "version raised", "wiped node replaced",
  "causal event stored", "causal history read", "answer DECISION_FORGOTTEN", "answer FENCED", "answer MESSAGE_TOO_LARGE", "answer MINORITY_PARTITION", "answer OVERLOADED", "answer PRIORITY_FORGED", "answer TIMESTAMP_IN_FUTURE",
  "damaged log refused", "decision repeated", "leader changed with entries in flight", "leader elected", "lease came too late", "lease granted", "node stopped by its disk",
  "operation accepted", "operation merged", "operation rejected", "operation tried again", "outcome never heard", "published", "publish TOKEN_AHEAD",
  "backup took a region over", "handoff aborted", "handoff committed", "handoff committed by its owner", "operation kept back in a handoff", "operation kept while its node was cut off", "kept operation listed in a heal report", "kept operation that may have been decided before", "region changed its owner",
  "read at level 1", "read at level 2", "read at level 3", "read at level 4", "store compared", "subscriber lagged",
  "subscription moved", "subscription resumed", "subscription snapshot", "escrow closed", "escrow opened", "escrow spent from", "escrow spent from while its node was cut off", "spending promised", "transaction answered", "transaction across groups aborted", "transaction across groups committed", "footprint left in another group", "footprint cleared", "rival lost to a footprint", "entity moved to another region", "entity moved to another group", "move refused with NOT_FOUND", "save of what is there", "save refused with NOT_FOUND", "save refused with VERSION_MISMATCH", "view without a member", "member removed from the view", "view that some enter and some leave",
];

export const meshTier: Tier<MeshSettings> = {
  name: "mesh",
  faultKinds: MESH_FAULT_KINDS,
  sometimes: SOMETIMES,

  plan(seed, hints = {}): Plan<MeshSettings> {
    const random = new SimRandom(seed);
    const settings = drawSettings(random.fork(), hints);
    return { settings, faults: drawFaults(random.fork(), settings) };
  },

  async run(seed, plan, options: RunOptions = {}): Promise<Outcome> {
    const simulation = new Simulation(seed);
    const recorder = new Recorder(simulation, options);
    const world = new MeshWorld(simulation, recorder, plan.settings);
    await runPhases(world, plan);
    return recorder.outcome();
  },
};

async function runPhases(world: MeshWorld, { settings, faults }: Plan<MeshSettings>): Promise<void> {
  const { simulation, recorder } = world;
  const injector = new MeshInjector(world);
  const isOver = (): boolean => recorder.isOver;
  world.start();
  for (const fault of faults) simulation.after(fault.atMs, () => injector.inject(fault));
  if (await simulation.runUntilHolds(isOver, settings.safetyMs)) return;
  await comeToRest(world, injector);
}

/** Everything is healed, and has to come back: connections, leaders, members, and what all hold. */
export async function comeToRest(world: MeshWorld, injector: MeshInjector): Promise<void> {
  const { simulation, recorder, settings } = world;
  const isOver = (): boolean => recorder.isOver;
  injector.heal();
  if (!(await simulation.runUntilHolds(() => recorder.isOver || world.isConnected, RECONNECT_MS))) {
    return recorder.violation("liveness", `not all nodes were connected ${RECONNECT_MS} ms after healing`);
  }
  // A follower's patience is drawn anew between the timeout and twice that.
  const electionMs = ELECTION_TIMEOUTS * 2 * settings.electionTicks * settings.tickMs;
  if (!(await simulation.runUntilHolds(() => recorder.isOver || world.isServing, electionMs))) {
    return recorder.violation("liveness", `no commit in some group ${electionMs} ms after healing`);
  }
  if (world.changesMembers && !(await simulation.runUntilHolds(() => recorder.isOver || world.operator.unrest === undefined, MEND_MS))) {
    return recorder.violation("liveness", `${MEND_MS} ms after healing: ${world.operator.unrest}`);
  }
  if (await simulation.runUntilHolds(isOver, AFTERWARDS_MS)) return;
  for (const shard of world.shards) shard.stop();
  for (const subscriber of world.subscribers) subscriber.stand();
  let sinceMs = simulation.nowMs;
  const isAtRest = (): boolean => {
    if (recorder.isOver) return true;
    // Looked at ten times a second: it is costly.
    if (simulation.nowMs < sinceMs) return false;
    sinceMs = simulation.nowMs + 100;
    return world.unrest === undefined;
  };
  if (!(await simulation.runUntilHolds(isAtRest, REST_MS))) recorder.violation("liveness", `${REST_MS} ms after healing: ${world.unrest}`);
  world.oracle?.check();
  world.history?.check();
  if (!recorder.isOver) world.merges.checkFinal();
  if (!recorder.isOver) world.travellers.checkFinal(world.references.map(({ state }) => state), world.stored);
  if (!recorder.isOver) world.footprints.checkFinal(world.references.map(({ state }) => state));
  const isGone = (nodeId: number): boolean => world.members.lost.has(nodeId) || world.members.damaged.has(nodeId) || world.members.removed.has(nodeId);
  if (!recorder.isOver) world.book.checkFinal(isGone);
  if (!recorder.isOver) world.escrows.checkFinal(isGone);
}
