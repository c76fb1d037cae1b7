// ./dev bundle: dist/SERVICE/main.mjs for each service.
import { statSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { BUNDLES, bundleService } from "./bundles.ts";
import { ROOT } from "./step.ts";

const program = new Command("./dev bundle")
  .description("Bundles services into dist/SERVICE: one file that plain Node 26 runs, and what it reads at run time.")
  .argument("[services...]", `some of ${Object.keys(BUNDLES).join(", ")}; all where none is named`)
  .parse();

for (const service of program.args.length === 0 ? Object.keys(BUNDLES) : program.args) {
  if (BUNDLES[service] === undefined) program.error(`error: no service ${JSON.stringify(service)}; there are ${Object.keys(BUNDLES).join(", ")}`);
  const main = await bundleService(service, join(ROOT, "dist", service));
  console.log(`${main} (${(statSync(join(ROOT, main)).size / 1024).toFixed(0)} KiB)`);
}
