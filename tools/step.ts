import { spawnSync } from "node:child_process";
import { join } from "node:path";

/** Folder of the project. */
export const ROOT: string = join(import.meta.dirname, "..");

/** What a command printed, and whether it ended well. */
export interface StepResult {
  readonly ok: boolean;
  readonly output: string;
}

/** Runs a tool of node_modules in the project's folder and waits for it. */
export function runTool(tool: string, args: readonly string[], limitMs = 600_000): StepResult {
  const result = spawnSync(join(ROOT, "node_modules", ".bin", tool), args, { cwd: ROOT, encoding: "utf8", timeout: limitMs, maxBuffer: 64 * 1024 * 1024 });
  if (result.error !== undefined) return { ok: false, output: `${tool}: ${result.error.message}` };
  return { ok: result.status === 0, output: `${result.stdout}${result.stderr}`.trimEnd() };
}
