// Candidates for tests: by hand, and arbitrary ones that meet often.
import type { Bounds, Candidate, CandidateSet } from "@statemesh/contract";
import { parsePolicy } from "@statemesh/world";
import fc from "fast-check";

/** The default table, with types of an operator's own of every kind of chain. */
export const POLICY = parsePolicy(
  `version: 1
servers: {default_priority: 3, priorities: {9: 50}}
types:
  spell: {consistency: strong, chain: [priority, timestamp]}
  growth: {consistency: strong, chain: [timestamp], merge: true}
  weather: {consistency: strong, chain: [last_write_wins, server_id]}
  rank: {consistency: strong, chain: [server_id, timestamp]}
`,
  "test.yaml",
);

export const STRUCTURE = "structure_placement";
export const TERRAIN = "terrain_modification";

export function box(min: number, max: number): Bounds {
  return { minX: min, minY: 0, minZ: 0, maxX: max, maxY: 10, maxZ: 10 };
}

export function candidate(operationId: string, changes: Partial<Candidate> = {}): Candidate {
  return {
    operationId, type: STRUCTURE, serverId: 1, priority: 0, stamp: { physicalMs: 1000, logical: 0 }, keys: [], bounds: undefined, mergeClass: "",
    region: { x: 0, y: 0, z: 0 }, ...changes,
  };
}

export function setOf(candidates: Candidate[], incumbents: Candidate[] = []): CandidateSet {
  return { incumbents, candidates };
}

const TYPES = [STRUCTURE, TERRAIN, "structure_removal", "item_pickup", "creature_ownership", "spell", "growth", "weather", "rank", "gone_type"];
const MERGE_CLASSES = ["", "dig", "fill:stone", "growth"];
const KEYS = ["structure:a", "structure:b", "claim:c", "item:d", "creature:e", "key:f", "key:g"];

/** Few metres of room and boxes from a hand's breadth to all of it, so that overlaps are common at every scale. */
const bounds = fc.tuple(fc.integer({ min: -60, max: 60 }), fc.integer({ min: -60, max: 60 }), fc.constantFrom(0, 0.5, 1, 3, 12, 50, 3000)).map(([x, z, side]) => ({
  minX: x, minY: 0, minZ: z, maxX: x + side, maxY: 2, maxZ: z + side / 2,
}));

const fields = fc.record({
  type: fc.constantFrom(...TYPES),
  serverId: fc.integer({ min: 1, max: 3 }),
  priority: fc.integer({ min: -1, max: 4 }),
  stamp: fc.record({ physicalMs: fc.integer({ min: 1000, max: 1003 }), logical: fc.integer({ min: 0, max: 1 }) }),
  keys: fc.array(fc.constantFrom(...KEYS), { maxLength: 3 }),
  bounds: fc.option(bounds, { nil: undefined }),
  mergeClass: fc.constantFrom(...MERGE_CLASSES),
});

/** Ids that order differently by UTF-16 and by bytes. */
const ID_PREFIXES = ["a", "b", "\u{1f600}", "\uffee"];

function candidates(prefix: string, maxLength: number): fc.Arbitrary<Candidate[]> {
  return fc.array(fc.tuple(fields, fc.constantFrom(...ID_PREFIXES)), { maxLength }).map((list) =>
    list.map(([changes, id], at) => candidate(`${prefix}${id}${at}`, changes)),
  );
}

/** Sets on both sides of the size where the search for boxes turns from comparing to the grid. */
export const candidateSet: fc.Arbitrary<CandidateSet> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ incumbents: candidates("in-", 4), candidates: candidates("op-", 12) }) },
  { weight: 1, arbitrary: fc.record({ incumbents: candidates("in-", 100), candidates: candidates("op-", 160) }) },
);
