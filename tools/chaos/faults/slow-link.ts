import { type FaultKind, nameOf, networkOf } from "../fault.ts";

/** What the node may send; a busy follower gets more than that, so its queue grows. */
const RATE = "160kbit";

/** A node whose answers come late, the later the more it has to say: the bucket of its link is small and leaks slowly. */
export const slowLink: FaultKind = {
  name: "slow-link",
  about: `all that a node sends goes through ${RATE} a second, with up to 1.5 s of delay`,
  needs: ["namespaces", "shaper"],
  seconds: [5, 10],
  create: ({ mesh, calm, budget, leaders }) => {
    const [id] = calm;
    if (id === undefined || budget < 1) return undefined;
    const network = networkOf(mesh);
    return {
      what: `${nameOf(id, leaders)} sends ${RATE} a second at most`,
      disturbed: [id],
      inject: async () => {
        await network.inside(id, ["tc", "qdisc", "add", "dev", network.interface, "root", "tbf", "rate", RATE, "burst", "4kb", "latency", "1500ms"]);
      },
      evidence: async () => {
        const shown = await network.inside(id, ["tc", "-s", "qdisc", "show", "dev", network.interface]);
        const late = Number(/overlimits (\d+)/.exec(shown)?.[1] ?? 0);
        return late > 0 ? `${late} packets had to wait` : undefined;
      },
      heal: async () => {
        await network.inside(id, ["tc", "qdisc", "del", "dev", network.interface, "root"]);
      },
    };
  },
};
