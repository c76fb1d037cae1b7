import { readFileSync } from "node:fs";
import { join } from "node:path";
import { MeshError } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { isRetryable, OPEN, Outage, REFUSED_FOR_NOW } from "../src/retry.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..");

/** Names in capitals between two texts of a file. */
function reasonsIn(file: string, from: string, to: string): string[] {
  const text = readFileSync(join(ROOT, file), "utf8");
  const start = text.indexOf(from);
  if (start < 0) throw new Error(`${file} no longer holds ${from}`);
  return [...text.slice(start + from.length, text.indexOf(to, start + from.length)).matchAll(/[A-Z]+(?:_[A-Z]+)+|OVERLOADED|UNREACHABLE/g)].map(([name]) => name).toSorted();
}

describe("asking again", () => {
  it("helps where a transaction holds what is asked for: it ends in seconds", () => {
    expect(isRetryable(new MeshError("TRANSACTION_PENDING", "held"), false)).toBe(true);
    expect(isRetryable(new MeshError("OUTCOME_UNKNOWN", "lost"), false)).toBe(false);
    expect(isRetryable(new MeshError("OUTCOME_UNKNOWN", "lost"), true)).toBe(true);
    expect(isRetryable(new MeshError("FENCED", "stale"), true)).toBe(false);
  });

  it("follows one list in every language that the project shows", () => {
    const refused = [...REFUSED_FOR_NOW].toSorted();
    expect(reasonsIn("examples/python/mesh.py", "REFUSED_FOR_NOW = {", "}")).toEqual(refused);
    expect(reasonsIn("examples/python/mesh.py", "OPEN = {", "}")).toEqual([...OPEN].toSorted());
    expect(reasonsIn("examples/cpp/mesh_thread.h", "reasons = {", "}")).toEqual([...refused, "OUTCOME_UNKNOWN"].toSorted());
    expect(reasonsIn("docs/other-languages.md", "any call may ask again: ", ". Open:")).toEqual(refused);
  });
});

describe("an outage", () => {
  it("begins when a connection breaks, however long it was quiet, and lasts until there is one again", () => {
    const outage = new Outage(0);
    expect(outage.broken(0, false, 50)).toBe(50);
    expect(outage.broken(100, false, 150)).toBe(150);
    // It was quiet for an hour after what it brought, and the next for a minute without bringing anything.
    expect(outage.broken(200, true, 3_600_000)).toBe(0);
    expect(outage.broken(3_600_100, false, 3_600_150)).toBe(150);
    expect(outage.broken(3_600_200, false, 3_660_200)).toBe(0);
    expect(outage.broken(3_660_300, false, 3_660_400)).toBe(200);
  });
});
