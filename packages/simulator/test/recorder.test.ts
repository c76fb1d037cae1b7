import { expect, test } from "vitest";
import { Recorder, Simulation } from "../src/index.ts";

test("the hash is that of what happened, whether somebody reads the trace or not", () => {
  const lines: string[] = [];
  const run = (last: string, trace?: (line: string) => void): string => {
    const recorder = new Recorder(new Simulation(5), trace === undefined ? {} : { trace });
    recorder.note("sent", 1, 2, "append");
    recorder.fault("crash", 1.5);
    recorder.note("took", last);
    return recorder.outcome().hash;
  };
  const hash = run("a");
  expect(hash).toMatch(/^[0-9a-f]{16}$/);
  expect(run("a", (line) => lines.push(line))).toBe(hash);
  expect(lines.map((line) => line.trim())).toEqual(["0.000 sent 1 2 append", "0.000 fault crash 1.5", "0.000 took a"]);
  expect(run("b")).not.toBe(hash);
});

test("a run ends with its first violation; counts are by name", async () => {
  const simulation = new Simulation(5);
  const recorder = new Recorder(simulation);
  recorder.fault("pause");
  recorder.fault("crash");
  recorder.fault("crash");
  recorder.sometimes("a leader was paused");
  await simulation.runUntil(12);
  expect(recorder.isOver).toBe(false);
  recorder.violation("election safety", "two leaders");
  recorder.violation("log matching", "later");
  expect(recorder.isOver).toBe(true);
  const { faults, sometimes, violations, simulatedMs, seed } = recorder.outcome();
  expect({ faults, sometimes, violations, simulatedMs, seed }).toEqual({
    faults: { crash: 2, pause: 1 }, sometimes: { "a leader was paused": 1 },
    violations: [{ kind: "election safety", message: "two leaders", atMs: 12 }], simulatedMs: 12, seed: 5,
  });
});
