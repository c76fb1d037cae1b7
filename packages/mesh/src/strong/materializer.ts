// Brings a group's state into the region store, from its leader. What changed since the store's watermark is sent
// as it stands now, each name once; the store takes a batch only where its watermark is the batch's beginning, so
// that two leaders, a repeat or a lost answer never make it wrong. Where the leader no longer knows what changed
// since, it sends a full copy in parts. Where the store is further than the log, it holds what is not of this log:
// nothing is sent.
import type { Balance, Entity, MaterializeRequest, MaterializeResponse } from "@statemesh/contract";
import type { GroupState, StateCapture, Touch } from "@statemesh/replica";
import type { Host } from "../host.ts";

/** Names in one request, at most. Rows behind a watermark that is still catching up may be newer than it. */
const NAMES_PER_REQUEST = 5_000;
/** Bytes of opaque state in one request, about, at most. */
const BYTES_PER_REQUEST = 2 * 1024 * 1024;
const FIRST_BACKOFF_MS = 100;
const LAST_BACKOFF_MS = 5_000;

interface FullCopyRun {
  readonly copyId: number;
  readonly capture: StateCapture;
  part: number;
  entitiesSent: number;
  balancesSent: number;
}

/** The group whose state goes to the store. */
export interface MaterializedGroup {
  readonly groupId: number;
  readonly state: GroupState;
  /** The committed index, once a quorum confirmed that this node leads; undefined where it does not. */
  readIndex(done: (index: number | undefined) => void): void;
}

export class Materializer {
  readonly #group: MaterializedGroup;
  readonly #clusterId: string;
  readonly #host: Host;
  #watermark: number | undefined;
  /** A watermark that was found ahead of the log. Kept: a log that grows past it is still not the one it is of. */
  #foreign: number | undefined;
  #busy = false;
  #notBeforeMs = 0;
  #backoffMs = FIRST_BACKOFF_MS;
  #copy: FullCopyRun | undefined;

  constructor(group: MaterializedGroup, clusterId: string, host: Host) {
    this.#group = group;
    this.#clusterId = clusterId;
    this.#host = host;
  }

  /** Where the store stands, as far as is known. */
  get watermark(): number | undefined {
    return this.#watermark;
  }

  /** The store has everything, and nothing is under way: `tick` has nothing to do until the state changes. */
  get isIdle(): boolean {
    return !this.#busy && this.#copy === undefined && this.#watermark !== undefined && this.#watermark >= this.#group.state.appliedIndex;
  }

  /** The store was ahead of the group's log when last asked, and nothing is sent. */
  get isStoreAhead(): boolean {
    return this.#foreign !== undefined;
  }

  /** The node does not lead any more: the next leader asks the store itself. */
  stop(): void {
    this.#watermark = undefined;
    this.#copy = undefined;
  }

  /** Sends the next piece where there is one and nothing is under way. Leader only; called every tick. */
  tick(): void {
    if (this.#busy || this.#host.clock.monotonicMs() < this.#notBeforeMs) return;
    if (this.#watermark === undefined) return this.#ask();
    const { state } = this.#group;
    if (this.#copy !== undefined) return this.#send(this.#nextPart(this.#copy));
    if (this.#watermark >= state.appliedIndex) return;
    const request = changesSince(state, this.#watermark, this.#clusterId);
    if (request !== undefined) return this.#send(request);
    this.#copy = { copyId: this.#copyId(), capture: state.capture(), part: 0, entitiesSent: 0, balancesSent: 0 };
    this.#host.log.info("region store is far behind: sending a full copy", { group: this.#group.groupId, watermark: this.#watermark });
    this.#send(this.#nextPart(this.#copy));
  }

  #copyId(): number {
    return Math.floor(this.#host.random.next() * Number.MAX_SAFE_INTEGER) + 1;
  }

  #ask(): void {
    this.#busy = true;
    this.#host.watermarks((watermarks) => {
      this.#busy = false;
      if (watermarks === undefined) return this.#later();
      const watermark = watermarks.get(this.#group.groupId) ?? 0;
      if (watermark === this.#foreign) return this.#later();
      if (watermark > this.#group.state.appliedIndex) return this.#doubt(watermark);
      this.#begin(watermark);
    });
  }

  #begin(watermark: number): void {
    if (this.#foreign !== undefined) this.#host.log.info("region store is not ahead of the log any more: sending", { group: this.#group.groupId, watermark });
    this.#foreign = undefined;
    this.#backoffMs = FIRST_BACKOFF_MS;
    this.#watermark = watermark;
  }

  /** The store is ahead of the log: because this node leads no more and does not know it yet, or because its rows are of another log. */
  #doubt(watermark: number): void {
    this.#busy = true;
    this.#group.readIndex((index) => {
      this.#busy = false;
      if (index === undefined) return this.#later();
      if (watermark <= index) return this.#begin(watermark);
      if (this.#foreign === undefined) {
        this.#host.log.error(
          "the region store is ahead of the log: it holds the state of an earlier cluster of this name, or the log was lost. Nothing is sent to it. Give the cluster an empty database",
          { group: this.#group.groupId, watermark, committed: index },
        );
      }
      this.#foreign = watermark;
      this.#later();
    });
  }

  #send(request: MaterializeRequest): void {
    this.#busy = true;
    this.#host.materialize(request, (response) => {
      this.#busy = false;
      if (response === undefined) {
        this.#copy = undefined;
        this.#watermark = undefined;
        return this.#later();
      }
      this.#backoffMs = FIRST_BACKOFF_MS;
      this.#took(request, response);
    });
  }

  #took(request: MaterializeRequest, response: MaterializeResponse): void {
    if (request.fullCopy === undefined || request.fullCopy.last || !response.applied) {
      this.#copy = undefined;
      // Ahead of the log it is looked at anew.
      this.#watermark = response.watermark > this.#group.state.appliedIndex ? undefined : response.watermark;
    }
  }

  #later(): void {
    this.#notBeforeMs = this.#host.clock.monotonicMs() + this.#backoffMs;
    this.#backoffMs = Math.min(this.#backoffMs * 2, LAST_BACKOFF_MS);
  }

  #nextPart(run: FullCopyRun): MaterializeRequest {
    const { capture } = run;
    const request = emptyRequest(this.#clusterId, this.#group.groupId, 0, capture.appliedIndex);
    let bytes = 0;
    while (run.entitiesSent < capture.entities.length && request.entities.length < NAMES_PER_REQUEST && bytes < BYTES_PER_REQUEST) {
      const entity = capture.entities[run.entitiesSent++];
      if (entity === undefined) break;
      request.entities.push(entity);
      bytes += sizeOf(entity);
    }
    while (run.balancesSent < capture.balances.length && request.entities.length + request.balances.length < NAMES_PER_REQUEST) {
      const row = capture.balances[run.balancesSent++];
      if (row === undefined) break;
      const accountId = accountIdOf(row.account);
      if (accountId !== undefined) request.balances.push({ accountId, itemKind: row.itemKind, quantity: row.quantity, version: row.version });
    }
    const last = run.entitiesSent === capture.entities.length && run.balancesSent === capture.balances.length;
    if (last) {
      for (const { region, epoch, ownerServerId } of capture.fences) request.epochs.push({ region, epoch, ownerServerId });
      for (const { itemKind, minted, burned } of capture.totals) request.totals.push({ itemKind, minted, burned });
    }
    request.fullCopy = { copyId: run.copyId, part: run.part++, last };
    return request;
  }
}

