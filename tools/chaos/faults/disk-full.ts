import { closeSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { FaultKind } from "../fault.ts";
import { nameOf } from "../fault.ts";

const BLOCK = new Uint8Array(65_536);
/** What the node frees (a segment, an old snapshot) is filled again as often. */
const EVERY_MS = 200;

/** A node's disk has not one block left. */
export const diskFull: FaultKind = {
  name: "disk-full",
  about: "the small disk of a node is full to the last block",
  needs: ["mount"],
  seconds: [4, 8],
  create: ({ mesh, calm, budget, leaders }) => {
    const id = calm.find((each) => mesh.smallDiskOf(each) !== undefined);
    const folder = id === undefined ? undefined : mesh.smallDiskOf(id);
    if (id === undefined || folder === undefined || budget < 1) return undefined;
    const ballast = join(folder, "ballast");
    let filling = false;
    let loop: Promise<void> = Promise.resolve();
    return {
      what: `the disk of ${nameOf(id, leaders)} is full`,
      disturbed: [id],
      inject: () => {
        filling = true;
        loop = (async () => {
          while (filling) {
            fill(ballast);
            await new Promise((wake) => setTimeout(wake, EVERY_MS));
          }
        })();
        return Promise.resolve();
      },
      evidence: async () => {
        const said = await mesh.refusal(id);
        return statfsSync(folder).bavail === 0 && said !== undefined ? `no block is free; the node answered ${said}` : undefined;
      },
      heal: async () => {
        filling = false;
        await loop;
        rmSync(ballast, { force: true });
        await mesh.revive(id);
      },
    };
  },
};

/** Writes until there is no space, the last bytes one by one. */
function fill(path: string): void {
  const file = openSync(path, "a");
  try {
    for (let size = BLOCK.length; size >= 1; ) {
      try {
        writeSync(file, BLOCK, 0, size);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        size = Math.floor(size / 16);
      }
    }
  } finally {
    closeSync(file);
  }
}
