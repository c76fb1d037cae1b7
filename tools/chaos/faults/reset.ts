import { type FaultKind, nameOf, networkOf } from "../fault.ts";

const EVERY_MS = 400;

/** Connections between a node and the others end with a reset, again and again: what was on its way is lost, both ends are told. */
export const reset: FaultKind = {
  name: "reset",
  about: "every connection between a node and the others is reset, every 0.4 s",
  needs: ["namespaces", "sockets"],
  seconds: [4, 8],
  create: ({ mesh, calm, budget, leaders }) => {
    const [id] = calm;
    if (id === undefined || budget < 1) return undefined;
    const network = networkOf(mesh);
    const others = mesh.nodes.map((node) => node.nodeId).filter((other) => other !== id);
    let cut = 0;
    let running = false;
    let loop: Promise<void> = Promise.resolve();
    return {
      what: `connections of ${nameOf(id, leaders)} with the others are reset`,
      disturbed: [id],
      inject: () => {
        running = true;
        loop = (async () => {
          while (running) {
            for (const other of others) {
              const printed = await network.inside(id, ["ss", "-K", "-H", "-t", "dst", network.address(other)]);
              cut += printed.split("\n").filter((line) => line.includes(network.address(other))).length;
            }
            await new Promise((wake) => setTimeout(wake, EVERY_MS));
          }
        })();
        return Promise.resolve();
      },
      evidence: () => Promise.resolve(cut > 0 ? `${cut} connections cut` : undefined),
      heal: async () => {
        running = false;
        await loop;
      },
    };
  },
};
