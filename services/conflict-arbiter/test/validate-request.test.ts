import { type Candidate, type CandidateSet, MeshError } from "@statemesh/contract";
import { DEFAULT_POLICY } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import { checkArbitrate, checkExplain, checkSet, checkWatch } from "../src/validate-request.ts";
import { box, candidate, PAIR, setOf } from "./candidates.ts";

function refusal(check: () => void): MeshError {
  try {
    check();
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
  throw new Error("the request was taken");
}

const third = (changes: Partial<Candidate>): CandidateSet => setOf([candidate("a"), candidate("b"), candidate("c", changes)]);
const many = (count: number): Candidate[] => Array.from({ length: count }, (_, at) => candidate(`op-${at}`, { bounds: undefined }));

describe("a set is refused with the field", () => {
  it.each<[string, CandidateSet | undefined, string]>([
    ["no set", undefined, "set"],
    ["no candidate", setOf([]), "set.candidates"],
    ["too many candidates", setOf(many(4097)), "set.candidates"],
    ["too many incumbents", setOf(many(1), many(4097)), "set.incumbents"],
    ["no id", third({ operationId: "" }), "set.candidates[2].operation_id"],
    ["long id", third({ operationId: "x".repeat(65) }), "set.candidates[2].operation_id"],
    ["unknown type", third({ type: "magic" }), "set.candidates[2].type"],
    ["no type", third({ type: "" }), "set.candidates[2].type"],
    ["eventual type", third({ type: "creature_position" }), "set.candidates[2].type"],
    ["server 0", third({ serverId: 0 }), "set.candidates[2].server_id"],
    ["priority", third({ priority: 2 ** 31 }), "set.candidates[2].priority"],
    ["no stamp", third({ stamp: undefined }), "set.candidates[2].stamp"],
    ["stamp 0", third({ stamp: { physicalMs: 0, logical: 0 } }), "set.candidates[2].stamp.physical_ms"],
    ["logical", third({ stamp: { physicalMs: 1, logical: -1 } }), "set.candidates[2].stamp.logical"],
    ["33 keys", third({ keys: Array.from({ length: 33 }, (_, at) => `k${at}`) }), "set.candidates[2].keys"],
    ["empty key", third({ keys: ["a", ""] }), "set.candidates[2].keys[1]"],
    ["box not finite", third({ bounds: { ...box(0, 1), minX: NaN } }), "set.candidates[2].bounds.min_x"],
    ["box upside down", third({ bounds: { ...box(0, 1), minY: 11 } }), "set.candidates[2].bounds.min_y"],
    ["long merge class", third({ mergeClass: "x".repeat(129) }), "set.candidates[2].merge_class"],
    ["region outside", third({ region: { x: 0, y: 0, z: 2 ** 21 } }), "set.candidates[2].region.z"],
    ["incumbent", setOf([candidate("a")], [candidate("b", { stamp: { physicalMs: -1, logical: 0 } })]), "set.incumbents[0].stamp.physical_ms"],
  ])("%s", (_, set, field) => {
    const error = refusal(() => checkSet(set, DEFAULT_POLICY, "set"));
    expect(error.field).toBe(field);
    expect(error.code).toBe(3);
    expect(error.message.startsWith(`${field}: `)).toBe(true);
  });

  it("but may be at its limits, and hold incumbents of nobody, of no known time and of a type that the table lost", () => {
    checkSet(setOf(many(4096), many(4096)), DEFAULT_POLICY, "set");
    checkSet(setOf([candidate("a", { region: undefined })], [candidate("b", { serverId: 0, stamp: { physicalMs: 0, logical: 0 }, type: "old_type" })]), DEFAULT_POLICY, "set");
  });
});

describe("a request is refused", () => {
  it("of Arbitrate without sets, with too many, or with too much in them", () => {
    const request = (sets: CandidateSet[]) => refusal(() => checkArbitrate({ sets, groupId: 1, policyDigest: "" }, DEFAULT_POLICY)).message;
    expect(request([])).toContain("1..64 sets");
    expect(request(Array.from({ length: 65 }, () => PAIR))).toContain("1..64 sets");
    expect(request(Array.from({ length: 5 }, () => setOf(many(4000))))).toContain("16384 candidates");
    expect(request(Array.from({ length: 17 }, () => setOf(many(1), many(4096))))).toContain("65536 incumbents");
    expect(request([PAIR, setOf([candidate("", {})])])).toContain("sets[1].candidates[0].operation_id: ");
  });

  it("of Explain for an id that is not in the set", () => {
    expect(refusal(() => checkExplain({ set: PAIR, operationId: "z" }, DEFAULT_POLICY)).field).toBe("operation_id");
  });

  const ALL = { types: [], regions: [], serverIds: [], groupIds: [], resumeToken: "" };

  it("of WatchConflicts for unknown types, regions outside of the world, or too many", () => {
    expect(refusal(() => checkWatch({ ...ALL, types: [1, 0], regions: [] })).field).toBe("types[1]");
    expect(refusal(() => checkWatch({ ...ALL, types: [99 as 1], regions: [] })).field).toBe("types[0]");
    expect(refusal(() => checkWatch({ ...ALL, types: [], regions: [{ x: 0, y: 9e9, z: 0 }] })).field).toBe("regions[0].y");
    expect(refusal(() => checkWatch({ ...ALL, types: [], regions: Array.from({ length: 344 }, (_, x) => ({ x, y: 0, z: 0 })) })).field).toBe("regions");
    expect(refusal(() => checkWatch({ ...ALL, serverIds: [7, 0] })).field).toBe("server_ids[1]");
    expect(refusal(() => checkWatch({ ...ALL, serverIds: Array.from({ length: 257 }, () => 1) })).field).toBe("server_ids");
    expect(refusal(() => checkWatch({ ...ALL, groupIds: [-1] })).field).toBe("group_ids[0]");
  });
});
