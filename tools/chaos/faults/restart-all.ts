import type { FaultKind } from "../fault.ts";

/** What was acknowledged is on the disks of a majority: nothing else is left. */
export const restartAll: FaultKind = {
  name: "restart-all",
  about: "kill -9 of all nodes at once, and their start",
  needs: [],
  seconds: [1, 2],
  alone: true,
  create: ({ mesh, budget, calm }) => {
    if (calm.length < mesh.nodes.length || budget < 2) return undefined;
    return {
      what: "kill -9 of all nodes",
      disturbed: mesh.nodes.map((node) => node.nodeId),
      outage: true,
      inject: async () => {
        await Promise.all(mesh.nodes.map((node) => node.kill()));
      },
      evidence: () => Promise.resolve(mesh.nodes.some((node) => node.running) ? undefined : "all processes were gone"),
      heal: async () => {
        await Promise.all(mesh.nodes.map((node) => mesh.revive(node.nodeId)));
      },
    };
  },
};
