import type { PlantedBug } from "./planted-bug.ts";

/** Mistakes of what is done after a sync that failed. */
export const DISK_BUGS: readonly PlantedBug[] = [
  {
    number: 86, name: "failed-sync-believed", tier: "raft",
    breaks: "a log that is opened takes what it reads for what a sync would have made durable: after a failed one and a power cut a hole is in front of what follows",
    hints: { nodes: 3, bootstrap: [1, 2, 3], requestEveryMs: 10, faults: "sync fails,crash", faultEveryMs: 300 },
    edits: [{ file: "packages/wal/src/segment-writer.ts", find: "        if (lastWrite !== undefined) await file.rewrite(lastWrite.at, lastWrite.bytes);\n", replace: "" }],
  },
];
