// ./dev package: dist/client, and the file that `npm install` takes.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { Command } from "commander";
import { buildClientPackage } from "./client-package.ts";
import { ROOT } from "./step.ts";

new Command("./dev package").description("Builds the TypeScript SDK for plain Node 20 and later into dist/client, and packs it.").parse();

const folder = join(ROOT, "dist", "client");
await buildClientPackage(folder);
const packed = spawnSync("npm", ["pack", "--silent", "--pack-destination", join(ROOT, "dist")], { cwd: folder, encoding: "utf8" });
if (packed.status !== 0) throw new Error(`npm pack: ${packed.stderr}`);
console.log(`dist/${packed.stdout.trim()}`);
