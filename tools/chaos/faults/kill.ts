import { calmLeader, type FaultKind, nameOf } from "../fault.ts";

/** A node's process is gone at once; what it had on disk is there when it starts again. */
export const kill: FaultKind = {
  name: "kill",
  about: "kill -9 of a node that leads, and its start some seconds later",
  needs: [],
  seconds: [2, 6],
  create: (situation) => {
    const id = calmLeader(situation);
    if (id === undefined || situation.budget < 1) return undefined;
    const node = situation.mesh.node(id);
    return {
      what: `kill -9 of ${nameOf(id, situation.leaders)}`,
      disturbed: [id],
      inject: () => node.kill(),
      evidence: () => Promise.resolve(node.running ? undefined : "the process was gone"),
      heal: () => situation.mesh.revive(id),
    };
  },
};