/** What was touched after `watermark`, as it stands now; undefined where that is no longer known. */
function changesSince(state: GroupState, watermark: number, clusterId: string): MaterializeRequest | undefined {
  const request = emptyRequest(clusterId, state.groupId, watermark, state.appliedIndex);
  const seen = new Set<string>();
  let bytes = 0;
  let lastIndex = 0;
  const complete = state.touches.since(watermark, (touch, index) => {
    if (index !== lastIndex && (seen.size >= NAMES_PER_REQUEST || bytes >= BYTES_PER_REQUEST)) {
      request.throughIndex = lastIndex;
      return false;
    }
    lastIndex = index;
    const name = nameOf(touch);
    if (seen.has(name)) return true;
    seen.add(name);
    bytes += addTouched(state, touch, request);
    return true;
  });
  return complete ? request : undefined;
}

function addTouched(state: GroupState, touch: Touch, request: MaterializeRequest): number {
  switch (touch.kind) {
    case "entity": {
      const entity = state.entities.get(touch.entityKind, touch.entityId);
      if (entity !== undefined) {
        request.entities.push(entity);
        return sizeOf(entity);
      }
      request.removed.push({ kind: touch.entityKind, entityId: touch.entityId, region: touch.region, version: state.appliedIndex });
      return 64;
    }
    case "balance": {
      const accountId = accountIdOf(touch.account);
      if (accountId === undefined) return 0;
      const held = state.ledger.rowsOf(touch.account).get(touch.itemKind);
      // What is gone was so at this index at the latest.
      const row: Balance = { accountId, itemKind: touch.itemKind, quantity: held?.quantity ?? 0, version: held?.version ?? state.appliedIndex };
      request.balances.push(row);
      return 64;
    }
    case "totals": {
      const { itemKind, minted, burned } = state.ledger.totals(touch.itemKind);
      request.totals.push({ itemKind, minted, burned });
      return 32;
    }
    case "fence": {
      const row = state.fenceOf(touch.regionText);
      if (row !== undefined) request.epochs.push({ region: row.region, epoch: row.epoch, ownerServerId: row.ownerServerId });
      return 32;
    }
  }
}

function nameOf(touch: Touch): string {
  switch (touch.kind) {
    case "entity":
      return `e/${touch.entityKind}/${touch.entityId}`;
    case "balance":
      return `b/${touch.account}/${touch.itemKind}`;
    case "totals":
      return `t/${touch.itemKind}`;
    case "fence":
      return `f/${touch.regionText}`;
  }
}

/** An account's name in the store: a player's id, `container:ID` or `escrow:ID`. A player whose id looks like the name of an account has the whole name. */
function accountIdOf(account: string): string | undefined {
  if (account.startsWith("container:") || account.startsWith("escrow:")) return account;
  if (!account.startsWith("player:")) return undefined;
  const playerId = account.slice("player:".length);
  return playerId.startsWith("player:") || playerId.startsWith("container:") || playerId.startsWith("escrow:") ? account : playerId;
}

function sizeOf(entity: Entity): number {
  let bytes = 256 + entity.state.length;
  for (const [key, value] of entity.attributes) bytes += key.length + value.length;
  return bytes;
}

function emptyRequest(clusterId: string, groupId: number, afterIndex: number, throughIndex: number): MaterializeRequest {
  return { clusterId, groupId, afterIndex, throughIndex, entities: [], removed: [], balances: [], epochs: [], totals: [], fullCopy: undefined };
}
