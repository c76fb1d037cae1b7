import type { FaultKind } from "../fault.ts";
import { nameOf } from "../fault.ts";

const PAUSE_MS = 900;

/** A node that dies again and again, often before it has caught up or even serves. */
export const crashLoop: FaultKind = {
  name: "crash-loop",
  about: "a node that is killed again and again while it starts",
  needs: [],
  seconds: [5, 9],
  create: ({ mesh, calm, budget, leaders }) => {
    const [id] = calm;
    if (id === undefined || budget < 1) return undefined;
    const node = mesh.node(id);
    let kills = 0;
    let looping = false;
    let loop: Promise<void> = Promise.resolve();
    return {
      what: `crash loop of ${nameOf(id, leaders)}`,
      disturbed: [id],
      inject: () => {
        looping = true;
        loop = (async () => {
          while (looping) {
            await node.kill();
            kills += 1;
            await mesh.revive(id);
            await new Promise((wake) => setTimeout(wake, PAUSE_MS));
          }
        })();
        return Promise.resolve();
      },
      evidence: () => Promise.resolve(kills > 1 ? `${kills} kills` : undefined),
      heal: async () => {
        looping = false;
        await loop;
        await mesh.revive(id);
      },
    };
  },
};
