// Loaded by `node --import` before anything else: plants the bug that STATEMESH_PLANTED names into the source text of the modules that follow.
import { registerHooks } from "node:module";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { plant, PLANTED } from "@statemesh/simulator/planted";
import { ROOT } from "./step.ts";

const name = process.env["STATEMESH_PLANTED"];
const bug = PLANTED.find((candidate) => candidate.name === name);
if (bug === undefined) throw new Error(`no planted bug is called ${name}`);
const files = new Set(bug.edits.map(({ file }) => file));

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (!url.startsWith("file:") || loaded.source === undefined || loaded.source === null) return loaded;
    const file = relative(ROOT, fileURLToPath(url)).replaceAll("\\", "/");
    if (!files.has(file)) return loaded;
    const text = typeof loaded.source === "string" ? loaded.source : Buffer.from(loaded.source as Uint8Array).toString("utf8");
    return { ...loaded, source: plant(bug, file, text) };
  },
});
