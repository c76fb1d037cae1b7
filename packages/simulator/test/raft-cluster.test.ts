import { isJoint, isMember } from "@statemesh/raft";
import type { QuorumRule } from "@statemesh/raft";
import { expect, test } from "vitest";
import { SimNetwork, Simulation } from "../src/index.ts";
import type { SimRandom } from "../src/index.ts";
import { RaftChecker } from "./raft-checker.ts";
import { ELECTION_TICKS, RaftNode, TICK_MS } from "./raft-node.ts";
import type { Packet } from "./raft-node.ts";

/** More with RAFT_SEEDS=N; from another seed on with RAFT_FIRST=S. */
const SEEDS = Number(process.env["RAFT_SEEDS"] ?? 400);
const FIRST = Number(process.env["RAFT_FIRST"] ?? 1);
const TROUBLE_MS = 4000;
/** Election timeouts within which a healed cluster must commit and agree. */
const HEALED_WITHIN_MS = 10 * 2 * ELECTION_TICKS * TICK_MS;

interface Summary {
  elections: number;
  applied: number;
  reads: number;
  snapshots: number;
  crashes: number;
  changes: number;
  /** Times that a client found a leader asleep. */
  sleeps: number;
  events: number;
  digest: string;
}

/** Some of the nodes, at least one. */
function sample(random: SimRandom, ids: readonly number[]): number[] {
  const some = ids.filter(() => random.chance(0.6));
  return some.length > 0 ? some : [random.pick(ids)];
}

