import { describe, expect, test } from "vitest";
import { DEFAULT_POLICY, parsePolicy } from "../src/index.ts";

const digestOf = (text: string): string => parsePolicy(text, "policy.yaml").digest;

const OWN = "types:\n  mine:\n    consistency: strong\n    chain: [timestamp, server_id]\n    merge:\n      fields:\n        ore: counter\n        tags: set\n";

describe("the digest of a policy", () => {
  test("is of what holds, not of how the file says it", () => {
    expect(DEFAULT_POLICY.digest).toMatch(/^[0-9a-f]{16}$/);
    expect(digestOf("version: 1\n")).toBe(DEFAULT_POLICY.digest);
    expect(digestOf("version: 1\n# what holds anyway\nwindows:\n  max_offset_ms: 500\n")).toBe(DEFAULT_POLICY.digest);
    const other = "types:\n  mine:\n    chain: [timestamp, server_id]\n    merge:\n      fields:\n        tags: set\n        ore: counter\n    consistency: strong\n";
    expect(digestOf(`version: 1\n${OWN}`)).toBe(digestOf(`version: 1\n${other}`));
    expect(digestOf("version: 1\nservers:\n  priorities: {7: 1, 12: 2}\n")).toBe(digestOf("version: 1\nservers:\n  priorities: {12: 2, 7: 1}\n"));
  });

  test("is another one with each thing that decides or is decided about", () => {
    const texts = [
      "", OWN, OWN.replace("counter", "last_write_wins"), OWN.replace("[timestamp, server_id]", "[server_id, timestamp]"), `${OWN}    tentative: true\n`, OWN.replace("mine", "yours"),
      "windows:\n  max_offset_ms: 501\n", "windows:\n  compensation_ms: 201\n", "windows:\n  concurrency_ms: 251\n", "servers:\n  default_priority: 1\n", "servers:\n  priorities: {7: 1}\n",
      "types:\n  resource_claim:\n    tentative: false\n",
    ];
    const digests = texts.map((text) => digestOf(`version: 1\n${text}`));
    expect(new Set(digests).size).toBe(texts.length);
  });
});
