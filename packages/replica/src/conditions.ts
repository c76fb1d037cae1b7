// What an operation on an entity of an operator's own type expects of the entity: a save that comes late finds out that it does, instead of
// making a second one. The group of the home region decides it; where something only arrives, nothing is expected.
import { CustomAction_Expectation, type Operation } from "@statemesh/contract";
import type { DecidedOperation } from "@statemesh/contract/log";
import { sameRegion } from "@statemesh/world";
import { isKeptHere, type Overlay, type Refusal } from "./effect-parts.ts";
import type { PendingOperation } from "./pending-operation.ts";

/** Whether it expects anything. Nodes that know nothing of it could not decide it. */
export function hasConditions({ body }: Pick<Operation, "body">): boolean {
  return body?.$case === "custom" && (body.value.expectation !== CustomAction_Expectation.UNSPECIFIED || body.value.observedVersion !== 0);
}

/** Why the entity is not as the operation expects it; undefined: it is. */
export function unmetCondition(overlay: Overlay, { operation: { type, homeRegion, body }, type: { stateMerge } }: PendingOperation): Refusal | undefined {
  if (body?.$case !== "custom" || !hasConditions({ body }) || !isKeptHere(homeRegion, overlay)) return undefined;
  const { entityId, expectation, observedVersion } = body.value;
  const found = overlay.entities.get(type, entityId);
  if (expectation === CustomAction_Expectation.ABSENT) return found === undefined ? undefined : { rule: "existence", reason: "ALREADY_EXISTS", winnerOperationId: found.operationId };
  if (found === undefined) return { rule: "existence", reason: "NOT_FOUND" };
  // What merges is in the region of the last update, whichever of its group that was.
  if (stateMerge === undefined && (found.region === undefined || homeRegion === undefined || !sameRegion(found.region, homeRegion))) return { rule: "existence", reason: "NOT_FOUND" };
  if (observedVersion === 0 || found.version === observedVersion) return undefined;
  return { rule: "version", reason: "VERSION_MISMATCH", winnerOperationId: found.operationId, currentVersion: found.version };
}

/** Whether an operation was told the version that stands: older nodes would forget it. */
export function tellsVersion({ currentVersion }: Pick<DecidedOperation, "currentVersion">): boolean {
  return currentVersion > 0;
}
