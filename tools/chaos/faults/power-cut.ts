import type { ChaosMesh } from "../chaos-mesh.ts";
import { type Fault, type FaultKind, nameOf, type Situation } from "../fault.ts";

/** Kills the nodes and takes back what no sync had made durable; nodes whose disk can't be made false keep all they wrote. */
function cut({ mesh, random, leaders }: Situation, ids: readonly number[], what: string, outage: boolean): Fault {
  let changed = 0;
  const how = random.chance(0.5) ? "drop" : "mixed";
  const cutOne = async (world: ChaosMesh, id: number): Promise<void> => {
    await world.node(id).kill();
    changed += world.disks.get(id)?.cutPower(how, () => random.next()) ?? 0;
  };
  return {
    what: `${what} (${how === "drop" ? "all that was not synced is lost" : "of what was not synced, some sectors are lost"})`,
    disturbed: ids,
    outage,
    inject: async () => {
      await Promise.all(ids.map((id) => cutOne(mesh, id)));
    },
    evidence: () => Promise.resolve(ids.some((id) => mesh.node(id).running) ? undefined : `${ids.map((id) => nameOf(id, leaders)).join(", ")}: ${changed} files or names changed`),
    heal: async () => {
      await Promise.all(ids.map((id) => mesh.revive(id)));
    },
  };
}

export const powerCut: FaultKind = {
  name: "power-cut",
  about: "one or two nodes lose their power: what was not synced is lost, whole or by sectors",
  needs: ["disk"],
  seconds: [2, 6],
  create: (situation) => {
    const ids = situation.calm.filter((id) => situation.mesh.disks.has(id)).slice(0, Math.min(situation.budget, situation.random.between(1, 2)));
    return ids.length === 0 ? undefined : cut(situation, ids, `power cut of ${ids.map((id) => nameOf(id, situation.leaders)).join(" and ")}`, false);
  },
};

export const blackout: FaultKind = {
  name: "blackout",
  about: "all nodes lose their power at once",
  needs: ["disk"],
  seconds: [1, 3],
  alone: true,
  create: (situation) => cut(situation, situation.mesh.nodes.map((node) => node.nodeId), "power cut of all nodes", true),
};
