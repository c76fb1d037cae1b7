/** Links that lose some packets: by size, or at random. TCP sends again and again; what stands behind it has to wait. */
import { type Fault, type FaultKind, nameOf, networkOf, type Situation } from "../fault.ts";

function lossyLinks({ mesh, calm, budget, leaders }: Situation, name: string, what: string, match: string): Fault | undefined {
  const [id] = calm;
  if (id === undefined || budget < 1) return undefined;
  const network = networkOf(mesh);
  const others = mesh.nodes.map((node) => node.nodeId).filter((other) => other !== id);
  const rules = others.flatMap((other) => [`input ip saddr ${network.address(other)} ${match} counter drop`, `output ip daddr ${network.address(other)} ${match} counter drop`]);
  return {
    what: `${what} between ${nameOf(id, leaders)} and the others`,
    disturbed: [id],
    inject: () => network.filter(id, name, rules),
    evidence: async () => {
      const dropped = await network.filtered(id);
      return dropped > 0 ? `${dropped} packets dropped` : undefined;
    },
    heal: () => network.filter(id, name, []),
  };
}

export const largePackets: FaultKind = {
  name: "large-packets",
  about: "packets above 600 bytes vanish, so heartbeats arrive and appends do not",
  needs: ["namespaces", "filter"],
  seconds: [5, 10],
  create: (situation) => lossyLinks(situation, "large-packets", "packets above 600 bytes vanish", "ip length > 600"),
};

export const packetLoss: FaultKind = {
  name: "packet-loss",
  about: "30 of 100 packets vanish, by chance",
  needs: ["namespaces", "filter"],
  seconds: [5, 10],
  create: (situation) => lossyLinks(situation, "packet-loss", "30% of packets vanish", "numgen random mod 100 < 30"),
};
