import { ConflictType } from "@statemesh/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEFAULT_POLICY, DEFAULT_POLICY_TEXT, parsePolicy, PolicyError } from "../src/index.ts";
import { CUSTOM_POLICY } from "./operations.ts";

function errorOf(text: string): PolicyError {
  try {
    parsePolicy(text, "policy.yaml");
  } catch (error) {
    if (error instanceof PolicyError) return error;
    throw error;
  }
  throw new Error("the file was taken");
}

describe("the default policy", () => {
  it("holds the built-in types with their classes and chains", () => {
    expect(Object.fromEntries(DEFAULT_POLICY.types().map((type) => [type.name, `${type.consistency}: ${type.chain.join(", ")}`]))).toEqual({
      structure_placement: "strong: priority, timestamp, server_id, operation_id",
      structure_removal: "strong: priority, timestamp, server_id, operation_id",
      resource_claim: "strong: timestamp, server_id, operation_id",
      item_pickup: "strong: timestamp, server_id, operation_id",
      player_inventory: "strong: timestamp, server_id, operation_id",
      trade: "strong: timestamp, server_id, operation_id",
      container: "strong: timestamp, server_id, operation_id",
      escrow_opening: "strong: timestamp, server_id, operation_id",
      terrain_modification: "strong: merge, timestamp, server_id, operation_id",
      creature_ownership: "strong: priority, timestamp, server_id, operation_id",
      creature_position: "eventual: last_write_wins, server_id",
      cosmetic_effect: "eventual: last_write_wins, server_id",
      automation_state: "eventual: last_write_wins, server_id",
      power_grid_state: "eventual: last_write_wins, server_id",
      event_sequence: "causal: last_write_wins, server_id",
    });
    expect([DEFAULT_POLICY.compensationWindowMs, DEFAULT_POLICY.maxOffsetMs, DEFAULT_POLICY.concurrencyWindowMs, DEFAULT_POLICY.priorityOf(7)]).toEqual([200, 500, 250, 0]);
  });

  it("reads as a file of an operator, and then changes nothing", () => {
    expect(parsePolicy(DEFAULT_POLICY_TEXT, "copy.yaml").types()).toEqual(DEFAULT_POLICY.types());
  });
});

