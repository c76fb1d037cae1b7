import { type FaultKind, nameOf } from "../fault.ts";

/** Seconds. All go beyond the maximum offset of the policy (500 ms): a node that is behind refuses honest times. */
const JUMPS = [-3_600, -30, -5, -2, 2, 5, 30, 3_600] as const;
/** Dates of HTTP come to the second, and a false clock is read once a second. */
const SEEN_WITHIN_MS = 1_500;

/** Wall time jumps, monotonic time does not. */
export const clockJump: FaultKind = {
  name: "clock-jump",
  about: "the wall clock of a node jumps, ahead or back, by two seconds to an hour",
  needs: ["clock"],
  seconds: [5, 10],
  create: ({ mesh, calm, budget, leaders, random }) => {
    const [id] = calm;
    if (id === undefined || budget < 1) return undefined;
    const seconds = random.pick(JUMPS);
    return {
      what: `the clock of ${nameOf(id, leaders)} goes ${Math.abs(seconds)} s ${seconds < 0 ? "back" : "ahead"}`,
      disturbed: [id],
      inject: () => Promise.resolve(mesh.setClock(id, seconds)),
      evidence: async () => {
        const seenMs = await mesh.clockOf(id);
        if (seenMs === undefined) return undefined;
        const offMs = seenMs - Date.now();
        return Math.abs(offMs - seconds * 1_000) < SEEN_WITHIN_MS ? `its answers are dated ${(offMs / 1_000).toFixed(1)} s off` : undefined;
      },
      heal: () => Promise.resolve(mesh.setClock(id, 0)),
    };
  },
};
