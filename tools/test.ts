// ./dev test: every test of the project. The last line is `N passed, N failed`.
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Command, Option } from "commander";
import { redisProgram } from "./local-redis.ts";

const root = join(import.meta.dirname, "..");
const reports = join(root, ".cache", "reports");

/** The part of vitest's JSON report that counts. */
interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly success: boolean;
  readonly testResults: readonly { readonly name: string; readonly status: string; readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[] }[];
}

interface Options {
  readonly project?: string;
  readonly only?: string;
}

const program = new Command("./dev test")
  .description("Runs unit, property, transcript and system tests. System tests start real processes and run one file at a time, last.")
  .argument("[files...]", "only test files whose path contains one of these texts")
  .addOption(new Option("--project <name>", "only one part of the tests").choices(["packages", "house", "system"]))
  .option("--only <text>", "only tests whose name contains this text")
  .parse();
const options = program.opts<Options>();
const filtered = options.only !== undefined || program.args.length > 0;

// Where Redis is missing it is installed once, here: test files that run side by side would get into each other's way.
await redisProgram();

// System tests need both cores for their processes, so nothing runs beside them.
const parts = [["packages", "house"], ["system"]].map((part) => part.filter((name) => options.project === undefined || options.project === name)).filter((part) => part.length > 0);
let passed = 0;
let failed = 0;
const troubles: string[] = [];
for (const part of parts) {
  const report = await run(part);
  passed += report.passed;
  failed += report.failed;
  troubles.push(...report.troubles);
}
if (passed + failed === 0) {
  troubles.push("no test ran");
  failed++;
}
for (const trouble of troubles) console.log(`  ${trouble}`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

async function run(projects: readonly string[]): Promise<{ passed: number; failed: number; troubles: string[] }> {
  const file = join(reports, `${projects.join("-")}.json`);
  mkdirSync(reports, { recursive: true });
  rmSync(file, { force: true });
  const args = ["run", "--passWithNoTests", ...projects.flatMap((name) => ["--project", name]), "--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
  if (options.only !== undefined) args.push("--testNamePattern", options.only.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const status = await exitOf(join(root, "node_modules", ".bin", "vitest"), [...args, ...program.args]);
  const report = readReport(file);
  if (report === undefined) return status === 0 && filtered ? { passed: 0, failed: 0, troubles: [] } : { passed: 0, failed: 1, troubles: [`vitest ended with status ${status} and left no report`] };
  return judge(report, status, projects);
}

/** Failed and skipped tests by name; a run that failed without a failed test (a broken file, a stray error) counts as one. */
function judge(report: Report, status: number, projects: readonly string[]): { passed: number; failed: number; troubles: string[] } {
  const troubles: string[] = [];
  for (const file of report.testResults) {
    const broken = file.status === "failed" && file.assertionResults.every((test) => test.status !== "failed");
    if (broken) troubles.push(`FAILED ${file.name}: the file could not be run`);
    for (const test of file.assertionResults) if (test.status === "failed") troubles.push(`FAILED ${test.fullName}`);
  }
  let failed = Math.max(report.numFailedTests, troubles.length);
  if (!filtered && report.numPendingTests + report.numTodoTests > 0) {
    failed += report.numPendingTests + report.numTodoTests;
    troubles.push(`${report.numPendingTests + report.numTodoTests} tests did not run: a skipped test counts as failed`);
  }
  if (failed === 0 && status !== 0) {
    failed = 1;
    troubles.push(`vitest (${projects.join(", ")}) ended with status ${status} though no test failed`);
  }
  return { passed: report.numPassedTests, failed, troubles };
}

function readReport(file: string): Report | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Report;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Exit status of a command that shares this terminal. Signals reach it from the terminal itself, or are passed on. */
async function exitOf(command: string, args: readonly string[]): Promise<number> {
  const child = spawn(command, args, { cwd: root, stdio: "inherit" });
  const ignore = (): void => undefined;
  const pass = (): void => void child.kill("SIGTERM");
  process.on("SIGINT", ignore);
  process.on("SIGTERM", pass);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => resolve(code ?? (signal === "SIGINT" ? 130 : 143)));
    });
  } finally {
    process.off("SIGINT", ignore);
    process.off("SIGTERM", pass);
  }
}
