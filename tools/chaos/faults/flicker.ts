import { calmLeader, type FaultKind, nameOf } from "../fault.ts";

const STOPPED_MS = 700;
const RUNNING_MS = 250;

/** Long pauses of a collector or a busy machine: just long enough to lose an election, over and over. */
export const flicker: FaultKind = {
  name: "flicker",
  about: "a node that leads stands still for 0.7 s, runs for 0.25 s, and so on",
  needs: [],
  seconds: [5, 9],
  create: (situation) => {
    const id = calmLeader(situation);
    if (id === undefined || situation.budget < 1) return undefined;
    const node = situation.mesh.node(id);
    let pauses = 0;
    let flickering = false;
    let loop: Promise<void> = Promise.resolve();
    return {
      what: `short pauses of ${nameOf(id, situation.leaders)}`,
      disturbed: [id],
      inject: () => {
        flickering = true;
        loop = (async () => {
          while (flickering) {
            node.pause();
            pauses += 1;
            await new Promise((wake) => setTimeout(wake, STOPPED_MS));
            node.resume();
            await new Promise((wake) => setTimeout(wake, RUNNING_MS));
          }
        })();
        return Promise.resolve();
      },
      evidence: () => Promise.resolve(pauses > 1 ? `${pauses} pauses` : undefined),
      heal: async () => {
        flickering = false;
        await loop;
        node.resume();
      },
    };
  },
};
