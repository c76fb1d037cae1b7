// ./dev lint: what must hold before a change is taken, apart from tests.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { API_FOLDER, writeApiReference } from "./api-reference.ts";
import { GENERATED_FOLDER, generateCode, IMAGE_FILE, typescriptFiles } from "./generated-code.ts";
import { ROOT, runTool, type StepResult } from "./step.ts";

const CHECKS: readonly { readonly name: string; readonly run: () => StepResult | Promise<StepResult> }[] = [
  { name: "contract: style", run: () => runTool("buf", ["lint"]) },
  { name: "contract: no breaking change", run: () => runTool("buf", ["breaking", "--against", "proto/baseline.binpb"]) },
  { name: "generated code is current", run: generatedIsCurrent },
  { name: "the SDK's reference is current and leaves nothing out", run: referenceIsCurrent },
  { name: "types", run: () => runTool("tsc", ["-b", "--force"]) },
  { name: "style, promises, cycles, purity", run: () => runTool("oxlint", []) },
  { name: "nothing unused", run: () => runTool("knip", []) },
  { name: "tidy", run: () => runTool("vitest", ["run", "--project", "house", "test/tidy", "--reporter=dot"]) },
];

const program = new Command("./dev lint")
  .description("Checks contract, types, style, package directions and leftovers. Ends with status 1 when one check fails.")
  .addHelpText("after", `\nChecks:\n${CHECKS.map(({ name }) => `  ${name}`).join("\n")}`)
  .argument("[text]", "only checks whose name contains this text")
  .parse();

let failed = 0;
for (const { name, run } of CHECKS.filter((check) => check.name.includes(program.args[0] ?? ""))) {
  const startedMs = performance.now();
  const { ok, output } = await run();
  console.log(`${ok ? "ok    " : "FAILED"} ${name} (${((performance.now() - startedMs) / 1000).toFixed(1)} s)`);
  if (!ok) {
    failed++;
    console.log(output.replaceAll(/^/gm, "       "));
  }
}
console.log(failed === 0 ? "lint: all checks hold" : `lint: ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

/** Generates beside the project and compares. */
function generatedIsCurrent(): StepResult {
  mkdirSync(join(ROOT, ".cache"), { recursive: true });
  const target = mkdtempSync(join(ROOT, ".cache", "generate-"));
  try {
    const generated = generateCode(target);
    if (!generated.ok) return generated;
    const files = new Set([...typescriptFiles(join(target, GENERATED_FOLDER)), ...typescriptFiles(join(ROOT, GENERATED_FOLDER))]);
    const stale = [...[...files].map((file) => join(GENERATED_FOLDER, file)), IMAGE_FILE].filter((file) => !same(join(target, file), join(ROOT, file)));
    return { ok: stale.length === 0, output: stale.length === 0 ? "" : `not as ./dev generate makes them:\n${stale.join("\n")}` };
  } finally {
    rmSync(target, { recursive: true });
  }
}

/** Writes the reference beside the project and compares. A public symbol without a comment is a fault too. */
async function referenceIsCurrent(): Promise<StepResult> {
  mkdirSync(join(ROOT, ".cache"), { recursive: true });
  const target = mkdtempSync(join(ROOT, ".cache", "api-"));
  try {
    const undocumented = await writeApiReference(target);
    const files = new Set([...pagesBelow(target), ...pagesBelow(join(ROOT, API_FOLDER))]);
    const stale = [...files].filter((file) => !same(join(target, file), join(ROOT, API_FOLDER, file))).map((file) => `${join(API_FOLDER, file)} is not as ./dev generate makes it`);
    return { ok: undocumented.length + stale.length === 0, output: [...undocumented, ...stale].join("\n") };
  } finally {
    rmSync(target, { recursive: true });
  }
}

function pagesBelow(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".md")).toSorted() : [];
}

function same(a: string, b: string): boolean {
  return existsSync(a) && existsSync(b) && readFileSync(a).equals(readFileSync(b));
}
