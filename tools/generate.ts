// ./dev generate: everything in the repository that is made from something else in it.
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { API_FOLDER, writeApiReference } from "./api-reference.ts";
import { CONFIGURATION_PAGE, configurationPage } from "./configuration-page.ts";
import { GENERATED_FOLDER, generateCode, IMAGE_FILE } from "./generated-code.ts";
import { ROOT, runTool } from "./step.ts";

new Command("./dev generate")
  .description(`Lints proto/ and generates ${GENERATED_FOLDER}, ${IMAGE_FILE}, ${CONFIGURATION_PAGE} and ${API_FOLDER}.`)
  .parse();

mkdirSync(join(ROOT, ".cache"), { recursive: true });
// Beside the project first: what runs from the checkout never sees half of it.
const target = mkdtempSync(join(ROOT, ".cache", "generate-"));
try {
  for (const step of [() => runTool("buf", ["lint"]), () => generateCode(target)]) {
    const { ok, output } = step();
    if (output !== "") console.log(output);
    if (!ok) process.exit(1);
  }
  rmSync(join(ROOT, GENERATED_FOLDER), { recursive: true, force: true });
  renameSync(join(target, GENERATED_FOLDER), join(ROOT, GENERATED_FOLDER));
  renameSync(join(target, IMAGE_FILE), join(ROOT, IMAGE_FILE));
} finally {
  rmSync(target, { recursive: true, force: true });
}
writeFileSync(join(ROOT, CONFIGURATION_PAGE), configurationPage());
const undocumented = await writeApiReference(join(ROOT, API_FOLDER));
for (const each of undocumented) console.log(each);
console.log(`generated ${GENERATED_FOLDER}, ${IMAGE_FILE}, ${CONFIGURATION_PAGE}, ${API_FOLDER}`);
if (undocumented.length > 0) process.exitCode = 1;
