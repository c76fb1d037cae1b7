// Answers reads from this node's copy, once it is fresh enough for the level that was asked for.
import { type ContainerContents, MeshError, ReadLevel, type ReadRequest, type ReadResponse, type EventualValue, type Region } from "@statemesh/contract";
import { accountName, containerAccount, contentsOf, entityName, type GroupState, playerAccount, regionName, treeOf } from "@statemesh/replica";
import { formatRegion } from "@statemesh/world";
import { transactionPending } from "./strong/operation-errors.ts";
import { sizeOfEntity } from "./subscriptions/message-size.ts";

/** What reading needs of its node. */
export interface ReadNode {
  state(groupId: number): GroupState;
  /** Waits until this node has applied everything that was committed in the group before the call. */
  barrier(groupId: number, deadlineMs: number, done: (error: MeshError | undefined) => void): void;
  whenApplied(groupId: number, index: number, deadlineMs: number, done: (error: MeshError | undefined) => void): void;
  /** Milliseconds since this node surely held all that was committed in the group; infinite where it never did. */
  stalenessMs(groupId: number): number;
  eventualValues(region: Region, limit: number): EventualValue[];
  /** Runs what takes long when it is its turn; without one, at once. */
  turn?(run: () => void): void;
}

const PAGE_DEFAULT = 256;
/** Bytes of a page, about: a page of large entities has fewer. */
const PAGE_BYTES = 1_048_576;
const EVENTUAL_MAX = 1_024;

/** It may take as long as many others: a large page, eventual values, or containers with all that is in them. */
export function isBulkRead({ entities, accounts, containers, pageSize, includeEventual }: ReadRequest): boolean {
  return includeEventual || containers.length > 0 || (entities.length + accounts.length === 0 && pageSize > PAGE_DEFAULT);
}

export type ReadDone = (response: ReadResponse | undefined, error: MeshError | undefined) => void;

/** Reads at the level of a validated request. `done` is called once, at the deadline at the latest. */
export function read(node: ReadNode, groupId: number, region: Region, request: ReadRequest, deadlineMs: number, done: ReadDone): void {
  const answer = (error: MeshError | undefined): void => {
    if (error !== undefined) return done(undefined, error);
    try {
      done(answerFrom(node, node.state(groupId), region, request), undefined);
    } catch (error) {
      done(undefined, MeshError.from(error));
    }
  };
  switch (request.level) {
    case ReadLevel.EVENTUAL:
      return answer(undefined);
    case ReadLevel.BOUNDED_STALENESS: {
      const staleMs = node.stalenessMs(groupId);
      if (staleMs <= request.maxStalenessMs) return answer(undefined);
      // Too old here: ask the leader, which costs a round but is fresh.
      break;
    }
    case ReadLevel.SESSION: {
      let index = 0;
      for (const position of request.sessionPositions) if (position.groupId === groupId) index = Math.max(index, position.index);
      return node.whenApplied(groupId, index, deadlineMs, answer);
    }
    default:
      break;
  }
  const look = (): void => whenReleased(node, groupId, region, request, deadlineMs, answer);
  node.barrier(groupId, deadlineMs, (error) => {
    if (error !== undefined) answer(error);
    else if (node.turn === undefined) look();
    else node.turn(look);
  });
}

/**
 * What is prepared may be decided, and seen in another group, while it is not in force here: a linearizable read waits for its end. Whoever
 * waits looks again after each entry, and between two transactions that want the same there is one that holds nothing.
 */
function whenReleased(node: ReadNode, groupId: number, region: Region, request: ReadRequest, deadlineMs: number, done: (error: MeshError | undefined) => void): void {
  const state = node.state(groupId);
  if (!state.transactions.mayWrite(namesOf(state, region, request))) return done(undefined);
  node.whenApplied(groupId, state.appliedIndex + 1, deadlineMs, (error) => {
    if (error === undefined) whenReleased(node, groupId, region, request, deadlineMs, done);
    else done(error.reason === "NO_QUORUM" ? transactionPending(region) : error);
  });
}

