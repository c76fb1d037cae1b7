import { readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { type FaultKind, hasLogged, nameOf } from "../fault.ts";

const REPLACE_LIMIT_MS = 120_000;

/** A node comes back with an empty disk. It takes copies of everything and must not vote, until it is made a new member in its own place. */
export const diskLost: FaultKind = {
  name: "disk-lost",
  about: "a node loses its whole disk and comes back with an empty one, to be made a new member: the last fault of a run",
  needs: [],
  seconds: [6, 10],
  lastly: true,
  create: ({ mesh, calm, budget, leaders }) => {
    const [id] = calm;
    if (id === undefined || budget < 1) return undefined;
    const node = mesh.node(id);
    let logged = 0;
    return {
      what: `${nameOf(id, leaders)} loses its disk`,
      disturbed: [id],
      inject: async () => {
        await node.kill();
        logged = statSync(node.spec.logFile).size;
        mesh.lostDisks.push(id);
        const folder = mesh.dataFolder(id);
        for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
        await mesh.revive(id);
      },
      evidence: async () => ((await hasLogged(node, logged, "the cluster knows this node by another data folder")) ? "the node knows that it must not vote" : undefined),
      heal: async () => {
        await mesh.revive(id);
        await mesh.replaceMember(id, REPLACE_LIMIT_MS);
      },
    };
  },
};