describe("a policy file", () => {
  it("adds types and priorities, and leaves the rest as it is", () => {
    const policy = parsePolicy(CUSTOM_POLICY, "policy.yaml");
    expect(policy.typeOf("spell")).toEqual({ name: "spell", consistency: "strong", chain: ["priority", "timestamp", "operation_id"], merge: false, stateMerge: undefined, builtIn: false, conflict: ConflictType.KEY, layer: "spell", tentative: false });
    expect(policy.typeOf("growth")?.chain).toEqual(["merge", "timestamp", "operation_id"]);
    expect([policy.priorityOf(7), policy.priorityOf(8)]).toEqual([100, 1]);
    expect(policy.typeOf("trade")).toEqual(DEFAULT_POLICY.typeOf("trade"));
    expect(policy.maxOffsetMs).toBe(500);
  });

  it("overrides chains and windows", () => {
    const policy = parsePolicy("version: 1\nwindows: {compensation_ms: 0, concurrency_ms: 1000}\ntypes:\n  item_pickup: {chain: [server_id]}\n  terrain_modification: {merge: false}\n".replace("{merge: false}", "{chain: [priority]}"), "p");
    expect(policy.typeOf("item_pickup")?.chain).toEqual(["server_id", "operation_id"]);
    expect(policy.typeOf("terrain_modification")).toMatchObject({ chain: ["priority", "operation_id"], merge: false });
    expect([policy.compensationWindowMs, policy.concurrencyWindowMs]).toEqual([0, 1000]);
  });

  it("switches merging off with one word", () => {
    expect(parsePolicy("version: 1\ntypes:\n  terrain_modification: {merge: false}\n", "p").typeOf("terrain_modification")).toMatchObject({ chain: ["timestamp", "server_id", "operation_id"], merge: false });
  });

  it("says which types a node that is cut off may keep, and lets none that moves items be kept", () => {
    const kept = (policy: typeof DEFAULT_POLICY): string[] => policy.types().filter(({ tentative }) => tentative).map(({ name }) => name);
    expect(kept(DEFAULT_POLICY)).toEqual(["resource_claim", "structure_placement", "terrain_modification"]);
    expect(kept(parsePolicy("version: 1\ntypes:\n  resource_claim: {tentative: false}\n  terrain_modification: {merge: false}\n  creature_ownership: {tentative: true}\n  spell: {consistency: strong, chain: [timestamp], tentative: true}\n", "p"))).toEqual([
      "creature_ownership", "spell", "structure_placement", "terrain_modification",
    ]);
    for (const name of ["item_pickup", "player_inventory", "trade"]) {
      expect(errorOf(`version: 1\ntypes:\n  ${name}: {tentative: true}\n`).problems).toMatchObject([{ line: 3, field: `types.${name}.tentative` }]);
    }
    expect(errorOf("version: 1\ntypes:\n  creature_position: {tentative: true}\n").problems).toMatchObject([{ line: 3, field: "types.creature_position.tentative" }]);
  });

  it("names merge functions for types of the operator's own", () => {
    const policy = parsePolicy("version: 1\ntypes:\n  vault: {consistency: strong, chain: [timestamp], merge: counter}\n  hero: {consistency: strong, chain: [timestamp], merge: {fields: {hp: counter, bag: {fields: {gems: set}}}}}\n", "p");
    expect(policy.typeOf("vault")).toMatchObject({ chain: ["merge", "timestamp", "operation_id"], merge: true, stateMerge: { spec: "counter" } });
    expect(policy.typeOf("hero")?.stateMerge?.spec).toEqual(new Map<string, unknown>([["hp", "counter"], ["bag", new Map([["gems", "set"]])]]));
  });

  it.each([
    ["version: 1\ntypes:\n  vault:\n    consistency: strong\n    chain: [timestamp]\n    merge: sum\n", 6, "types.vault.merge", "must be true, false, counter, set, last_write_wins, terrain, tree"],
    ["version: 1\ntypes:\n  vault:\n    consistency: strong\n    chain: [timestamp]\n    merge: {fields: {}}\n", 6, "types.vault.merge", "at least one field"],
    ["version: 1\ntypes:\n  vault:\n    consistency: strong\n    chain: [timestamp]\n    merge:\n      fields:\n        Hp: counter\n", 8, "types.vault.merge.fields.Hp", "a letter first"],
    ["version: 1\ntypes:\n  vault:\n    consistency: strong\n    chain: [timestamp]\n    merge:\n      fields:\n        hp: 7\n", 8, "types.vault.merge.fields.hp", "must be counter"],
    ["version: 1\ntypes:\n  vault:\n    consistency: strong\n    chain: [timestamp]\n    merge:\n      field: {hp: counter}\n", 7, "types.vault.merge.field", "is no field here"],
    ["version: 1\ntypes:\n  vault:\n    consistency: eventual\n    chain: [last_write_wins, server_id]\n    merge: counter\n", 6, "types.vault.merge", "can't be merged"],
    ["version: 1\ntypes:\n  trade:\n    merge: counter\n", 4, "types.trade.merge", "only types of your own"],
    ["", 1, "", "expected"],
    ["version: 2\n", 1, "version", "expected 1"],
    ["version: 1\ncolour: red\n", 2, "colour", "is not a field"],
    ["version: 1\ntypes:\n  spell: {consistency: strong}\n", 3, "types.spell", "chain is required"],
    ["version: 1\ntypes:\n  spell:\n    chain: [timestamp]\n", 3, "types.spell", "consistency is required"],
    ["version: 1\ntypes:\n  Spell:\n    consistency: strong\n    chain: [timestamp]\n", 3, "types.Spell", "a letter first"],
    ["version: 1\ntypes:\n  item:\n    consistency: strong\n    chain: [timestamp]\n", 3, "types.item", "a name of StateMesh's own"],
    ["version: 1\ntypes:\n  trade:\n    chain:\n      - timestamp\n      - luck\n", 6, "types.trade.chain[1]", "expected one of"],
    ["version: 1\ntypes:\n  trade:\n    chain: [timestamp, timestamp]\n", 4, "types.trade.chain[1]", "twice"],
    ["version: 1\ntypes:\n  trade:\n    chain: [merge, timestamp]\n", 4, "types.trade.chain[0]", "can't be merged"],
    ["version: 1\ntypes:\n  trade:\n    chain: [operation_id, timestamp]\n", 4, "types.trade.chain[1]", "no rule can follow"],
    ["version: 1\ntypes:\n  trade:\n    chain: [timestamp, last_write_wins]\n", 4, "types.trade.chain", "exclude each other"],
    ["version: 1\ntypes:\n  trade:\n    consistency: eventual\n", 4, "types.trade.consistency", "stays strong"],
    ["version: 1\ntypes:\n  creature_position:\n    chain: [timestamp]\n", 4, "types.creature_position.chain", "must be [last_write_wins, server_id]"],
    ["version: 1\nservers:\n  priorities:\n    0: 5\n", 4, "servers.priorities.0", "1..4294967295"],
    ["version: 1\nservers:\n  priorities:\n    7: high\n", 4, "servers.priorities.7", "expected number"],
    ["version: 1\nwindows:\n  max_offset_ms: -1\n", 3, "windows.max_offset_ms", ">=0"],
    ["version: 1\nversion: 1\n", 2, "", "unique"],
    ["version: 1\ntypes: {\n", 3, "", ""],
  ])("%j is refused with line and field", (text, line, field, rule) => {
    const error = errorOf(text);
    expect({ line: error.line, field: error.field }).toEqual({ line, field });
    expect(error.rule).toContain(rule);
    expect(error.message).toContain(`policy.yaml:${line}: `);
  });

  it("is refused with everything that is wrong at once", () => {
    expect(errorOf("version: 1\ntypes:\n  spell: {consistency: strong}\n  charm: {chain: [timestamp]}\n").problems).toHaveLength(2);
  });

  it("is refused where it is too long or its aliases explode", () => {
    expect(errorOf(`version: 1 # ${"x".repeat(1_048_576)}`).rule).toContain("1048576 characters");
    const bomb = `a: &a [x, x, x, x, x, x, x, x, x]\n${"bcdefgh".split("").map((name, at) => `${name}: &${name} [${`*${"abcdefg"[at]}, `.repeat(9)}]`).join("\n")}\n`;
    expect(errorOf(bomb).rule).toMatch(/alias/i);
  });

  it("gives nothing but a PolicyError for any text", () => {
    const words = fc.constantFrom("version: 1\n", "types:\n", "  spell:\n", "    chain: [", "timestamp", "]\n", "servers:", "- ", "{", "}", "*a", "&a ", "\t", "7: 1\n", "!!x ", "'");
    fc.assert(fc.property(fc.oneof(fc.string(), fc.array(words, { maxLength: 20 }).map((parts) => parts.join(""))), (text) => {
      try {
        parsePolicy(text, "p");
      } catch (error) {
        expect(error).toBeInstanceOf(PolicyError);
      }
    }));
  });
});
