/** Disks that fail, wait or stand still while the network goes on. */
import { ALWAYS, type DiskFault } from "../../disk-shim.ts";
import { calmLeader, type Fault, type FaultKind, nameOf, type Situation } from "../fault.ts";

/** A calm node whose disk can be made false, one that leads before others. */
function calmDisk(situation: Situation): number | undefined {
  const calm = situation.calm.filter((id) => situation.mesh.disks.has(id));
  return situation.budget < 1 ? undefined : calmLeader({ ...situation, calm });
}

function falseDisk(situation: Situation, what: string, settings: readonly (readonly [DiskFault, number])[], evidence: (id: number) => string | undefined): Fault | undefined {
  const { mesh, leaders } = situation;
  const id = calmDisk(situation);
  const disk = id === undefined ? undefined : mesh.disks.get(id);
  if (id === undefined || disk === undefined) return undefined;
  return {
    what: `${what} on ${nameOf(id, leaders)}`,
    disturbed: [id],
    inject: () => {
      for (const [fault, value] of settings) disk.set(fault, value);
      return Promise.resolve();
    },
    evidence: () => Promise.resolve(evidence(id)),
    heal: () => {
      disk.heal();
      return mesh.revive(id);
    },
  };
}

export const fsyncFails: FaultKind = {
  name: "fsync-fails",
  about: "every sync of a node that leads fails: it must stop, because nobody knows what is on the disk",
  needs: ["disk"],
  seconds: [3, 6],
  create: (situation) => {
    const { mesh } = situation;
    const fault = falseDisk(situation, "syncs fail", [["syncErrors", ALWAYS]], (id) => (mesh.node(id).running ? undefined : "the node stopped"));
    const [id] = fault?.disturbed ?? [];
    if (fault === undefined || id === undefined) return undefined;
    return {
      ...fault,
      inject: () => {
        mesh.expectEnd(id);
        return fault.inject();
      },
      heal: async () => {
        // One that met no sync in that time still runs, and may go on.
        await fault.heal();
      },
    };
  },
};

export const slowDisk: FaultKind = {
  name: "slow-disk",
  about: "every sync of a node that leads takes 0.2 s longer",
  needs: ["disk"],
  seconds: [5, 9],
  create: (situation) => {
    let before = 0;
    const syncs = (id: number): number => situation.mesh.disks.get(id)?.counts.syncs ?? 0;
    const fault = falseDisk(situation, "slow syncs", [["syncDelayUs", 200_000]], (id) => (syncs(id) > before ? `${syncs(id) - before} slow syncs` : undefined));
    const [id] = fault?.disturbed ?? [];
    return fault === undefined || id === undefined ? undefined : {
      ...fault,
      inject: () => {
        before = syncs(id);
        return fault.inject();
      },
    };
  },
};

export const stuckDisk: FaultKind = {
  name: "stuck-disk",
  about: "the disk of a node that leads stands still, while its network goes on",
  needs: ["disk"],
  seconds: [4, 8],
  create: (situation) => {
    let before = 0;
    const writes = (id: number): number => situation.mesh.disks.get(id)?.counts.writes ?? 0;
    const fault = falseDisk(situation, "writes and syncs stand still", [["stuck", 1]], (id) => `${writes(id) - before} writes under way`);
    const [id] = fault?.disturbed ?? [];
    return fault === undefined || id === undefined ? undefined : {
      ...fault,
      inject: () => {
        before = writes(id);
        return fault.inject();
      },
      evidence: async () => {
        const said = await situation.mesh.refusal(id);
        return said === undefined ? fault.evidence() : `${await fault.evidence() ?? ""}; the node answered ${said}`;
      },
    };
  },
};
