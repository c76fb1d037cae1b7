import { MeshError, type Operation, PlayerInventory_Action, TerrainModification_Mode } from "@statemesh/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEFAULT_POLICY, fingerprintOf, footprintOf, parsePolicy, validateOperation } from "../src/index.ts";
import * as sample from "./operations.ts";

const CUSTOM = parsePolicy(sample.CUSTOM_POLICY, "policy.yaml");

function refusal(op: Operation, path?: string): MeshError {
  try {
    validateOperation(op, CUSTOM, path);
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
  throw new Error("the operation was taken");
}

/** An operation with changed fields of its body. */
function broken(make: () => Operation, changes: Record<string, unknown>): Operation {
  const op = make();
  if (op.body !== undefined) Object.assign(op.body.value, changes);
  return op;
}

const box = (changes: Record<string, unknown>) => ({ ...sample.BOX, ...changes });
const footprint = (changes: Record<string, unknown>) => Object.assign({ keys: [], regions: [], bounds: undefined }, changes);
const regions = (count: number) => Array.from({ length: count }, (_, x) => ({ x, y: 9, z: 9 }));
const SIXTEEN = (quantity: number) => Array.from({ length: 16 }, () => ({ itemKind: "ore", quantity }));

describe("a valid operation", () => {
  it.each([...sample.BUILT_IN_OPERATIONS, sample.custom].map((make) => [make().type, make]))("of type %s is taken", (type, make) => {
    expect(validateOperation(make(), CUSTOM).name).toBe(type);
  });

  it("may state the priority that the table gives its server", () => {
    expect(validateOperation({ ...sample.claim(), priority: 100 }, CUSTOM).name).toBe("resource_claim");
  });

  it("may fill its limits", () => {
    const long = "x".repeat(64);
    validateOperation({ ...broken(sample.claim, { resourceId: long, playerId: "鉱".repeat(21) }), operationId: long }, CUSTOM);
    validateOperation(broken(sample.placement, { bounds: box({ minX: 0, maxX: 512 }) }), CUSTOM);
    validateOperation(broken(sample.dig, { brush: Buffer.alloc(16_384) }), CUSTOM);
    validateOperation(broken(sample.trade, { firstGives: SIXTEEN(Math.floor(Number.MAX_SAFE_INTEGER / 16)) }), CUSTOM);
    validateOperation({ ...sample.claim(), footprint: footprint({ keys: Array.from({ length: 31 }, (_, at) => `k${at}`), regions: regions(27) }) }, CUSTOM);
    validateOperation(sample.custom({ footprint: footprint({ bounds: box({ minX: -2000, minY: -2000, minZ: -2000, maxX: 4000, maxY: 4000, maxZ: 4000 }) }) }), CUSTOM);
  });
});

describe("an operation is refused with the field and the rule", () => {
  const cases: [string, Operation, string][] = [
    ["no id", { ...sample.claim(), operationId: "" }, "operation.operation_id"],
    ["long id", { ...sample.claim(), operationId: "x".repeat(65) }, "operation.operation_id"],
    ["id long in bytes only", { ...sample.claim(), operationId: "鉱".repeat(22) }, "operation.operation_id"],
    ["control character", { ...sample.claim(), operationId: "a\nb" }, "operation.operation_id"],
    ["no type", { ...sample.claim(), type: "" }, "operation.type"],
    ["server 0", { ...sample.claim(), serverId: 0 }, "operation.server_id"],
    ["server too high", { ...sample.claim(), serverId: 4_294_967_296 }, "operation.server_id"],
    ["no home", { ...sample.claim(), homeRegion: undefined }, "operation.home_region"],
    ["home outside", { ...sample.claim(), homeRegion: { x: 0, y: 1_048_576, z: 0 } }, "operation.home_region.y"],
    ["epoch negative", { ...sample.claim(), authorityEpoch: -1 }, "operation.authority_epoch"],
    ["time negative", { ...sample.claim(), timestampMs: -1 }, "operation.timestamp_ms"],
    ["time not finite", { ...sample.claim(), timestampMs: Infinity }, "operation.timestamp_ms"],
    ["no body", { ...sample.claim(), body: undefined }, "operation.body"],
    ["another type's body", { ...sample.claim(), body: sample.pickup().body }, "operation.body"],
    ["custom body of a built-in type", { ...sample.claim(), body: sample.custom().body }, "operation.body"],
    ["built-in body of a custom type", { ...sample.custom(), body: sample.claim().body }, "operation.body"],
    ["structure without id", broken(sample.placement, { structureId: "" }), "operation.body.structure_placement.structure_id"],
    ["structure without kind", broken(sample.placement, { kind: "" }), "operation.body.structure_placement.kind"],
    ["structure without box", broken(sample.placement, { bounds: undefined }), "operation.body.structure_placement.bounds"],
    ["box not a number", broken(sample.placement, { bounds: box({ minX: NaN }) }), "operation.body.structure_placement.bounds.min_x"],
    ["box not finite", broken(sample.placement, { bounds: box({ maxZ: Infinity }) }), "operation.body.structure_placement.bounds.max_z"],
    ["box outside the world", broken(sample.placement, { bounds: box({ minY: -3e9 }) }), "operation.body.structure_placement.bounds.min_y"],
    ["box upside down", broken(sample.placement, { bounds: box({ minY: 9 }) }), "operation.body.structure_placement.bounds.min_y"],
    ["box too large", broken(sample.placement, { bounds: box({ maxX: 522.01 }) }), "operation.body.structure_placement.bounds"],
    ["box elsewhere", broken(sample.placement, { bounds: box({ minX: 2000, maxX: 2010 }) }), "operation.body.structure_placement.bounds"],
    ["box that only touches home", broken(sample.placement, { bounds: box({ minX: -10, maxX: 0 }) }), "operation.body.structure_placement.bounds"],
    ["17 attributes", broken(sample.placement, { attributes: new Map(Array.from({ length: 17 }, (_, at) => [`k${at}`, ""])) }), "operation.body.structure_placement.attributes"],
    ["long attribute", broken(sample.placement, { attributes: new Map([["k", "鉱".repeat(342)]]) }), "operation.body.structure_placement.attributes.value"],
    ["attribute without key", broken(sample.placement, { attributes: new Map([["", "v"]]) }), "operation.body.structure_placement.attributes.key"],
    ["removal without id", broken(sample.removal, { structureId: "" }), "operation.body.structure_removal.structure_id"],
    ["claim without player", broken(sample.claim, { playerId: "" }), "operation.body.resource_claim.player_id"],
    ["pickup without item", broken(sample.pickup, { itemId: "" }), "operation.body.item_pickup.item_id"],
    ["no action", broken(sample.transfer, { action: PlayerInventory_Action.UNSPECIFIED }), "operation.body.player_inventory.action"],
    ["unknown action", broken(sample.transfer, { action: 99 }), "operation.body.player_inventory.action"],
    ["nothing moved", broken(sample.transfer, { quantity: 0 }), "operation.body.player_inventory.quantity"],
    ["too much moved", broken(sample.transfer, { quantity: 2 ** 53 }), "operation.body.player_inventory.quantity"],
    ["transfer to nobody", broken(sample.transfer, { counterpartyId: "" }), "operation.body.player_inventory.counterparty_id"],
    ["transfer to oneself", broken(sample.transfer, { counterpartyId: "ada" }), "operation.body.player_inventory.counterparty_id"],
    ["transfer with a position", broken(sample.transfer, { position: { x: 0, y: 0, z: 0 } }), "operation.body.player_inventory.position"],
    ["drop without position", broken(sample.drop, { position: undefined }), "operation.body.player_inventory.position"],
    ["drop elsewhere", broken(sample.drop, { position: { x: 2000, y: 0, z: 0 } }), "operation.body.player_inventory.position"],
    ["drop nowhere", broken(sample.drop, { position: { x: 0, y: 0, z: NaN } }), "operation.body.player_inventory.position.z"],
    ["drop at the end of the world", broken(sample.drop, { position: { x: 2_097_152_000, y: 0, z: 0 } }), "operation.body.player_inventory.position.x"],
    ["drop without item", broken(sample.drop, { itemId: "" }), "operation.body.player_inventory.item_id"],
    ["spawn by a player", broken(sample.spawn, { playerId: "ada" }), "operation.body.player_inventory.player_id"],
    ["trade with oneself", broken(sample.trade, { secondPlayerId: "ada" }), "operation.body.trade.second_player_id"],
    ["trade of nothing", broken(sample.trade, { firstGives: [], secondGives: [] }), "operation.body.trade.first_gives"],
    ["17 stacks", broken(sample.trade, { secondGives: [...SIXTEEN(1), { itemKind: "ore", quantity: 1 }] }), "operation.body.trade.second_gives"],
    ["stack of nothing", broken(sample.trade, { firstGives: [{ itemKind: "ore", quantity: 0 }] }), "operation.body.trade.first_gives[0].quantity"],
    ["stack of no kind", broken(sample.trade, { firstGives: [{ itemKind: "", quantity: 1 }] }), "operation.body.trade.first_gives[0].item_kind"],
    ["stacks that overflow", broken(sample.trade, { firstGives: SIXTEEN(2 ** 52) }), "operation.body.trade.first_gives[1].quantity"],
    ["no mode", broken(sample.dig, { mode: TerrainModification_Mode.UNSPECIFIED }), "operation.body.terrain_modification.mode"],
    ["dig with material", broken(sample.dig, { material: "stone" }), "operation.body.terrain_modification.material"],
    ["fill without material", broken(sample.fill, { material: "" }), "operation.body.terrain_modification.material"],
    ["large brush", broken(sample.dig, { brush: Buffer.alloc(16_385) }), "operation.body.terrain_modification.brush"],
    ["version negative", broken(sample.dig, { observedVersion: -1 }), "operation.body.terrain_modification.observed_version"],
    ["creature without id", broken(sample.creature, { creatureId: "" }), "operation.body.creature_ownership.creature_id"],
    ["owner too high", broken(sample.creature, { ownerServerId: 4_294_967_296 }), "operation.body.creature_ownership.owner_server_id"],
    ["custom without id", broken(sample.custom, { entityId: "" }), "operation.body.custom.entity_id"],
    ["large state", broken(sample.custom, { state: Buffer.alloc(65_537) }), "operation.body.custom.state"],
    ["unknown expectation", broken(sample.custom, { expectation: 3 }), "operation.body.custom.expectation"],
    ["no expectation but a text", broken(sample.custom, { expectation: "exists" }), "operation.body.custom.expectation"],
    ["new, and removed", broken(sample.custom, { expectation: 2, state: Buffer.alloc(0) }), "operation.body.custom.expectation"],
    ["new, and moved", broken(sample.custom, { expectation: 2, toRegion: { x: 1, y: 0, z: 0 } }), "operation.body.custom.expectation"],
    ["new, and read before", broken(sample.custom, { expectation: 2, observedVersion: 1 }), "operation.body.custom.observed_version"],
    ["read at no version", broken(sample.custom, { observedVersion: -1 }), "operation.body.custom.observed_version"],
    ["33 keys", sample.custom({ footprint: footprint({ keys: Array.from({ length: 33 }, (_, at) => `k${at}`) }) }), "operation.footprint.keys"],
    ["long key", sample.custom({ footprint: footprint({ keys: ["a", "x".repeat(129)] }) }), "operation.footprint.keys[1]"],
    ["28 regions", sample.custom({ footprint: footprint({ regions: regions(28) }) }), "operation.footprint.regions"],
    ["region outside", sample.custom({ footprint: footprint({ regions: [{ x: 0, y: 0, z: 1e9 }] }) }), "operation.footprint.regions[0].z"],
    ["box of a built-in type", { ...sample.claim(), footprint: footprint({ bounds: sample.BOX }) }, "operation.footprint.bounds"],
    ["custom box elsewhere", sample.custom({ footprint: footprint({ bounds: box({ minX: 3000, maxX: 3001 }) }) }), "operation.footprint.bounds"],
    ["custom box of 28 regions", sample.custom({ footprint: footprint({ bounds: box({ maxX: 28 * 2000 }) }) }), "operation.footprint.bounds"],
    ["custom box and list of too many", sample.custom({ footprint: footprint({ bounds: box({ maxX: 20 * 2000 }), regions: regions(9) }) }), "operation.footprint.regions"],
  ];

  it.each(cases)("%s", (_, op, field) => {
    const error = refusal(op);
    expect(error.reason).toBe("INVALID_FIELD");
    expect(error.field).toBe(field);
    expect(error.message.startsWith(`${field}: `)).toBe(true);
  });

  it("unknown type, named", () => {
    const error = refusal({ ...sample.claim(), type: "teleport" });
    expect(error.reason).toBe("UNKNOWN_TYPE");
    expect(error.message).toContain('"teleport"');
    expect(refusal({ ...sample.claim(), type: "constructor" }).reason).toBe("UNKNOWN_TYPE");
  });

  it("types of another class, with the call that serves them", () => {
    expect(refusal({ ...sample.claim(), type: "creature_position" })).toMatchObject({ reason: "UNKNOWN_TYPE", message: expect.stringContaining("Publish, as an update") });
    expect(refusal({ ...sample.claim(), type: "event_sequence" })).toMatchObject({ reason: "UNKNOWN_TYPE", message: expect.stringContaining("Publish, as an event") });
  });

  it("forged priority", () => {
    expect(refusal({ ...sample.claim(), priority: 101 }).reason).toBe("PRIORITY_FORGED");
    expect(refusal({ ...sample.claim(), serverId: 8, priority: 100 }).reason).toBe("PRIORITY_FORGED");
  });

  it("where it stands in a list", () => {
    expect(refusal({ ...sample.claim(), serverId: 0 }, "operations[3]").field).toBe("operations[3].server_id");
  });
});

describe("validateOperation", () => {
  const anything = fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true, withSet: true, withTypedArray: true, withSparseArray: true });

  it("throws nothing but MeshError, whatever it gets, and what it takes can be used", () => {
    const make = fc.constantFrom(...sample.BUILT_IN_OPERATIONS, sample.custom);
    const target = fc.constantFrom("operation", "body", "value", "bounds", "footprint", "attributes");
    fc.assert(fc.property(make, target, fc.nat(8), anything, (build, where, field, junk) => {
      const op = build();
      const value = op.body?.value;
      const host: object = { operation: op, body: op.body ?? op, value: value ?? op, bounds: (value !== undefined && "bounds" in value ? value.bounds : undefined) ?? op, footprint: (op.footprint = footprint({})), attributes: op }[where] ?? op;
      const keys = Object.keys(host);
      Object.assign(host, { [keys[field % keys.length] ?? "type"]: junk });
      try {
        const type = validateOperation(op, CUSTOM);
        footprintOf(op, type);
        fingerprintOf(op);
      } catch (error) {
        expect(error).toBeInstanceOf(MeshError);
      }
    }), { numRuns: 2000 });
    fc.assert(fc.property(anything, (junk) => {
      expect(() => validateOperation(junk as Operation, DEFAULT_POLICY)).toThrow(MeshError);
    }));
  });
});