/** One cluster through four seconds of trouble and its recovery. Throws where a rule is broken. */
async function run(seed: number): Promise<Summary> {
  const simulation = new Simulation(seed);
  const { random } = simulation;
  const network = new SimNetwork<Packet>(simulation, {
    minDelayMs: 0.1, maxDelayMs: random.pick([1, 5, 40]), loss: random.pick([0, 0.02, 0.15]), duplication: random.pick([0, 0.1]),
    straggling: random.pick([0, 0.02, 0.1]), maxStraggleMs: 1500, ordered: random.chance(0.3),
  });
  // The lowest id is not always there from the start; some nodes wait to join; in some runs the members never change.
  const changing = random.chance(0.7);
  const ids = Array.from({ length: random.pick([1, 2, 2, 3, 3, 3, 4, 4, 5, 6]) + (changing ? random.pick([0, 1, 2]) : 0) }, (_, n) => n + 1);
  const bootstrap = changing ? sample(random, ids) : ids;
  const maxMessageBytes = random.pick([40, 150, 1000]);
  const rules = random.pick<QuorumRule[]>([["weighted"], ["weighted"], ["majority"], ["weighted", "majority"]]);
  const leaseReads = random.chance(0.5);
  // A busy group never sleeps: in some runs clients rest now and then, longer than it takes to fall asleep.
  const restMs = random.pick([0, 0, 3 * ELECTION_TICKS * TICK_MS]);
  const checker = new RaftChecker(seed, bootstrap);
  const nodes = ids.map((id) => new RaftNode(id, ids, bootstrap, { maxMessageBytes, quorum: random.pick(rules), leaseReads, quiescence: random.chance(0.8) }, simulation, network, checker));
  for (const node of nodes) {
    void node.start();
    // Whoever else takes itself for the leader at that moment is asked at once: an answer must show what was just acknowledged.
    node.onAcknowledged = () => {
      for (const other of nodes) if (other !== node && other.core?.role === "leader") other.read();
    };
  }
  let crashes = 0;
  let sleeps = 0;
  let number = 0;

  const client = (): void => {
    const node = random.pick(nodes);
    if (random.chance(0.7)) for (let n = random.between(1, 4); n > 0; n--) node.propose(`command ${++number}`);
    else node.read();
    for (const { core } of nodes) if (core?.isQuiescent === true && core.role === "leader") sleeps++;
    simulation.after(restMs > 0 && random.chance(0.02) ? restMs : random.between(1, 25), client);
  };
  client();

  let calm = false;
  const trouble = (): void => {
    if (calm) return;
    const node = random.pick(nodes);
    const leader = nodes.find((candidate) => candidate.core?.role === "leader") ?? node;
    switch (random.between(0, changing ? 11 : 8)) {
      case 0: {
        const side = ids.filter(() => random.chance(0.5));
        network.partition(side, ids.filter((id) => !side.includes(id)));
        break;
      }
      case 1:
        network.partition([leader.id], ids.filter((id) => id !== leader.id));
        break;
      case 2:
        network.block(node.id, random.pick(ids));
        break;
      case 3:
      case 4: {
        // A crash hurts most in the middle of a write, and of an election.
        const writing = nodes.find((candidate) => candidate.isWriting && candidate.core?.role !== "leader");
        const victim = random.pick([leader, node, writing ?? node]);
        if (!victim.isUp) break;
        crashes++;
        victim.stop(random.chance(0.7));
        simulation.after(random.between(1, random.pick([10, 600])), () => void victim.start());
        break;
      }
      case 5:
        leader.core?.transferLeadership(random.pick(ids));
        leader.pump();
        break;
      case 6:
        for (const { disk } of random.chance(0.5) ? nodes : [node]) disk.behaviour.maxSyncMs = random.pick([1, 20, 150]);
        break;
      case 7:
        for (const id of ids) leader.core?.reportUnreachable(id);
        leader.pump();
        break;
      case 9:
      case 10:
      case 11: {
        const voters = sample(random, ids);
        leader.reconfigure(voters, ids.filter((id) => !voters.includes(id) && random.chance(0.5)));
        break;
      }
      default:
        network.heal();
    }
    if (random.chance(0.3)) checker.logsMatch(nodes.flatMap(({ core }) => core ?? []));
    simulation.after(random.between(5, random.pick([40, 400])), trouble);
  };
  simulation.after(300, trouble);
  await simulation.runUntil(TROUBLE_MS);

  calm = true;
  network.heal();
  network.weather = { ...network.weather, loss: 0, straggling: 0, maxDelayMs: 5 };
  for (const { disk } of nodes) disk.behaviour.maxSyncMs = 1;
  const settled = checker.applied.length;
  const acknowledged = checker.acknowledged;
  const healed = await simulation.runUntilHolds(
    () =>
      checker.acknowledged > Math.max(settled, acknowledged) && !isJoint(checker.configuration) &&
      nodes.every(({ id, applied }) => !isMember(checker.configuration, id) || applied >= settled + 1) &&
      // Who is no voter any more does not lead on.
      nodes.every(({ id, core }) => core?.role !== "leader" || core.configuration.voters.includes(id)),
    HEALED_WITHIN_MS + 600,
  );
  checker.logsMatch(nodes.flatMap(({ core }) => core ?? []));
  if (!healed) {
    checker.fail(`no progress after healing, configured ${JSON.stringify(checker.configuration)}: ${JSON.stringify(nodes.map(({ id, applied, core }) => ({ id, applied, ...core?.status() })))}`);
  }
  const sum = (of: (node: RaftNode) => number): number => nodes.reduce((total, node) => total + of(node), 0);
  return {
    elections: checker.elections, applied: checker.applied.length - 1, reads: sum((node) => node.readsServed), snapshots: sum((node) => node.snapshotsInstalled),
    crashes, sleeps, changes: checker.changes, events: simulation.eventsRun, digest: JSON.stringify([checker.applied, network.counts]),
  };
}

test("loss, duplication, reordering, partitions, crashes, slow disks and changes of the members never break a rule of Raft, and the cluster heals", async () => {
  const total = { elections: 0, applied: 0, reads: 0, snapshots: 0, crashes: 0, changes: 0, sleeps: 0, events: 0 };
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    const summary = await run(seed);
    total.elections += summary.elections;
    total.applied += summary.applied;
    total.reads += summary.reads;
    total.snapshots += summary.snapshots;
    total.crashes += summary.crashes;
    total.changes += summary.changes;
    total.sleeps += summary.sleeps;
    total.events += summary.events;
  }
  // The trouble must have been trouble.
  const summary = `${SEEDS} seeds from ${FIRST}: ${JSON.stringify(total)}`;
  expect(total.elections, summary).toBeGreaterThan(SEEDS * 2);
  expect(total.applied, summary).toBeGreaterThan(SEEDS * 50);
  expect(total.reads, summary).toBeGreaterThan(SEEDS * 5);
  expect(total.snapshots, summary).toBeGreaterThan(SEEDS / 10);
  expect(total.crashes, summary).toBeGreaterThan(SEEDS);
  expect(total.changes, summary).toBeGreaterThan(SEEDS);
  expect(total.sleeps, summary).toBeGreaterThan(SEEDS / 10);
}, 120_000 + SEEDS * 200);

test("the same seed gives the same run", async () => {
  expect(await run(17)).toEqual(await run(17));
}, 60_000);
