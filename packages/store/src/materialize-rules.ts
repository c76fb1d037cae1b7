import { type Entity, type MaterializeRequest, MeshError } from "@statemesh/contract";
import { isRegion, nameProblem } from "@statemesh/world";
import { checkCount, checkText, requireBounds, requireRegion } from "./field-rules.ts";
import { ENTITY_ID_BYTES_MAX, KIND_BYTES_MAX, MATERIALIZE_ROWS_MAX } from "./limits.ts";

const CLUSTER_ID_BYTES_MAX = 64;
const LABEL_BYTES_MAX = 256;
const OWNER_BYTES_MAX = 64;
/** Of what is not a player's, an account's name says what it is of: the longest is `container:ID`. */
const ACCOUNT_BYTES_MAX = "container:".length + ENTITY_ID_BYTES_MAX;

/** Throws INVALID_FIELD. */
export function checkClusterId(clusterId: string): void {
  checkText(clusterId, 1, CLUSTER_ID_BYTES_MAX, "cluster_id");
}

/** Throws INVALID_FIELD. What comes in was validated when the operation came in, so the common case is one quick pass. */
export function checkMaterialize(request: MaterializeRequest): void {
  checkClusterId(request.clusterId);
  checkCount(request.afterIndex, "after_index");
  checkCount(request.throughIndex, "through_index");
  if (request.fullCopy === undefined) {
    if (request.throughIndex < request.afterIndex) throw MeshError.field("through_index", "must not be below after_index");
  } else {
    checkCount(request.fullCopy.copyId, "full_copy.copy_id");
    if (request.fullCopy.copyId === 0) throw MeshError.field("full_copy.copy_id", "must be above 0");
  }
  const rows = request.entities.length + request.removed.length + request.balances.length + request.epochs.length + request.totals.length;
  if (rows > MATERIALIZE_ROWS_MAX) throw MeshError.field("entities", `all lists together must have at most ${MATERIALIZE_ROWS_MAX} rows`);
  request.entities.forEach((entity, at) => {
    if (!plain(entity)) explain(entity, `entities[${at}].`);
  });
  request.removed.forEach((removed, at) => {
    checkText(removed.kind, 1, KIND_BYTES_MAX, `removed[${at}].kind`);
    checkText(removed.entityId, 1, ENTITY_ID_BYTES_MAX, `removed[${at}].entity_id`);
  });
  request.balances.forEach((balance, at) => {
    checkText(balance.accountId, 1, ACCOUNT_BYTES_MAX, `balances[${at}].account_id`);
    checkText(balance.itemKind, 1, KIND_BYTES_MAX, `balances[${at}].item_kind`);
  });
  request.epochs.forEach((epoch, at) => requireRegion(epoch.region, `epochs[${at}].region`));
  request.totals.forEach((total, at) => checkText(total.itemKind, 1, KIND_BYTES_MAX, `totals[${at}].item_kind`));
}

function plain(entity: Entity): boolean {
  return (
    entity.kind.length > 0 && nameProblem(entity.kind, KIND_BYTES_MAX) === undefined &&
    entity.entityId.length > 0 && nameProblem(entity.entityId, ENTITY_ID_BYTES_MAX) === undefined &&
    nameProblem(entity.playerId, OWNER_BYTES_MAX) === undefined && nameProblem(entity.label, LABEL_BYTES_MAX) === undefined &&
    entity.region !== undefined && isRegion(entity.region) && entity.bounds === undefined
  );
}

function explain(entity: Entity, path: string): void {
  checkText(entity.kind, 1, KIND_BYTES_MAX, `${path}kind`);
  checkText(entity.entityId, 1, ENTITY_ID_BYTES_MAX, `${path}entity_id`);
  checkText(entity.playerId, 0, OWNER_BYTES_MAX, `${path}player_id`);
  checkText(entity.label, 0, LABEL_BYTES_MAX, `${path}label`);
  requireRegion(entity.region, `${path}region`);
  if (entity.bounds !== undefined) requireBounds(entity.bounds, `${path}bounds`);
}
