import type { FaultKind } from "../fault.ts";

/** Leaders then decide by themselves, by the same rules. */
export const arbiterDown: FaultKind = {
  name: "arbiter-down",
  about: "kill -9 of the arbiter",
  needs: [],
  seconds: [4, 8],
  create: ({ mesh }) => {
    const { arbiter } = mesh.mesh;
    if (arbiter === undefined || !arbiter.running) return undefined;
    let before = 0;
    const fallbacks = async (): Promise<number> => {
      const all = await Promise.all(mesh.nodes.map(async (node) => await mesh.status(node.nodeId)));
      return all.reduce((sum, status) => sum + (status?.arbiterFallbacks ?? 0), 0);
    };
    return {
      what: "kill -9 of the arbiter",
      disturbed: [],
      inject: async () => {
        before = await fallbacks();
        await arbiter.kill();
      },
      evidence: async () => {
        const more = (await fallbacks()) - before;
        return arbiter.running ? undefined : `the process was gone; leaders decided ${Math.max(0, more)} batches by themselves`;
      },
      heal: () => arbiter.start(),
    };
  },
};
