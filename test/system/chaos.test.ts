import { spawn } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { RunResult } from "../../tools/chaos/run.ts";
import { nodeProgram } from "../../tools/service-process.ts";

const FAULTS = ["kill", "isolate-leader", "power-cut", "pause"];

test("forty seconds of faults: everything holds, and every fault took effect or is said to be impossible here", async () => {
  const args = [join(import.meta.dirname, "../../tools/chaos.ts"), "--minutes", "0.7", "--seed", "26", "--faults", FAULTS.join(","), "--json"];
  const child = spawn(nodeProgram(), args, { stdio: ["ignore", "pipe", "pipe"] });
  let printed = "";
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const status = await new Promise((done) => child.once("close", done));
  expect(printed, said).toMatch(/^\{/);
  const result = JSON.parse(printed) as RunResult;
  expect(result.checks.filter((check) => check.anomalies.length > 0), `seed ${result.seed}, ${result.folder ?? ""}`).toEqual([]);
  expect(status).toBe(0);
  expect(result.counts.acknowledged).toBeGreaterThan(100);
  expect(result.counts.reads).toBeGreaterThan(10);

  // Where the machine forbids a fault it is said why, and the others are done all the same.
  for (const { kind, why } of result.forbidden) {
    expect(FAULTS).toContain(kind);
    expect(why.length).toBeGreaterThan(10);
  }
  expect(result.faults.length).toBeGreaterThan(0);
  for (const fault of result.faults) expect(fault.evidence, `${fault.what} took no effect`).toBeDefined();
  // A leader that is cut off must notice, and refuse.
  const cutOff = result.faults.filter((each) => each.kind === "isolate-leader");
  if (cutOff.length > 0) expect(result.kept.answeredTentative).toBeGreaterThan(0);
  for (const fault of cutOff) expect(fault.evidence).toMatch(/answered (NO_QUORUM|MINORITY_PARTITION|OUTCOME_UNKNOWN)/);
});
