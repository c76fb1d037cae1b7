import { readFileSync } from "node:fs";
import { calmLeader, type FaultKind, nameOf } from "../fault.ts";

/** A process that stands still for longer than any lease and wakes up with all it held: connections, leadership, timers. */
export const pause: FaultKind = {
  name: "pause",
  about: "SIGSTOP of a node that leads, for longer than a lease (3 s), then SIGCONT",
  needs: [],
  seconds: [4, 8],
  create: (situation) => {
    const id = calmLeader(situation);
    if (id === undefined || situation.budget < 1) return undefined;
    const node = situation.mesh.node(id);
    return {
      what: `SIGSTOP of ${nameOf(id, situation.leaders)}`,
      disturbed: [id],
      inject: () => Promise.resolve(node.pause()),
      evidence: () => Promise.resolve(/^State:\s+T/m.test(readFileSync(`/proc/${node.pid}/status`, "utf8")) ? "the process stood still" : undefined),
      heal: () => Promise.resolve(node.resume()),
    };
  },
};