function* namesOf(state: GroupState, region: Region, { entities, accounts, containers }: ReadRequest): Generator<string> {
  for (const { kind, entityId } of entities) yield entityName(kind, entityId);
  for (const account of accounts) yield accountName(playerAccount(account));
  for (const id of containers) {
    const container = state.entities.get("container", id);
    // One that is not there may be on its way here.
    for (const entityId of container === undefined ? [id] : treeOf(state.entities, container).map((each) => each.entityId)) {
      yield entityName("container", entityId);
      yield accountName(containerAccount(entityId));
    }
  }
  if (entities.length + accounts.length + containers.length > 0) return;
  yield regionName(formatRegion(region));
  // What goes is named by itself: an inner container shows another region than the one that it is taken from.
  for (const { kind, entityId } of state.entities.inRegion(region)?.values() ?? []) yield entityName(kind, entityId);
}

function answerFrom(node: ReadNode, state: GroupState, region: Region, request: ReadRequest): ReadResponse {
  const fence = state.fence(region);
  const response: ReadResponse = {
    entities: [],
    balances: [],
    values: [],
    nextPageToken: "",
    position: state.position(),
    epoch: fence?.epoch ?? 0,
    ownerServerId: fence?.ownerServerId ?? 0,
    session: undefined,
    containers: request.containers.flatMap((id) => contentsHere(state, id)),
  };
  for (const { kind, entityId } of request.entities) {
    const entity = state.entities.get(kind, entityId);
    if (entity !== undefined) response.entities.push(entity);
  }
  for (const account of request.accounts) {
    for (const row of state.ledger.rowsOf(playerAccount(account)).values()) {
      response.balances.push({ accountId: account, itemKind: row.itemKind, quantity: row.quantity, version: row.version });
    }
  }
  if (request.entities.length + request.accounts.length + request.containers.length === 0) addPage(state, region, request, response);
  if (request.includeEventual && request.pageToken === "") response.values = node.eventualValues(region, EVENTUAL_MAX);
  return response;
}

function contentsHere(state: GroupState, containerId: string): ContainerContents[] {
  const container = state.entities.get("container", containerId);
  if (container === undefined) return [];
  return contentsOf(state.entities, container, (id) => [...state.ledger.rowsOf(containerAccount(id)).values()].map(({ itemKind, quantity }) => [itemKind, quantity] as const));
}

/** A page of the region's entities in order of their names, so that a page token means the same on every node. */
function addPage(state: GroupState, region: Region, request: ReadRequest, response: ReadResponse): void {
  const entities = state.entities.inRegion(region);
  const after = request.pageToken === "" ? undefined : openPageToken(request.pageToken, region);
  if (entities === undefined) return;
  const size = request.pageSize === 0 ? PAGE_DEFAULT : request.pageSize;
  const names = leastNames(entities.keys(), after, size + 1);
  let bytes = 0;
  for (const [at, name] of names.slice(0, size).entries()) {
    const entity = entities.get(name);
    if (entity === undefined) continue;
    response.entities.push(entity);
    bytes += sizeOfEntity(entity);
    if ((at + 1 < size && bytes < PAGE_BYTES) || at + 1 === names.length) continue;
    response.nextPageToken = sealPageToken(name, region);
    return;
  }
}

/** The first names after one, in order: a region may have far more than a page. */
function leastNames(names: Iterable<string>, after: string | undefined, count: number): string[] {
  const least: string[] = [];
  let greatest: string | undefined;
  for (const name of names) {
    if ((after !== undefined && name <= after) || (greatest !== undefined && name >= greatest)) continue;
    least.push(name);
    if (least.length < 2 * count) continue;
    least.sort().length = count;
    greatest = least[count - 1];
  }
  return least.sort().slice(0, count);
}

/** A token is the last name, bound to the region by a checksum: one from elsewhere is told apart. */
function sealPageToken(name: string, region: Region): string {
  return `${checksum(`${formatRegion(region)}\n${name}`)}.${encodeURIComponent(name)}`;
}

export function openPageToken(token: string, region: Region): string {
  const dot = token.indexOf(".");
  try {
    const name = decodeURIComponent(token.slice(dot + 1));
    if (dot > 0 && token.slice(0, dot) === checksum(`${formatRegion(region)}\n${name}`)) return name;
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
  }
  throw new MeshError("INVALID_PAGE_TOKEN", "page_token: not from an earlier page of this read", { field: "page_token" });
}

function checksum(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(36);
}
