// The containers that a player holds, group after group, each as it stands at one moment.
import { type Entity, type ListContainersRequest, type ListContainersResponse, MeshError } from "@statemesh/contract";
import { entityName, type GroupState, holderName } from "@statemesh/replica";
import { foreignPageToken, pageChecksum } from "./page-token.ts";
import { sizeOfEntity } from "./subscriptions/message-size.ts";

/** What listing needs of its node. */
export interface ContainerListNode {
  /** How many groups keep regions: 1 to this. */
  readonly groups: number;
  state(groupId: number): GroupState;
  /** Waits until this node has applied everything that was committed in the group before the call. */
  barrier(groupId: number, deadlineMs: number, done: (error: MeshError | undefined) => void): void;
  /** Nobody waits for the answer any more. */
  isGone(): boolean;
  /** Runs what takes long when it is its turn; without one, at once. */
  turn?(run: () => void): void;
  whenApplied(groupId: number, index: number, deadlineMs: number, done: (error: MeshError | undefined) => void): void;
}

const PAGE_DEFAULT = 256;
/** Bytes of a page, about. */
const PAGE_BYTES = 1_048_576;

/** Where a page begins: in a group, behind a container. */
interface Start {
  readonly groupId: number;
  readonly after: string;
}

/**
 * @param onlyGroup the group to look in; undefined: in all, 1 to `groups`
 * @throws MeshError INVALID_PAGE_TOKEN where the token is of another player, or of another choice of groups
 */
export function startOfContainerList({ playerId, pageToken }: ListContainersRequest, onlyGroup: number | undefined, groups: number): Start {
  if (pageToken === "") return { groupId: onlyGroup ?? 1, after: "" };
  // An id may hold any character, and comes last.
  const [, mark = "", groupId = "", after = ""] = /^([^.]*)\.(\d{1,9})\.(.*)$/s.exec(pageToken) ?? [];
  if (mark === "" || mark !== pageChecksum(contextOf(playerId, onlyGroup), `${groupId}.${after}`)) throw foreignPageToken();
  // A checksum is no signature: whatever a token says is looked at as what a stranger says.
  const start = { groupId: Number(groupId), after };
  if (onlyGroup === undefined ? start.groupId < 1 || start.groupId > groups : start.groupId !== onlyGroup) throw foreignPageToken();
  return start;
}

function tokenOf(playerId: string, onlyGroup: number | undefined, { groupId, after }: Start): string {
  return `${pageChecksum(contextOf(playerId, onlyGroup), `${groupId}.${after}`)}.${groupId}.${after}`;
}

function contextOf(playerId: string, onlyGroup: number | undefined): string {
  return `containers of ${playerId} in ${onlyGroup ?? "all"}`;
}

export type ContainerListDone = (response: ListContainersResponse | undefined, error: MeshError | undefined) => void;

/**
 * Lists what a validated request asks for. `done` is called once, at the deadline at the latest.
 *
 * @param onlyGroup the group to look in; undefined: in all, one after the other
 */
export function listContainers(node: ContainerListNode, request: ListContainersRequest, onlyGroup: number | undefined, deadlineMs: number, done: ContainerListDone): void {
  const { playerId } = request;
  const size = request.pageSize === 0 ? PAGE_DEFAULT : request.pageSize;
  const last = onlyGroup ?? node.groups;
  const response: ListContainersResponse = { containers: [], nextPageToken: "", positions: [] };
  let bytes = 0;

  const takeFrom = (groupId: number, after: string): void => {
    const state = node.state(groupId);
    response.positions.push(state.position());
    const held = heldBy(state, playerId, after);
    for (const [at, container] of held.entries()) {
      response.containers.push(container);
      bytes += sizeOfEntity(container);
      const isLast = at + 1 === held.length;
      if (response.containers.length < size && bytes < PAGE_BYTES) continue;
      if (isLast && groupId === last) return done(response, undefined);
      response.nextPageToken = tokenOf(playerId, onlyGroup, isLast ? { groupId: groupId + 1, after: "" } : { groupId, after: container.entityId });
      return done(response, undefined);
    }
    if (groupId === last) return done(response, undefined);
    lookIn(groupId + 1, "");
  };
  const lookIn = (groupId: number, after: string): void => {
    if (node.isGone()) return done(undefined, new MeshError("CANCELLED", "the caller went away"));
    const fail = (error: MeshError): void => done(undefined, error);
    node.barrier(groupId, deadlineMs, (error) => (error === undefined ? whenSettled(node, groupId, playerId, deadlineMs, () => takeFrom(groupId, after), fail) : fail(error)));
  };
  const { groupId, after } = startOfContainerList(request, onlyGroup, node.groups);
  lookIn(groupId, after);
}

/** Runs `then` in its turn, at a moment in which none of the player's containers is on its way between the group and another one. */
function whenSettled(node: ContainerListNode, groupId: number, playerId: string, deadlineMs: number, then: () => void, fail: (error: MeshError) => void): void {
  const look = (): void => {
    const state = node.state(groupId);
    if (!state.transactions.mayWrite(namesOf(state, playerId))) return then();
    node.whenApplied(groupId, state.appliedIndex + 1, deadlineMs, (late) => {
      if (late === undefined) whenSettled(node, groupId, playerId, deadlineMs, then, fail);
      else fail(late.reason === "NO_QUORUM" ? pending(groupId) : late);
    });
  };
  const guarded = (): void => {
    try {
      look();
    } catch (thrown) {
      fail(MeshError.from(thrown));
    }
  };
  if (node.turn === undefined) guarded();
  else node.turn(guarded);
}

/** What prepared transactions may write of a player's containers: what comes is named by the player, what goes by itself. */
function* namesOf({ entities }: GroupState, playerId: string): Generator<string> {
  yield holderName(playerId);
  for (const { entityId } of entities.heldBy(playerId)) yield entityName("container", entityId);
}

function pending(groupId: number): MeshError {
  return new MeshError("TRANSACTION_PENDING", `a transaction moves containers between group ${groupId} and another one, and did not end in time`, { retryDelayMs: 50 });
}

/** In order of their ids by UTF-16, so that a page token means the same on every node. */
function heldBy({ entities }: GroupState, playerId: string, after: string): Entity[] {
  const held: Entity[] = [];
  for (const container of entities.heldBy(playerId)) if (container.entityId > after) held.push(container);
  return held.sort((a, b) => (a.entityId < b.entityId ? -1 : 1));
}
