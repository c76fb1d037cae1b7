/** Checks requests as they come in. Every error names the field, such as `set.candidates[3].bounds.min_x`, and the rule. */
import {
  type ArbitrateRequest, type Candidate, type CandidateSet, ConflictType, type ExplainRequest, MeshError, type WatchConflictsRequest,
} from "@statemesh/contract";
import { checkBounds, checkInteger, checkList, checkName, checkRegion, ID_BYTES_MAX, isMessage, KEY_BYTES_MAX, KEYS_MAX, type Policy, SERVER_ID_MAX } from "@statemesh/world";

/** Most candidates, and most incumbents, of one set. */
export const SET_MAX = 4096;
/** Most sets of a call of Arbitrate. */
export const SETS_MAX = 64;
/** Most candidates of all sets of a call of Arbitrate. */
export const CANDIDATES_MAX = 16_384;
/** Most incumbents of all sets of a call of Arbitrate. */
export const INCUMBENTS_MAX = 65_536;
/** Most regions that a watcher can ask for: the cube of three rings. */
export const WATCHED_REGIONS_MAX = 343;

/** Most servers, and most groups, that a watcher can ask for. */
export const WATCHED_NAMES_MAX = 256;

/** The longest prefix that a footprint puts in front of a name is `structure:`. */
const CANDIDATE_KEY_BYTES_MAX = KEY_BYTES_MAX + 16;
/** `fill:` and a material, and room for an operator's own. */
const MERGE_CLASS_BYTES_MAX = 128;
const PRIORITY_MIN = -2_147_483_648;
const PRIORITY_MAX = 2_147_483_647;
const UINT32_MAX = 4_294_967_295;

function checkType(type: unknown, incumbent: boolean, policy: Policy, path: string): void {
  checkName(type, 1, ID_BYTES_MAX, path, "type");
  // What is in force stays in force where the operator takes its type out of the table.
  if (incumbent) return;
  const row = policy.typeOf(type);
  if (row?.consistency === "strong") return;
  const rule = row === undefined ? "is not in the policy table" : `is ${row.consistency}: only strong types are arbitrated`;
  throw new MeshError("UNKNOWN_TYPE", `${path}.type: ${JSON.stringify(type)} ${rule}`, { field: `${path}.type`, metadata: { field: `${path}.type`, type } });
}

function checkCandidate(it: Candidate | undefined, incumbent: boolean, policy: Policy, path: string): void {
  if (!isMessage(it)) throw MeshError.field(path, "is required");
  checkName(it.operationId, 1, ID_BYTES_MAX, path, "operation_id");
  checkType(it.type, incumbent, policy, path);
  // Nobody may own what is in force: a creature that was given up.
  checkInteger(it.serverId, incumbent ? 0 : 1, SERVER_ID_MAX, path, "server_id");
  checkInteger(it.priority, PRIORITY_MIN, PRIORITY_MAX, path, "priority");
  if (!isMessage(it.stamp)) throw MeshError.field(`${path}.stamp`, "is required");
  checkInteger(it.stamp.physicalMs, incumbent ? 0 : 1, Number.MAX_SAFE_INTEGER, path, "stamp.physical_ms");
  checkInteger(it.stamp.logical, 0, UINT32_MAX, path, "stamp.logical");
  checkList(it.keys, KEYS_MAX, path, "keys");
  for (let at = 0; at < it.keys.length; at++) checkName(it.keys[at], 1, CANDIDATE_KEY_BYTES_MAX, path, `keys[${at}]`);
  if (it.bounds !== undefined) checkBounds(it.bounds, `${path}.bounds`);
  checkName(it.mergeClass, 0, MERGE_CLASS_BYTES_MAX, path, "merge_class");
  if (it.region !== undefined) checkRegion(it.region, `${path}.region`);
}

function checkCandidates(list: readonly Candidate[], incumbents: boolean, policy: Policy, path: string, field: string): void {
  for (let at = 0; at < list.length; at++) {
    try {
      checkCandidate(list[at], incumbents, policy, "");
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      // Only what is refused pays for its path.
      checkCandidate(list[at], incumbents, policy, `${path}.${field}[${at}]`);
    }
  }
}

/**
 * Checks a set.
 *
 * @param path such as `set` or `sets[2]`
 * @throws MeshError INVALID_FIELD, UNKNOWN_TYPE
 */
export function checkSet(set: CandidateSet | undefined, policy: Policy, path: string): asserts set is CandidateSet {
  if (!isMessage(set)) throw MeshError.field(path, "is required");
  checkList(set.candidates, SET_MAX, path, "candidates");
  checkList(set.incumbents, SET_MAX, path, "incumbents");
  if (set.candidates.length === 0) throw MeshError.field(`${path}.candidates`, `must have 1..${SET_MAX} candidates`);
  checkCandidates(set.candidates, false, policy, path, "candidates");
  checkCandidates(set.incumbents, true, policy, path, "incumbents");
}

/** @throws MeshError INVALID_FIELD, UNKNOWN_TYPE */
export function checkArbitrate(request: ArbitrateRequest, policy: Policy): void {
  const { sets } = request;
  if (sets.length < 1 || sets.length > SETS_MAX) throw MeshError.field("sets", `must have 1..${SETS_MAX} sets`);
  let candidates = 0;
  let incumbents = 0;
  for (const set of sets) {
    candidates += set.candidates.length;
    incumbents += set.incumbents.length;
  }
  if (candidates > CANDIDATES_MAX) throw MeshError.field("sets", `must have at most ${CANDIDATES_MAX} candidates in all`);
  if (incumbents > INCUMBENTS_MAX) throw MeshError.field("sets", `must have at most ${INCUMBENTS_MAX} incumbents in all`);
  for (let at = 0; at < sets.length; at++) checkSet(sets[at], policy, `sets[${at}]`);
}

/** @throws MeshError INVALID_FIELD, UNKNOWN_TYPE */
export function checkExplain(request: ExplainRequest, policy: Policy): CandidateSet {
  const { set } = request;
  checkSet(set, policy, "set");
  if (!set.candidates.some((it) => it.operationId === request.operationId)) {
    throw MeshError.field("operation_id", "must be the id of one of set.candidates");
  }
  return set;
}

/** @throws MeshError INVALID_FIELD */
export function checkWatch(request: WatchConflictsRequest): void {
  const known = Object.values<number>(ConflictType);
  if (request.types.length > known.length) throw MeshError.field("types", `must be at most ${known.length}`);
  request.types.forEach((type, at) => {
    if (type === ConflictType.UNSPECIFIED || !known.includes(type)) throw MeshError.field(`types[${at}]`, "must be a known conflict type");
  });
  if (request.regions.length > WATCHED_REGIONS_MAX) throw MeshError.field("regions", `must be at most ${WATCHED_REGIONS_MAX}`);
  request.regions.forEach((region, at) => checkRegion(region, `regions[${at}]`));
  checkList(request.serverIds, WATCHED_NAMES_MAX, "", "server_ids");
  request.serverIds.forEach((id, at) => checkInteger(id, 1, SERVER_ID_MAX, "", `server_ids[${at}]`));
  checkList(request.groupIds, WATCHED_NAMES_MAX, "", "group_ids");
  request.groupIds.forEach((id, at) => checkInteger(id, 0, UINT32_MAX, "", `group_ids[${at}]`));
}
