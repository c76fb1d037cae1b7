// What a session has seen: of groups' logs, causal events and eventual values.
import { merge, violationOf } from "@statemesh/clocks";
import { type LogPosition, MeshError, type SessionToken, type VectorClock } from "@statemesh/contract";
import { checkInteger, checkList } from "@statemesh/world";
import { type CausalLog, isOrigin } from "./causal/index.ts";
import type { EventualStore } from "./eventual/index.ts";

const POSITIONS = 1_024;
const ORIGINS = 64;

/** What sessions need of a node. */
export interface SessionNode {
  readonly options: { readonly groups: number };
  readonly eventual: EventualStore;
  readonly causal: CausalLog;
  group(groupId: number): { readonly state: { readonly appliedIndex: number } };
  isEvicted(nodeId: number): boolean;
}

/** Throws INVALID_FIELD. */
export function checkSession(node: SessionNode, { positions, causal, eventual }: SessionToken): void {
  checkList(positions, POSITIONS, "session", "positions");
  for (const [at, { groupId, index }] of positions.entries()) {
    checkInteger(groupId, 0, node.options.groups, `session.positions[${at}]`, "group_id");
    checkInteger(index, 0, Number.MAX_SAFE_INTEGER, `session.positions[${at}]`, "index");
  }
  if (causal !== undefined) node.causal.validateToken(causal, "session.causal");
  const violation = violationOf({ entries: eventual }, ORIGINS);
  if (violation !== undefined) throw MeshError.field(`session.${violation.path.replace("entries", "eventual")}`, violation.rule);
  for (const [at, { origin }] of eventual.entries()) if (!isOrigin(origin)) throw MeshError.field(`session.eventual[${at}].origin`, "node_id << 32 | incarnation");
}

/** Whether this node has what the session has seen; of groups' logs only `groupId`'s counts. */
export function isReached(node: SessionNode, session: SessionToken, groupId: number | undefined): boolean {
  const index = session.positions.reduce((highest, position) => (position.groupId === groupId ? Math.max(highest, position.index) : highest), 0);
  if (groupId !== undefined && node.group(groupId).state.appliedIndex < index) return false;
  if (session.causal !== undefined && !node.causal.covers(session.causal)) return false;
  return node.eventual.covers(session.eventual, (nodeId) => node.isEvicted(nodeId));
}

/** One token that stands for both. */
export function mergedTokens(a: VectorClock | undefined, b: VectorClock | undefined): VectorClock {
  return merge(a ?? { entries: [] }, b ?? { entries: [] });
}

/** The session once it has seen what this node holds of eventual values, and the position. */
export function sessionAfter(node: SessionNode, { positions, causal, eventual }: SessionToken, position?: LogPosition): SessionToken {
  const byGroup = new Map(positions.map((each) => [each.groupId, each]));
  const before = position === undefined ? undefined : byGroup.get(position.groupId);
  if (position !== undefined && position.index > (before?.index ?? 0)) byGroup.set(position.groupId, position);
  return {
    positions: [...byGroup.values()].sort((a, b) => a.groupId - b.groupId),
    causal: causal === undefined ? undefined : node.causal.collapse(causal),
    eventual: node.eventual.sessionAfter(eventual),
  };
}
