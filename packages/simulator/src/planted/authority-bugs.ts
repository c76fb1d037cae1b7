import type { PlantedBug } from "./planted-bug.ts";
import { SMALL_MESH } from "./small-mesh.ts";

const HANDING = { ...SMALL_MESH, leasing: true, handoffs: true, leaseMs: 3_000, paceMs: 40, safetyMs: 8_000 } as const;

/** Mistakes about who owns a region. */
export const AUTHORITY_BUGS: readonly PlantedBug[] = [
  {
    number: 63, name: "handed-over-before-its-target-is-ready", tier: "mesh",
    breaks: "where an owner's lease ends, the region goes to the target of a handoff that has not accepted it",
    hints: { ...HANDING, faults: "shard killed,shard cut off" },
    edits: [{ file: "packages/replica/src/succession.ts", find: "if (handoff?.phase === HandoffPhase.ACCEPTED && tables.server", replace: "if (handoff !== undefined && tables.server" }],
  },
  {
    number: 64, name: "handed-over-under-the-same-epoch", tier: "mesh",
    breaks: "the target of a handoff gets the epoch of the owner before, so that nothing tells their writes apart",
    hints: { ...HANDING, faults: "leadership transfer" },
    edits: [{
      file: "packages/replica/src/succession.ts", find: "  const after = nextOwner(row.region, row, handoff.toServerId, row.durationMs);",
      replace: "  const after = { ...nextOwner(row.region, row, handoff.toServerId, row.durationMs), epoch: row.epoch };",
    }],
  },
  {
    number: 65, name: "handoff-told-before-it-is-fenced", tier: "mesh",
    breaks: "a committed handoff is answered before the next epoch is in the log of the region's group: what the old owner sent may still be decided",
    hints: { ...HANDING, faults: "leadership transfer" },
    edits: [{
      file: "packages/node/src/handoffs.ts",
      find: "  await fence(node, deadlineMs, { region: handoff.region, serverId: handoff.toServerId, epoch: handoff.epoch + 1, durationMs: node.leaseMs }, handoff.toServerId);\n",
      replace: "  void fence;\n",
    }],
  },
];
