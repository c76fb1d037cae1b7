import { closeSync, openSync, readdirSync, readSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { SimRandom } from "@statemesh/simulator";
import { type FaultKind, hasLogged, nameOf } from "../fault.ts";

/** Smaller segments are passed over: in the last frame of a log damage can't be told from a crash. */
const SEGMENT_BYTES_MIN = 16_384;
/** Of a segment, what may be hit: what stands behind it shows that it is no torn end. */
const HIT_BEFORE = 0.5;
const HEADER_BYTES = 64;
const REPAIR_LIMIT_MS = 60_000;

/** One bit of a node's log turns over while the node is down. It must find the damage, refuse it, and be repaired by the others. */
export const bitRot: FaultKind = {
  name: "bit-rot",
  about: "a bit of a node's log turns over while the node is down; it has to be repaired by the others",
  needs: [],
  seconds: [4, 8],
  create: ({ mesh, calm, budget, leaders, random }) => {
    if (budget < 1) return undefined;
    const id = calm.find((each) => segmentsOf(mesh.dataFolder(each)).length > 0);
    if (id === undefined) return undefined;
    const node = mesh.node(id);
    let hit = "";
    let logged = 0;
    return {
      what: `a bit turns over in the log of ${nameOf(id, leaders)}`,
      disturbed: [id],
      inject: async () => {
        await node.kill();
        logged = statSync(node.spec.logFile).size;
        hit = turnOver(random.pick(segmentsOf(mesh.dataFolder(id))), random);
        await mesh.revive(id);
      },
      evidence: async () => ((await hasLogged(node, logged, "the log was damaged")) ? `${hit}; the node found it` : undefined),
      heal: async () => {
        await mesh.revive(id);
        // Only one node at a time may lack what it once had.
        const endMs = performance.now() + REPAIR_LIMIT_MS;
        while ((await mesh.damagedGroups(id)) !== 0) {
          if (performance.now() > endMs) throw new Error(`node ${id} is not repaired after ${REPAIR_LIMIT_MS} ms`);
          await new Promise((wake) => setTimeout(wake, 200));
        }
      },
    };
  },
};

function segmentsOf(folder: string): string[] {
  const wal = join(folder, "wal");
  return readdirSync(wal).filter((name) => !name.startsWith("damaged")).map((name) => join(wal, name)).filter((path) => statSync(path).isFile() && statSync(path).size >= SEGMENT_BYTES_MIN);
}

function turnOver(path: string, random: SimRandom): string {
  const offset = random.between(HEADER_BYTES, Math.floor(statSync(path).size * HIT_BEFORE));
  const file = openSync(path, "r+");
  try {
    const byte = Buffer.alloc(1);
    readSync(file, byte, 0, 1, offset);
    writeSync(file, Buffer.of((byte[0] ?? 0) ^ (1 << random.between(0, 7))), 0, 1, offset);
  } finally {
    closeSync(file);
  }
  return `byte ${offset} of ${path.slice(path.lastIndexOf("/") + 1)}`;
}
