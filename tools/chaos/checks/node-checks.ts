/** What the nodes must agree on once everything is healed. */
import { connect } from "@statemesh/client";
import { ReadLevel } from "@statemesh/contract";
import { type ChaosMesh, GROUPS, NODES } from "../chaos-mesh.ts";
import { type Setting } from "../load/setting.ts";
import { settled } from "./check.ts";
import { regionsOf } from "./final-state.ts";

/** All nodes answer, every group has a leader, all have applied the same and hold the same. */
export async function converged(mesh: ChaosMesh, limitMs: number): Promise<string[]> {
  const diverged = new Set<string>();
  const last = await settled(async () => {
    const troubles: string[] = [];
    const all = await Promise.all(mesh.nodes.map(async (node) => ({ id: node.nodeId, status: await mesh.status(node.nodeId) })));
    for (let groupId = 0; groupId <= GROUPS; groupId++) {
      const here = all.map(({ id, status }) => ({ id, group: status?.groups.find((each) => each.groupId === groupId) }));
      const leader = here.find(({ group }) => group?.role === "leader")?.group;
      if (leader === undefined) troubles.push(`group ${groupId} has no leader`);
      for (const { id, group } of here) {
        if (group === undefined) troubles.push(`node ${id} does not answer`);
        else if (group.appliedIndex !== leader?.commitIndex || group.pending > 0) troubles.push(`group ${groupId}: node ${id} stands at ${group.appliedIndex} of ${leader?.commitIndex ?? 0} with ${group.pending} waiting`);
      }
      for (const a of here) {
        for (const b of here) {
          if (a.group === undefined || b.group === undefined || a.group.appliedIndex !== b.group.appliedIndex || a.group.stateDigest === b.group.stateDigest) continue;
          diverged.add(`group ${groupId} at ${a.group.appliedIndex}: node ${a.id} holds ${a.group.stateDigest}, node ${b.id} ${b.group.stateDigest}`);
        }
      }
    }
    return troubles;
  }, limitMs);
  return [...diverged, ...last];
}

/** What was published is the same on all nodes in the end. */
export async function eventualConverged(mesh: ChaosMesh, setting: Setting, limitMs: number): Promise<{ keys: number; troubles: string[] }> {
  const clients = mesh.nodes.map((node) => connect({ endpoints: [node.clientAddress], serverId: 1, name: "check" }));
  let keys = 0;
  try {
    const troubles = await settled(async () => {
      const held = await Promise.all(clients.map(async (client) => {
        const values = new Map<string, string>();
        for (const region of regionsOf(setting)) {
          const page = await client.read({ region, level: ReadLevel.EVENTUAL, includeEventual: true, pageSize: 1 });
          for (const it of page.values) values.set(`${it.type} ${region.x} ${it.key}`, Buffer.from(it.value).toString("latin1"));
        }
        return values;
      }));
      const all = new Set(held.flatMap((values) => [...values.keys()]));
      keys = all.size;
      return [...all].filter((key) => new Set(held.map((values) => values.get(key))).size > 1).map((key) => `${key} differs: ${held.map((values) => values.get(key) ?? "nothing").join(", ")}`);
    }, limitMs);
    return { keys, troubles };
  } finally {
    for (const client of clients) client.close();
  }
}

/** Items minted less items burned are the items held, as every node says. */
export async function conserved(mesh: ChaosMesh): Promise<{ kinds: number; troubles: string[] }> {
  const troubles: string[] = [];
  let kinds = 0;
  for (const node of mesh.nodes) {
    const client = connect({ endpoints: [node.clientAddress], serverId: 1, name: "check", deadlineMs: 30_000 });
    try {
      const { items, conserved: all } = await client.verifyConservation();
      kinds = items.length;
      for (const it of items) if (!it.conserved || it.minted - it.burned !== it.held + it.onGround) troubles.push(`node ${node.nodeId}: ${it.itemKind}: minted ${it.minted}, burned ${it.burned}, held ${it.held}, on the ground ${it.onGround}`);
      if (!all) troubles.push(`node ${node.nodeId} says that a kind is not conserved`);
    } finally {
      client.close();
    }
  }
  return { kinds: kinds, troubles: mesh.nodes.length === NODES ? troubles : [...troubles, "a node is missing"] };
}
