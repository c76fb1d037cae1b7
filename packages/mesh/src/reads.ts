// Answers reads from this node's copy, once it is fresh enough for the level that was asked for.
import { type ContainerContents, MeshError, ReadLevel, type ReadRequest, type ReadResponse, type EventualValue, type Region } from "@statemesh/contract";
import { accountName, containerAccount, contentsOf, entityName, type GroupState, playerAccount, regionName, treeOf } from "@statemesh/replica";
import { formatRegion } from "@statemesh/world";
import { transactionPending } from "./strong/operation-errors.ts";
import { compareTexts, DONE, leastOf, placeOfPage, sealPageToken, type ValueName } from "./read-page.ts";
import { sizeOfEntity, sizeOfValue } from "./subscriptions/message-size.ts";

/** What reading needs of its node. */
export interface ReadNode {
  state(groupId: number): GroupState;
  /** Waits until this node has applied everything that was committed in the group before the call. */
  barrier(groupId: number, deadlineMs: number, done: (error: MeshError | undefined) => void): void;
  whenApplied(groupId: number, index: number, deadlineMs: number, done: (error: MeshError | undefined) => void): void;
  /** Milliseconds since this node surely held all that was committed in the group; infinite where it never did. */
  stalenessMs(groupId: number): number;
  /** Live values of the region, in any order. */
  eventualValues(region: Region): Iterable<EventualValue>;
  /** Runs what takes long when it is its turn; without one, at once. */
  turn?(run: () => void): void;
}

const PAGE_DEFAULT = 256;
/** Bytes of entities on a page, and of values, about: a page of large ones has fewer. */
const PAGE_BYTES = 1_048_576;
const VALUES_PAGE = 1_024;

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
  const inTurn = (run: () => void): void => (node.turn === undefined ? run() : node.turn(run));
  const answerInTurn = (error: MeshError | undefined): void => (error === undefined ? inTurn(() => answer(undefined)) : answer(error));
  switch (request.level) {
    case ReadLevel.EVENTUAL:
      return answerInTurn(undefined);
    case ReadLevel.BOUNDED_STALENESS: {
      const staleMs = node.stalenessMs(groupId);
      if (staleMs <= request.maxStalenessMs) return answerInTurn(undefined);
      // Too old here: ask the leader, which costs a round but is fresh.
      break;
    }
    case ReadLevel.SESSION: {
      let index = 0;
      for (const position of request.sessionPositions) if (position.groupId === groupId) index = Math.max(index, position.index);
      return node.whenApplied(groupId, index, deadlineMs, answerInTurn);
    }
    default:
      break;
  }
  node.barrier(groupId, deadlineMs, (error) => {
    if (error !== undefined) answer(error);
    else inTurn(() => whenReleased(node, groupId, region, request, deadlineMs, answer, inTurn));
  });
}

/**
 * What is prepared may be decided, and seen in another group, while it is not in force here: a linearizable read waits for its end. Whoever
 * waits looks again after each entry, and between two transactions that want the same there is one that holds nothing.
 */
function whenReleased(node: ReadNode, groupId: number, region: Region, request: ReadRequest, deadlineMs: number, done: (error: MeshError | undefined) => void, inTurn: (run: () => void) => void): void {
  const state = node.state(groupId);
  if (!state.transactions.mayWrite(namesOf(state, region, request))) return done(undefined);
  node.whenApplied(groupId, state.appliedIndex + 1, deadlineMs, (error) => {
    if (error === undefined) inTurn(() => whenReleased(node, groupId, region, request, deadlineMs, done, inTurn));
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
  const after = placeOfPage(request, region);
  const names = request.entities.length + request.accounts.length + request.containers.length === 0 && after.entity !== DONE ? addEntities(state, region, request.pageSize, after.entity, response) : DONE;
  const values = request.includeEventual && after.value !== DONE ? addValues(node, region, after.value, response) : DONE;
  if (names !== DONE || values !== DONE) response.nextPageToken = sealPageToken({ entity: names, value: values }, region);
  return response;
}

function contentsHere(state: GroupState, containerId: string): ContainerContents[] {
  const container = state.entities.get("container", containerId);
  if (container === undefined) return [];
  return contentsOf(state.entities, container, (id) => [...state.ledger.rowsOf(containerAccount(id)).values()].map(({ itemKind, quantity }) => [itemKind, quantity] as const));
}

/** A page of the region's entities in order of their names, so that a page token means the same on every node. Returns where the next goes on. */
function addEntities(state: GroupState, region: Region, pageSize: number, after: string | undefined, response: ReadResponse): string | typeof DONE {
  const entities = state.entities.inRegion(region);
  if (entities === undefined) return DONE;
  const size = pageSize === 0 ? PAGE_DEFAULT : pageSize;
  const names = leastOf(entities.keys(), compareTexts, after, size + 1);
  let bytes = 0;
  for (const [at, name] of names.slice(0, size).entries()) {
    const entity = entities.get(name);
    if (entity === undefined) continue;
    response.entities.push(entity);
    bytes += sizeOfEntity(entity);
    if ((at + 1 < size && bytes < PAGE_BYTES) || at + 1 === names.length) continue;
    return name;
  }
  return DONE;
}

/** The same of eventual values, in order of key and type. */
function addValues(node: ReadNode, region: Region, after: ValueName | undefined, response: ReadResponse): ValueName | typeof DONE {
  const values = leastOf(node.eventualValues(region), compareValues, after, VALUES_PAGE + 1);
  let bytes = 0;
  for (const [at, value] of values.slice(0, VALUES_PAGE).entries()) {
    response.values.push(value);
    bytes += sizeOfValue(value);
    if ((at + 1 < VALUES_PAGE && bytes < PAGE_BYTES) || at + 1 === values.length) continue;
    return { key: value.key, type: value.type };
  }
  return DONE;
}

function compareValues(a: ValueName, b: ValueName): number {
  return compareTexts(a.key, b.key) || compareTexts(a.type, b.type);
}
