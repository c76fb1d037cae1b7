/** Partitions: packets between nodes vanish, at both ends, without a word. Clients reach all nodes all the time. */
import type { ChaosMesh } from "../chaos-mesh.ts";
import { calmLeader, type Fault, type FaultKind, nameOf, networkOf } from "../fault.ts";

/** From whom a node hears nothing. */
type Deaf = ReadonlyMap<number, readonly number[]>;

/** Neither side hears the other. */
function apart(sides: readonly (readonly number[])[]): Deaf {
  const all = sides.flat();
  return new Map(sides.flatMap((side) => side.map((id): [number, number[]] => [id, all.filter((other) => !side.includes(other))])));
}

function partition(mesh: ChaosMesh, name: string, it: { what: string; disturbed: readonly number[]; deaf: Deaf; outage?: boolean; probe?: number }): Fault {
  const network = networkOf(mesh);
  const { what, disturbed, deaf, outage = false, probe } = it;
  return {
    what,
    disturbed,
    outage,
    inject: async () => {
      for (const [id, from] of deaf) await network.filter(id, name, from.map((other) => `input ip saddr ${network.address(other)} counter drop`));
    },
    evidence: async () => {
      let dropped = 0;
      for (const id of deaf.keys()) dropped += await network.filtered(id);
      if (dropped === 0) return undefined;
      const said = probe === undefined ? undefined : await mesh.refusal(probe);
      // Where a node was cut off from the majority, only its refusal shows that it noticed.
      if (probe !== undefined && said === undefined) return undefined;
      return `${dropped} packets dropped${said === undefined ? "" : `; node ${probe} answered ${said}`}`;
    },
    heal: async () => {
      for (const id of deaf.keys()) await network.filter(id, name, []);
    },
  };
}

/** The nodes, those that are calm first. */
function order(mesh: ChaosMesh, calm: readonly number[]): number[] {
  return [...calm, ...mesh.nodes.map((node) => node.nodeId).filter((id) => !calm.includes(id))];
}

export const isolateLeader: FaultKind = {
  name: "isolate-leader",
  about: "a node that leads hears no other node and is heard by none; clients reach it",
  needs: ["namespaces", "filter"],
  seconds: [5, 10],
  create: (situation) => {
    const { mesh, leaders, budget } = situation;
    const id = calmLeader(situation);
    if (id === undefined || budget < 1) return undefined;
    const others = mesh.nodes.map((node) => node.nodeId).filter((other) => other !== id);
    return partition(mesh, "isolate-leader", { what: `${nameOf(id, leaders)} alone`, disturbed: [id], deaf: apart([[id], others]), probe: id });
  },
};

export const minority: FaultKind = {
  name: "minority",
  about: "two nodes on one side, three on the other",
  needs: ["namespaces", "filter"],
  seconds: [5, 10],
  create: ({ mesh, calm, budget, leaders }) => {
    if (budget < 2 || calm.length < 5) return undefined;
    const few = calm.slice(0, 2);
    const many = calm.slice(2);
    return partition(mesh, "minority", { what: `${few.map((id) => nameOf(id, leaders)).join(" and ")} apart from ${many.join(", ")}`, disturbed: few, deaf: apart([few, many]), probe: few[0] ?? 0 });
  },
};

export const bridge: FaultKind = {
  name: "bridge",
  about: "two pairs of nodes that only the fifth one connects",
  needs: ["namespaces", "filter"],
  seconds: [5, 10],
  alone: true,
  create: ({ mesh, calm }) => {
    const [middle = 0, a = 0, b = 0, c = 0, d = 0] = order(mesh, calm);
    const deaf = new Map([[a, [c, d]], [b, [c, d]], [c, [a, b]], [d, [a, b]]]);
    // A majority is connected only through the middle, and who leads from one pair can't be told: it may take long.
    return partition(mesh, "bridge", { what: `${a}, ${b} and ${c}, ${d} connected by ${middle} alone`, disturbed: [a, b, c, d], deaf, outage: true });
  },
};

export const shards: FaultKind = {
  name: "no-majority",
  about: "two, two and one: no side has a majority, and none may write",
  needs: ["namespaces", "filter"],
  seconds: [4, 7],
  alone: true,
  create: ({ mesh, calm }) => {
    const [a = 0, b = 0, c = 0, d = 0, e = 0] = order(mesh, calm);
    return partition(mesh, "no-majority", { what: `${a}, ${b} | ${c}, ${d} | ${e}`, disturbed: [a, b, c, d, e], deaf: apart([[a, b], [c, d], [e]]), outage: true, probe: a });
  },
};

export const oneWay: FaultKind = {
  name: "one-way",
  about: "a node that leads hears no other node, but all others hear it",
  needs: ["namespaces", "filter"],
  seconds: [5, 10],
  create: (situation) => {
    const { mesh, leaders, budget } = situation;
    const id = calmLeader(situation);
    if (id === undefined || budget < 1) return undefined;
    const others = mesh.nodes.map((node) => node.nodeId).filter((other) => other !== id);
    return partition(mesh, "one-way", { what: `${nameOf(id, leaders)} hears nobody`, disturbed: [id], deaf: new Map([[id, others]]), probe: id });
  },
};

export const mute: FaultKind = {
  name: "mute",
  about: "a node that leads hears the others, but none hears it",
  needs: ["namespaces", "filter"],
  seconds: [5, 10],
  create: (situation) => {
    const { mesh, leaders, budget } = situation;
    const id = calmLeader(situation);
    if (id === undefined || budget < 1) return undefined;
    const others = mesh.nodes.map((node) => node.nodeId).filter((other) => other !== id);
    return partition(mesh, "mute", { what: `nobody hears ${nameOf(id, leaders)}`, disturbed: [id], deaf: new Map(others.map((other) => [other, [id]])), probe: id });
  },
};

const FLAP_MS = 800;

export const flapping: FaultKind = {
  name: "flapping",
  about: "a node is cut off and connected again every 0.8 s",
  needs: ["namespaces", "filter"],
  seconds: [5, 9],
  create: ({ mesh, calm, budget, leaders }) => {
    const [id] = calm;
    if (id === undefined || budget < 1) return undefined;
    const network = networkOf(mesh);
    const others = mesh.nodes.map((node) => node.nodeId).filter((other) => other !== id);
    const rules = others.flatMap((other) => [`input ip saddr ${network.address(other)} counter drop`, `output ip daddr ${network.address(other)} counter drop`]);
    let cuts = 0;
    let flaps = false;
    let loop: Promise<void> = Promise.resolve();
    return {
      what: `the network of ${nameOf(id, leaders)} comes and goes`,
      disturbed: [id],
      inject: () => {
        flaps = true;
        loop = (async () => {
          while (flaps) {
            await network.filter(id, "flapping", rules);
            await new Promise((wake) => setTimeout(wake, FLAP_MS));
            if ((await network.filtered(id)) > 0) cuts += 1;
            await network.filter(id, "flapping", []);
            await new Promise((wake) => setTimeout(wake, FLAP_MS));
          }
        })();
        return Promise.resolve();
      },
      evidence: () => Promise.resolve(cuts > 1 ? `${cuts} cuts` : undefined),
      heal: async () => {
        flaps = false;
        await loop;
        await network.filter(id, "flapping", []);
      },
    };
  },
};
