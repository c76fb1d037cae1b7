import type { PlantedBug } from "./planted-bug.ts";
import { SMALL_MESH } from "./small-mesh.ts";

const HANDING = { ...SMALL_MESH, leasing: true, handoffs: true, leaseMs: 3_000, paceMs: 40, safetyMs: 8_000 } as const;

const SPLIT = { ...SMALL_MESH, nodes: 5, paceMs: 400, safetyMs: 20_000, faults: "partition,three-way partition,bridge,one-way cut", faultEveryMs: 1_000 } as const;

/** Mistakes about who owns a region, and about who is there. */
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
  {
    number: 66, name: "view-without-a-quorum", tier: "mesh",
    breaks: "the largest part of a cluster makes a view, though it could not decide",
    hints: SPLIT,
    edits: [
      { file: "packages/views/src/view.ts", find: "if (!quorums.some((quorum) => quorum.decides((voter) => votedBy.includes(voter)))) return", replace: "if (quorums.length === 0) return" },
      { file: "packages/views/src/verdict.ts", find: "if (quorum.decides((voter) => clique.includes(voter)) && isBetter(", replace: "if (isBetter(" },
      { file: "packages/views/src/link-watch.ts", find: "    return this.#quorum.decides((voter) => votedBy.includes(voter)) ? {", replace: "    return votedBy.length > 0 ? {" },
    ],
  },
  {
    number: 67, name: "votes-for-another-view-count", tier: "mesh",
    breaks: "whoever votes for some view is counted for the one that is proposed",
    hints: SPLIT,
    edits: [{ file: "packages/views/src/view.ts", find: " && sameMembers(vote, alive)) votedBy.add", replace: " && vote.length > 0) votedBy.add" }],
  },
];
