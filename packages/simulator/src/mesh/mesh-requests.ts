// Requests of shards as calls on keys: strong operations, transactions, and linearizable reads of named entities and accounts.
import { accountKey, entityKey, itemsOf, type KeyCallOf, keyCallsOf, type Items, type SeenVersion } from "@statemesh/checker";
import { type Decision, type EntityKey, type Operation, Outcome, type ReadResponse, type ReadSnapshotResponse } from "@statemesh/contract";
import { groupOf } from "@statemesh/world";
import { ClientHistory, type RecordedCall, type Request } from "../client-history.ts";
import type { Recorder } from "../recorder.ts";
import type { SentWrite } from "./merge-book.ts";

/** Item kind of all accounts of simulated players. */
export const ITEM_KIND = "wood";

/** An operation alone, or a transaction of several. */
export interface AskedWrite extends Request {
  readonly operations: readonly Operation[];
  readonly decisions: Decision[];
}

export interface AskedRead extends Request {
  answer: ReadResponse | undefined;
}

/** What is read of one group in a snapshot of several. */
export interface NamedPart {
  readonly groupId: number;
  readonly entities: readonly EntityKey[];
  readonly accounts: readonly string[];
}

export interface AskedSnapshot extends Request {
  answer: ReadSnapshotResponse | undefined;
}

export class MeshRequests {
  readonly #history: ClientHistory;
  readonly #groups: number;
  readonly #operations: { readonly groupId: number; readonly operation: Operation }[] = [];
  /** Name of the transaction by operation. */
  readonly #transactions = new Map<string, string>();
  /** By id: creatures' operations, and those of a studio's own types. */
  readonly #sent = new Map<string, Operation>();
  #items: Items = new Map();
  /** Keys that were emptied or went down once: absent may then be a version of its own. */
  readonly #lessened = new Set<string>();

  /** @param groups how many hold regions */
  constructor(nowMs: () => number, groups: number) {
    this.#groups = groups;
    this.#history = new ClientHistory(nowMs);
  }

