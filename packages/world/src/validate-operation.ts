/** Rules of an operation as it comes in. What depends on time, leases or sessions is checked by the node. */
import { type Footprint, MeshError, type Operation, type Region } from "@statemesh/contract";
import { type StateMerge, StateProblem } from "@statemesh/merge";
import { countRegionsOfBounds, quantizeBounds, reachesRegion, regionsOfBounds } from "./bounds.ts";
import { checkBounds, checkInteger, checkList, checkName, checkRegion, ID_BYTES_MAX, isMessage } from "./field-check.ts";
import { REACHED_REGIONS_MAX } from "./footprint.ts";
import type { OperationType, Policy } from "./policy.ts";
import { sameRegion } from "./region.ts";
import { SERVER_ID_MAX, TYPE_OF_BODY, validateBody } from "./validate-body.ts";

/** Most keys of a footprint, the one that a built-in type derives from its body included. */
export const KEYS_MAX = 32;
/** Most bytes of a footprint's key. */
export const KEY_BYTES_MAX = 128;

function typeOf(name: unknown, policy: Policy, path: string): OperationType {
  if (typeof name !== "string" || name === "") throw MeshError.field(`${path}.type`, "is required");
  const type = policy.typeOf(name);
  if (type?.consistency === "strong") return type;
  const shown = JSON.stringify(name.slice(0, ID_BYTES_MAX));
  throw new MeshError(
    "UNKNOWN_TYPE",
    type === undefined
      ? `${path}.type: ${shown} is not in the policy table: add it under types of the policy file that all nodes and arbiters are started with`
      : `${path}.type: ${shown} is ${type.consistency}: send it with Publish, as ${type.consistency === "eventual" ? "an update" : "an event"}`,
    { field: `${path}.type`, metadata: { field: `${path}.type`, type: shown } },
  );
}

function checkBodyOfType(op: Operation, type: OperationType, home: Region, path: string): void {
  const { body } = op;
  if (!isMessage(body) || !isMessage(body.value) || typeof body.$case !== "string" || !Object.hasOwn(TYPE_OF_BODY, body.$case)) {
    throw MeshError.field(`${path}.body`, "is required");
  }
  const expected = TYPE_OF_BODY[body.$case];
  if (expected === undefined ? type.builtIn : expected !== type.name) {
    throw MeshError.field(`${path}.body`, type.builtIn ? `must be ${type.name}, as the type says` : "must be custom for a type of the operator's own");
  }
  validateBody(body, home, `${path}.body`);
  if (type.stateMerge !== undefined && body.$case === "custom" && body.value.toRegion !== undefined) {
    throw MeshError.field(`${path}.body.custom.to_region`, `must be unset: entities of ${type.name} merge, and stay where they are`);
  }
  if (type.stateMerge !== undefined && body.$case === "custom" && body.value.observedVersion !== 0) {
    throw MeshError.field(`${path}.body.custom.observed_version`, `must be 0: updates of ${type.name} merge with what others wrote meanwhile`);
  }
  if (type.stateMerge !== undefined && body.$case === "custom") checkUpdate(body.value.state, type.stateMerge, `${path}.body.custom.state`);
}

/** What is to be merged must be an update that the type's functions understand; empty removes the entity. */
function checkUpdate(state: Uint8Array, merge: StateMerge, path: string): void {
  if (state.length === 0) return;
  try {
    merge.check(state);
  } catch (error) {
    if (error instanceof StateProblem) throw MeshError.field(path, error.message);
    throw error;
  }
}

function checkReachedByBox(footprint: Footprint, type: OperationType, home: Region, path: string): void {
  if (type.builtIn) throw MeshError.field(`${path}.bounds`, `must be unset: a ${type.name} has its box in the body or none`);
  checkBounds(footprint.bounds, `${path}.bounds`);
  const q = quantizeBounds(footprint.bounds);
  if (countRegionsOfBounds(q) > REACHED_REGIONS_MAX) throw MeshError.field(`${path}.bounds`, `must reach at most ${REACHED_REGIONS_MAX} regions`);
  if (!reachesRegion(q, home)) throw MeshError.field(`${path}.bounds`, "must reach into the home region");
  if (footprint.regions.length === 0) return;
  const reached = regionsOfBounds(q, REACHED_REGIONS_MAX) ?? [];
  let beyond = 0;
  for (const region of footprint.regions) {
    if (!reached.some((known) => sameRegion(known, region))) beyond += 1;
  }
  // The box holds the home region, which is not counted.
  if (reached.length - 1 + beyond > REACHED_REGIONS_MAX) {
    throw MeshError.field(`${path}.regions`, `box and list together must reach at most ${REACHED_REGIONS_MAX} regions beyond the home region`);
  }
}

function checkFootprint(footprint: Footprint, type: OperationType, home: Region, path: string): void {
  if (!isMessage(footprint)) throw MeshError.field(path, "must be a footprint");
  // One is derived: from the body of a built-in type, or from the entity whose state is merged.
  const keysMax = type.builtIn || type.stateMerge !== undefined ? KEYS_MAX - 1 : KEYS_MAX;
  checkList(footprint.keys, keysMax, path, "keys");
  for (let at = 0; at < footprint.keys.length; at++) {
    checkName(footprint.keys[at], 1, KEY_BYTES_MAX, path, `keys[${at}]`);
  }
  checkList(footprint.regions, REACHED_REGIONS_MAX, path, "regions");
  for (let at = 0; at < footprint.regions.length; at++) checkRegion(footprint.regions[at], `${path}.regions[${at}]`);
  if (footprint.bounds !== undefined) checkReachedByBox(footprint, type, home, path);
}

/**
 * Checks everything about an operation that can be told from the operation and the policy alone.
 *
 * @param path where the operation stands in the request, for errors; such as `operation` or `operations[3]`
 * @returns the operation's type, always a strong one
 * @throws MeshError INVALID_FIELD with the path and the rule; UNKNOWN_TYPE for a type that is unknown or not strong;
 * PRIORITY_FORGED for a priority that differs from the policy's. Nothing else, whatever the object is.
 */
export function validateOperation(op: Operation, policy: Policy, path = "operation"): OperationType {
  if (!isMessage(op)) throw MeshError.field(path, "is required");
  checkName(op.operationId, 1, ID_BYTES_MAX, path, "operation_id");
  const type = typeOf(op.type, policy, path);
  checkInteger(op.serverId, 1, SERVER_ID_MAX, path, "server_id");
  const home = op.homeRegion;
  checkRegion(home, `${path}.home_region`);
  checkInteger(op.authorityEpoch, 0, Number.MAX_SAFE_INTEGER, path, "authority_epoch");
  checkInteger(op.timestampMs, 0, Number.MAX_SAFE_INTEGER, path, "timestamp_ms");
  // Once decisions are forgotten, only the claimed time tells an operation that was kept for long from one that was done long ago.
  if (op.allowTentative && op.timestampMs === 0) throw MeshError.field(`${path}.timestamp_ms`, "is required with allow_tentative");
  checkBodyOfType(op, type, home, path);
  if (op.footprint !== undefined) checkFootprint(op.footprint, type, home, `${path}.footprint`);
  if (op.priority !== undefined && op.priority !== policy.priorityOf(op.serverId)) {
    throw new MeshError("PRIORITY_FORGED", `${path}.priority: leave it unset; the operator's table gives server ${op.serverId} its priority`, {
      field: `${path}.priority`,
      metadata: { field: `${path}.priority`, server_id: String(op.serverId) },
    });
  }
  return type;
}