  /** `transactionId`: empty for an operation alone. */
  write(process: string, groupId: number, operations: readonly Operation[], transactionId: string): AskedWrite {
    // Without the footprint, which may be large and says nothing here.
    const asked = operations.map((operation) => ({ ...operation, footprint: undefined }));
    for (const operation of asked) {
      if (operation.body?.$case === "custom" || operation.body?.$case === "creatureOwnership") this.#sent.set(operation.operationId, operation);
      this.#operations.push({ groupId: this.#groupOf(operation, groupId), operation });
      this.#transactions.set(operation.operationId, transactionId === "" ? operation.operationId : transactionId);
    }
    const id = transactionId === "" ? (asked[0]?.operationId ?? "") : transactionId;
    const request: AskedWrite = { process, outcome: "open", position: undefined, operations: asked, decisions: [], calls: () => this.#writes(groupId, id, request) };
    this.#history.begin(request);
    return request;
  }

  /** What was sent of an entity of a studio's own type. */
  sentOf(operationId: string): SentWrite | undefined {
    const sent = this.#sent.get(operationId);
    return sent?.body?.$case === "custom" ? { type: sent.type, entityId: sent.body.value.entityId, state: sent.body.value.state } : undefined;
  }

  /** An operation about a creature, or of a studio's own type. */
  operationOf(operationId: string): Operation | undefined {
    return this.#sent.get(operationId);
  }

  /** One of a request's operations was decided; the request ends with the last. */
  decided(request: AskedWrite, decision: Decision): void {
    const { decisions, operations } = request;
    if (decisions.some(({ operationId }) => operationId === decision.operationId)) return;
    decisions.push(decision);
    const homes = new Set(operations.map((operation) => this.#groupOf(operation, 0)));
    // What reaches over a border may be decided by another group.
    const isWithinOne = homes.size === 1 && !operations.some(isAcross) && decisions.every(({ position }) => position === undefined || homes.has(position.groupId));
    // Places of several groups say nothing about one another.
    if (decisions.length === operations.length) this.#history.end(request, "ok", isWithinOne ? decision.position?.index : undefined);
  }

  /** Surely not done. */
  refused(request: AskedWrite): void {
    this.#history.end(request, "fail");
  }

  read(process: string, groupId: number, entities: readonly EntityKey[], players: readonly string[]): AskedRead {
    const request: AskedRead = { process, outcome: "open", position: undefined, answer: undefined, calls: () => this.#reads(groupId, entities, players, request.answer) };
    this.#history.begin(request);
    return request;
  }

  answered(request: AskedRead, response: ReadResponse): void {
    request.answer = response;
    this.#history.end(request, "ok", response.position?.index);
  }

  /** A snapshot of several groups: one transaction that reads. Of a group at most one part. */
  snapshot(process: string, parts: readonly NamedPart[]): AskedSnapshot {
    const request: AskedSnapshot = { process, outcome: "open", position: undefined, answer: undefined, calls: () => this.#snapshotReads(parts, request.answer) };
    this.#history.begin(request);
    return request;
  }

  snapshotAnswered(request: AskedSnapshot, response: ReadSnapshotResponse): void {
    request.answer = response;
    this.#history.end(request, "ok");
  }

  /** At the end of a run: both checkers. `budget`: see ClientHistory.check. */
  check(recorder: Recorder, budget?: number): void {
    this.#items = itemsOf(this.#operations.map(({ operation }) => operation));
    for (const { groupId, operation } of this.#operations) {
      for (const { operation: call } of keyCallsOf(groupId, { operation, decision: undefined, inTransaction: false }, this.#items, this.#groups)) {
        if (call.action === "remove" || (call.action === "post" && call.delta < 0)) this.#lessened.add(call.key);
      }
    }
    this.#history.check(recorder, budget);
  }

  #groupOf({ homeRegion }: Operation, otherwise: number): number {
    return homeRegion === undefined ? otherwise : groupOf(homeRegion, this.#groups);
  }

  #writes(groupId: number, id: string, { operations, decisions, outcome }: AskedWrite): RecordedCall[] {
    const inTransaction = operations.length > 1;
    const calls: KeyCallOf[] = [];
    const versions = new Map<string, number>();
    for (const operation of operations) {
      const decision = outcome === "ok" ? decisions.find(({ operationId }) => operationId === operation.operationId) : undefined;
      const isDone = decision?.outcome === Outcome.ACCEPTED || decision?.outcome === Outcome.MERGED;
      for (const call of keyCallsOf(this.#groupOf(operation, groupId), { operation, decision, inTransaction }, this.#items, this.#groups)) {
        calls.push(call);
        if (isDone) versions.set(call.operation.key, decision?.position?.index ?? 0);
      }
    }
    const transaction = { model: "transaction", id, reads: [], writes: [...new Set(calls.map((call) => call.operation.key))] } as const;
    // Where the other side of a transfer stands then, nobody was told.
    return [...calls, { operation: transaction, result: outcome === "ok" && !operations.some(isAcross) ? { reads: [], writes: [...versions].map(([key, version]) => ({ key, version })) } : undefined }];
  }

  #reads(groupId: number, entities: readonly EntityKey[], players: readonly string[], answer: ReadResponse | undefined): RecordedCall[] {
    if (answer === undefined) return [];
    const { calls, seen } = this.#seen(groupId, entities, players, answer);
    return [...calls, readOf(`read at ${answer.position?.index ?? 0} of ${groupId}`, seen)];
  }

  #snapshotReads(parts: readonly NamedPart[], answer: ReadSnapshotResponse | undefined): RecordedCall[] {
    if (answer === undefined) return [];
    const found = parts.flatMap(({ groupId, entities, accounts }, at) => this.#seen(groupId, entities, accounts, answer.parts[at] ?? NOTHING));
    const places = answer.positions.map(({ groupId, index }) => `${index} of ${groupId}`);
    return [...found.flatMap(({ calls }) => calls), readOf(`snapshot at ${places.join(", ")}`, found.flatMap(({ seen }) => seen))];
  }

  #seen(groupId: number, entities: readonly EntityKey[], players: readonly string[], answer: Pick<ReadResponse, "entities" | "balances">): { readonly calls: RecordedCall[]; readonly seen: SeenVersion[] } {
    const calls: RecordedCall[] = [];
    const seen: SeenVersion[] = [];
    for (const { kind, entityId } of entities) {
      const key = entityKey(groupId, kind, entityId);
      const found = answer.entities.find((entity) => entity.kind === kind && entity.entityId === entityId);
      calls.push({ operation: { model: "entity", key, action: "read" }, result: found === undefined ? { value: null } : { value: found.operationId, version: found.version } });
      if (found !== undefined) seen.push({ key, version: found.version, ...this.#writerOf(found.operationId) });
      else if (!this.#lessened.has(key)) seen.push({ key, version: 0 });
    }
    for (const player of players) {
      const key = accountKey(groupId, player, ITEM_KIND);
      const found = answer.balances.find(({ accountId, itemKind }) => accountId === player && itemKind === ITEM_KIND);
      calls.push({ operation: { model: "balance", key, action: "read" }, result: { quantity: found?.quantity ?? 0 } });
      if (found !== undefined) seen.push({ key, version: found.version });
      else if (!this.#lessened.has(key)) seen.push({ key, version: 0 });
    }
    return { calls, seen };
  }

  #writerOf(operationId: string): { readonly writer?: string } {
    const writer = this.#transactions.get(operationId);
    return writer === undefined ? {} : { writer };
  }
}

const NOTHING: Pick<ReadResponse, "entities" | "balances"> = { entities: [], balances: [] };

/** What was seen together, as a transaction. */
function readOf(id: string, seen: SeenVersion[]): RecordedCall {
  return { operation: { model: "transaction", id, reads: seen.map(({ key }) => key), writes: [] }, result: { reads: seen, writes: [] } };
}

function isAcross({ body }: Operation): boolean {
  if (body?.$case === "container" || body?.$case === "creatureOwnership" || body?.$case === "custom") return body.value.toRegion !== undefined;
  return body?.$case === "playerInventory" && body.value.counterpartyRegion !== undefined;
}
