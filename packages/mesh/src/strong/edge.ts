// The edge: where a node takes operations from callers. It validates, stamps and fingerprints them once, hands
// them to whichever node leads their group, and stays responsible until the caller is answered: a change of leader
// is not the caller's business. Sending an operation again is harmless, because its id is decided once.
import type { Decision, ForwardedAnswer, ForwardedCall, HybridTimestamp, Operation, OperationError, StampedOperation } from "@statemesh/contract";
import { MeshError } from "@statemesh/contract";
import type { HybridClock } from "@statemesh/clocks";
import { destinationOf, movesItems, type PendingOperation } from "@statemesh/replica";
import { DIRECTORY_GROUP, type OperationType, type Policy, fingerprintOf, footprintOf, formatRegion, groupOf, validateOperation } from "@statemesh/world";
import { withKeeper } from "../escrow/opening.ts";
import { type LosingSide, minorityPartition } from "../healing/losing-side.ts";
import type { Waiter } from "./decision-queue.ts";
import { groupsOf } from "./group-transactions.ts";
import { bytesOf, EdgeUnit } from "./edge-unit.ts";
import { checkVersion, type KnownToAll } from "./version-gates.ts";
import { isPassing, meshErrorOf, operationError, overloaded, unknownAfter } from "./operation-errors.ts";
import { Gates } from "../flow/gates.ts";
import type { QuotaKeeper } from "../flow/server-quotas.ts";
import type { StageTimes } from "../flow/stage-times.ts";

/** What the edge needs of its node. */
export interface EdgeNode extends KnownToAll {
  readonly nodeId: number;
  /** Of this start of the node. */
  readonly incarnation: number;
  readonly groups: number;
  readonly policy: Policy;
  readonly clock: HybridClock;
  readonly quotas: QuotaKeeper;
  readonly stages: StageTimes;
  /** How much longer than without load operations may take before more are refused, ms. */
  readonly queueTargetMs: number;
  wallMs(): number;
  monotonicMs(): number;
  /** Node that leads the group as far as this node knows; 0: none. */
  leaderOf(groupId: number): number;
  isConnected(peer: number): boolean;
  /** Set where this node is cut off from those who decide in the group. */
  losingSide(groupId: number): LosingSide | undefined;
  /** Answers an operation that this node keeps, or that was healed; false: it is like any other. */
  answerKept(operation: Operation, waiter: Waiter): boolean;
  /** Keeps an operation until it can be decided, or says why not. */
  keep(groupId: number, pending: PendingOperation, side: LosingSide, waiter: Waiter): void;
  /** Hands operations to this node's own replica. */
  submit(groupId: number, operations: readonly PendingOperation[], transactionId: string, waiter: Waiter, deadlineMs: number): void;
  sendCall(peer: number, call: ForwardedCall, bytes: number): void;
  /** True where every member knows footprints of other groups. */
  spansFootprints(): boolean;
  /** Every node knows of escrows. */
  hasEscrows(): boolean;
  /** True where this node's copy of the directory knows the server. */
  knowsServer(serverId: number): boolean;
  /** Where the players of a server connect; empty where it did not say, or is not known. */
  addressOf(serverId: number): string;
  /** Brings this node's copy of the directory up to what was committed before the call. */
  refreshDirectory(deadlineMs: number, done: (error: MeshError | undefined) => void): void;
}

/** Operations that may be unanswered at a time, a node. Beyond it callers get OVERLOADED. */
export const OUTSTANDING_OPERATIONS = 65_536;
/** Bytes of those operations, about. Beyond it callers get OVERLOADED. */
export const OUTSTANDING_BYTES = 256 * 1024 * 1024;
/** Operations in one forwarded call, at most. */
const CALL_OPERATIONS = 512;
/** Bytes of operations in one forwarded call, about; one operation may go beyond. */
const CALL_BYTES = 512 * 1024;
/** Milliseconds between two tries of one unit. */
const RETRY_MS = 50;

/** Starts of the node whose calls are told apart, and calls of one start a second, at most, that keep them so. */
const INCARNATIONS = 2 ** 27;
const CALLS_OF_INCARNATION = 2 ** 24;

/**
 * The first call id of a start of the node, below 2^51. An answer that an earlier start was owed, and that arrives late,
 * must not be taken for the answer to another call.
 */
export function firstCallId(incarnation: number): number {
  return (incarnation % INCARNATIONS) * CALLS_OF_INCARNATION + 1;
}

interface OutgoingCall {
  readonly peer: number;
  readonly units: Map<string, EdgeUnit>;
}

export class Edge {
  readonly #node: EdgeNode;
  readonly gates: Gates;
  readonly #units = new Set<EdgeUnit>();
  readonly #unsent = new Map<number, EdgeUnit[]>();
  readonly #calls = new Map<number, OutgoingCall>();
  #nextCallId: number;
  #outstanding = 0;
  #bytes = 0;

  constructor(node: EdgeNode) {
    this.#node = node;
    this.gates = new Gates(node.groups, node.queueTargetMs);
    this.#nextCallId = firstCallId(node.incarnation);
  }

  get outstanding(): number {
    return this.#outstanding;
  }

  /**
   * Takes operations of one caller, each for itself. `deadlineMs` is monotonic. Every operation is answered
   * through `caller`, once.
   */
  execute(operations: readonly Operation[], deadlineMs: number, caller: Waiter): void {
    let strangers: Operation[] | undefined;
    for (const operation of operations) {
      if (this.#node.answerKept(operation, caller)) continue;
      if (this.#node.knowsServer(operation.serverId)) this.#executeOne(operation, deadlineMs, caller);
      else (strangers ??= []).push(operation);
    }
    if (strangers === undefined) return;
    // The server may have registered with another node a moment ago: ask before refusing it.
    const asked = strangers;
    const cutOff = this.#node.losingSide(DIRECTORY_GROUP);
    if (cutOff !== undefined) {
      const failure = operationError(minorityPartition(DIRECTORY_GROUP, cutOff));
      for (const { operationId } of asked) caller.failed(operationId, failure);
      return;
    }
    const bytes = bytesOf(asked.map((operation) => ({ operation })));
    if (!this.#admitStrangers(asked, bytes, caller)) return;
    this.#node.refreshDirectory(deadlineMs, (error) => {
      this.#outstanding -= asked.length;
      this.#bytes -= bytes;
      for (const operation of asked) {
        if (error !== undefined) caller.failed(operation.operationId, operationError(error));
        else this.#executeOne(operation, deadlineMs, caller);
      }
    });
  }

  #admitStrangers(operations: readonly Operation[], bytes: number, caller: Waiter): boolean {
    try {
      this.#admit(operations.length);
    } catch (error) {
      const failure = operationError(MeshError.from(error));
      for (const operation of operations) caller.failed(operation.operationId, failure);
      return false;
    }
    this.#outstanding += operations.length;
    this.#bytes += bytes;
    return true;
  }

  #executeOne(operation: Operation, deadlineMs: number, caller: Waiter): void {
    const refusal = this.gates.refusal(operation, 1, false, this.#node.monotonicMs());
    if (refusal !== undefined) return caller.failed(operation.operationId, refusal);
    let pending: PendingOperation;
    let groupId: number;
    try {
      pending = this.#accept(operation, "operation");
      groupId = this.#groupOf(pending);
      this.gates.check(pending, this.#node.monotonicMs());
      this.#admit(1);
      this.#node.quotas.take(operation.serverId, 1, this.#node.monotonicMs());
    } catch (error) {
      caller.failed(operation.operationId, operationError(MeshError.from(error)));
      return;
    }
    this.#enqueue(groupId, [pending], "", deadlineMs, caller);
  }

  /**
   * Takes a transaction. Throws a MeshError where it is refused before anything was done; the caller has made
   * sure that the directory is fresh where a server is not known.
   */
  transact(transactionId: string, operations: readonly Operation[], deadlineMs: number, caller: Waiter): void {
    const [first] = operations;
    const refusal = first && this.gates.refusal(first, operations.length, true, this.#node.monotonicMs());
    if (refusal !== undefined) throw meshErrorOf(refusal);
    const pending = operations.map((operation, i) => {
      if (operation.allowTentative) throw MeshError.field(`operations[${i}].allow_tentative`, "must be unset in a transaction");
      return this.#accept(operation, `operations[${i}]`);
    });
    let groupId: number | undefined;
    for (const one of pending) {
      const group = this.#groupOf(one);
      if (groupId !== undefined && group !== groupId && !this.#node.spansGroups()) {
        throw new MeshError("SPANS_GROUPS", `the operations map to the groups ${groupId} and ${group}; a transaction stays in one until every node runs a build that knows better`, {
          metadata: { first_group: String(groupId), second_group: String(group) },
        });
      }
      groupId = Math.min(groupId ?? group, group);
    }
    if (groupId === undefined) throw MeshError.field("operations", "1..64 operations");
    this.#admit(pending.length);
    this.#node.quotas.take(operations[0]?.serverId ?? 0, pending.length, this.#node.monotonicMs());
    this.#enqueue(groupId, pending, transactionId, deadlineMs, caller);
  }

  /** Validates, stamps and fingerprints. */
  #accept(operation: Operation, path: string): PendingOperation {
    const { policy } = this.#node;
    const type: OperationType = validateOperation(operation, policy, path);
    if (!this.#node.knowsServer(operation.serverId)) {
      throw new MeshError("SERVER_NOT_REGISTERED", `${path}.server_id: server ${operation.serverId} is not registered: call AuthorityDirectoryService/Register first`, {
        field: `${path}.server_id`,
      });
    }
    const stamp = this.#stamp(operation, path);
    const fingerprint = fingerprintOf(operation);
    const whole = operation.body?.$case === "escrowOpening" ? withKeeper(this.#node, operation, operation.body.value, path) : operation;
    return { operation: whole, type, touched: footprintOf(operation, type), stamp, fingerprint, priority: policy.priorityOf(operation.serverId) };
  }

  #stamp(operation: Operation, path: string): HybridTimestamp {
    const wallMs = this.#node.wallMs();
    const now = this.#node.clock.now(wallMs);
    const claimed = operation.timestampMs;
    if (claimed === 0) return now;
    const { compensationWindowMs, maxOffsetMs } = this.#node.policy;
    if (claimed > wallMs + maxOffsetMs) {
      throw new MeshError("TIMESTAMP_IN_FUTURE", `${path}.timestamp_ms: at most ${maxOffsetMs} ms ahead of the receiver's clock`, {
        field: `${path}.timestamp_ms`,
        metadata: { received_at_ms: String(Math.floor(wallMs)), max_offset_ms: String(maxOffsetMs) },
      });
    }
    // Neither the past nor the future can be bought: the window's edge is the earliest time that counts, now the latest.
    const physicalMs = Math.min(Math.max(claimed, Math.floor(wallMs) - compensationWindowMs), Math.floor(wallMs));
    return { physicalMs, logical: 0 };
  }

  /** The group that decides, or coordinates: the lowest that is reached. */
  #groupOf(pending: PendingOperation): number {
    checkVersion(pending, this.#node);
    const movesEntity = destinationOf(pending.operation) !== undefined;
    if ((movesEntity || movesItems(pending.operation)) && this.#node.spansGroups()) return groupsOf([pending], this.#node.groups)[0] ?? 0;
    let groupId: number | undefined;
    for (const region of pending.touched.regions) {
      const group = groupOf(region, this.#node.groups);
      if (groupId === undefined || group === groupId) groupId = group;
      else if (this.#node.spansFootprints()) groupId = Math.min(group, groupId);
      else {
        throw new MeshError("SPANS_GROUPS", `${formatRegion(region)} is kept by group ${group}, the home region by group ${groupId}; an operation stays in one until every node runs a build that knows better`, {
          metadata: { region: formatRegion(region), first_group: String(groupId), second_group: String(group) },
        });
      }
    }
    return groupId ?? 0;
  }

  #admit(count: number): void {
    if (this.#outstanding + count > OUTSTANDING_OPERATIONS) throw overloaded("operations not answered on this node", OUTSTANDING_OPERATIONS);
    if (this.#bytes >= OUTSTANDING_BYTES) throw overloaded("bytes of operations not answered on this node", OUTSTANDING_BYTES);
  }

  #enqueue(groupId: number, operations: readonly PendingOperation[], transactionId: string, deadlineMs: number, caller: Waiter): void {
    const nowMs = this.#node.monotonicMs();
    const admission = this.gates.of(operations, transactionId !== "", nowMs);
    const unit = new EdgeUnit(this, groupId, operations, transactionId, caller, admission, nowMs, deadlineMs);
    this.#outstanding += operations.length;
    this.#bytes += unit.bytes;
    this.#units.add(unit);
    this.#wait(unit);
  }

  #wait(unit: EdgeUnit): void {
    // A transaction hears of its failure once an operation; one new try answers for all.
    if (unit.waiting) return;
    unit.waiting = true;
    const waiting = this.#unsent.get(unit.groupId);
    if (waiting === undefined) this.#unsent.set(unit.groupId, [unit]);
    else waiting.push(unit);
  }

  /** Hands waiting units to the leaders. Called once a pump, so that what came together travels together. */
  flush(): void {
    if (this.#unsent.size === 0) return;
    const nowMs = this.#node.monotonicMs();
    for (const [groupId, units] of this.#unsent) {
      const leader = this.#node.leaderOf(groupId);
      if (leader === 0 || (leader !== this.#node.nodeId && !this.#node.isConnected(leader))) {
        this.#cutOff(groupId, units);
        continue;
      }
      const due: EdgeUnit[] = [];
      const later: EdgeUnit[] = [];
      for (const unit of units) {
        if (unit.open === 0) continue;
        // What is past its deadline is not begun any more: the next tick answers it.
        unit.waiting = unit.notBeforeMs > nowMs || unit.deadlineMs <= nowMs;
        (unit.waiting ? later : due).push(unit);
      }
      if (later.length === 0) this.#unsent.delete(groupId);
      else this.#unsent.set(groupId, later);
      if (leader === this.#node.nodeId) {
        for (const unit of due) {
          this.#handOver(unit, nowMs);
          this.#node.submit(groupId, unit.operations, unit.transactionId, unit, unit.deadlineMs);
        }
      } else this.#forward(leader, groupId, due, nowMs);
    }
  }

  #handOver(unit: EdgeUnit, nowMs: number): void {
    if (!unit.sent) this.#node.stages.edge.observe(nowMs - unit.cameMs);
    unit.sent = true;
    unit.handedMs = nowMs;
  }

  /** On the losing side of a partition what surely is in no log is refused at once, or kept where its caller allows that; the rest is unknown until its deadline. */
  #cutOff(groupId: number, units: readonly EdgeUnit[]): void {
    const side = this.#node.losingSide(groupId);
    if (side === undefined) return;
    const failure = operationError(minorityPartition(groupId, side));
    const open = units.filter((unit) => unit.open > 0);
    const waiting = open.filter((unit) => unit.mayBeProposed);
    if (waiting.length === 0) this.#unsent.delete(groupId);
    else this.#unsent.set(groupId, waiting);
    // Last: who is refused may come again at once.
    for (const unit of open) {
      if (unit.mayBeProposed) continue;
      const [pending] = unit.operations;
      if (pending?.operation.allowTentative !== true) {
        this.#give(unit, failure);
        continue;
      }
      unit.sent = true;
      unit.waiting = false;
      this.#node.keep(groupId, pending, side, unit);
    }
  }

  #forward(peer: number, groupId: number, units: readonly EdgeUnit[], nowMs: number): void {
    let batch: EdgeUnit[] = [];
    let bytes = 0;
    for (const unit of units) {
      if (unit.transactionId !== "") {
        this.#sendCall(peer, groupId, [unit], nowMs);
        continue;
      }
      batch.push(unit);
      bytes += unit.bytes;
      if (batch.length < CALL_OPERATIONS && bytes < CALL_BYTES) continue;
      this.#sendCall(peer, groupId, batch, nowMs);
      batch = [];
      bytes = 0;
    }
    if (batch.length > 0) this.#sendCall(peer, groupId, batch, nowMs);
  }

  #sendCall(peer: number, groupId: number, units: readonly EdgeUnit[], nowMs: number): void {
    const callId = this.#nextCallId++;
    const byOperation = new Map<string, EdgeUnit>();
    const operations: StampedOperation[] = [];
    let timeoutMs = 0;
    let bytes = 0;
    for (const unit of units) {
      const first = unit.operations[0];
      if (first !== undefined && byOperation.has(first.operation.operationId)) {
        // Results are told apart by operation id: a second operation of the same id travels in a call of its own.
        this.#wait(unit);
        continue;
      }
      this.#handOver(unit, nowMs);
      unit.callId = callId;
      timeoutMs = Math.max(timeoutMs, unit.leftMs(nowMs));
      bytes += unit.bytes;
      for (const pending of unit.operations) {
        const { operation, stamp, fingerprint } = pending;
        byOperation.set(operation.operationId, unit);
        operations.push({ operation, stamp, fingerprint, timeoutMs: unit.leftMs(nowMs) });
      }
    }
    this.#calls.set(callId, { peer, units: byOperation });
    const transactionId = units[0]?.transactionId ?? "";
    this.#node.sendCall(peer, {
      callId,
      groupId,
      timeoutMs,
      hops: 1,
      call:
        transactionId === ""
          ? { $case: "operations", value: { operations } }
          : { $case: "transaction", value: { transactionId, operations } },
    }, bytes);
  }

  /** An answer to a forwarded call; false where the call is not one of the edge's. */
  onAnswer(answer: ForwardedAnswer): boolean {
    const call = this.#calls.get(answer.callId);
    if (call === undefined) return false;
    for (const { operationId, result } of answer.results) {
      const unit = call.units.get(operationId);
      if (unit === undefined || unit.callId !== answer.callId) continue;
      if (result?.$case === "decision") unit.decided(result.value);
      else if (result?.$case === "error") unit.failed(operationId, result.value);
      if (unit.transactionId === "") call.units.delete(operationId);
    }
    if (answer.error !== undefined) this.#failCall(answer.callId, answer.error);
    else if (answer.last) this.#calls.delete(answer.callId);
    return true;
  }

  /** The connection to a peer broke: what it had not answered may have happened; it is asked for again elsewhere. */
  onDisconnected(peer: number, error: OperationError): void {
    for (const [callId, call] of [...this.#calls]) if (call.peer === peer) this.#failCall(callId, error);
  }

  #failCall(callId: number, error: OperationError): void {
    const call = this.#calls.get(callId);
    if (call === undefined) return;
    this.#calls.delete(callId);
    for (const unit of new Set(call.units.values())) {
      if (unit.open === 0 || unit.callId !== callId) continue;
      const first = unit.operations[0];
      if (first !== undefined) unit.failed(first.operation.operationId, error);
    }
  }

  /** For units: the leader decided. */
  decided(unit: EdgeUnit, decision: Decision): void {
    if (unit.open === 0) return;
    unit.caller.decided(decision);
    this.#outstanding--;
    if (--unit.open > 0) return;
    const nowMs = this.#node.monotonicMs();
    this.#node.stages.leader.observe(nowMs - unit.handedMs);
    this.#node.stages.whole.observe(nowMs - unit.cameMs);
    this.#end(unit, nowMs - unit.cameMs);
  }

  /** For units: the leader refused, or is none. */
  failed(unit: EdgeUnit, operationId: string, error: OperationError): void {
    if (unit.open === 0) return;
    if (error.reason === "OUTCOME_UNKNOWN") unit.unknown = true;
    if (isPassing(error) && unit.open === unit.operations.length) {
      unit.callId = 0;
      const nowMs = this.#node.monotonicMs();
      if (nowMs < unit.deadlineMs) {
        unit.notBeforeMs = nowMs + RETRY_MS;
        this.#wait(unit);
        return;
      }
    }
    unit.caller.failed(operationId, unit.unknown ? unknownAfter(error) : this.#withOwner(error));
    this.#outstanding--;
    if (--unit.open === 0) this.#end(unit);
  }

  /** Who is fenced hears where the owner is, so that the caller can go there. */
  #withOwner(error: OperationError): OperationError {
    if (error.reason !== "FENCED") return error;
    const address = this.#node.addressOf(Number(error.metadata.get("owner_server_id") ?? 0));
    return address === "" ? error : { ...error, metadata: new Map([...error.metadata, ["owner_address", address]]) };
  }

  /** Answers units whose deadline has passed: the truth is that nothing is known, or that no leader was found. */
  expire(): void {
    const nowMs = this.#node.monotonicMs();
    for (const unit of this.#units) {
      if (unit.deadlineMs > nowMs) continue;
      const error = unit.sent
        ? new MeshError("OUTCOME_UNKNOWN", "no answer before the deadline; ask again with the same id", { retryDelayMs: RETRY_MS })
        : new MeshError("NO_QUORUM", `group ${unit.groupId} has no leader that this node can reach`, { metadata: { group_id: String(unit.groupId) }, retryDelayMs: RETRY_MS });
      this.#give(unit, operationError(error));
    }
    for (const [callId, call] of this.#calls) {
      if ([...call.units.values()].every((unit) => unit.open === 0 || unit.callId !== callId)) this.#calls.delete(callId);
    }
  }

  /** Fails everything that is open: the node stops. */
  close(): void {
    for (const unit of this.#units) {
      const reason = unit.sent ? "OUTCOME_UNKNOWN" : "SHUTTING_DOWN";
      this.#give(unit, operationError(new MeshError(reason, "the node is going down; ask another with the same id")));
    }
  }

  #give(unit: EdgeUnit, error: OperationError): void {
    for (const { operation } of unit.operations) {
      if (unit.open === 0) break;
      unit.caller.failed(operation.operationId, error);
      this.#outstanding--;
      unit.open--;
    }
    this.#end(unit);
  }

  /** `tookMs`: until it was decided; undefined: it was not. */
  #end(unit: EdgeUnit, tookMs?: number): void {
    if (!this.#units.delete(unit)) return;
    this.#bytes -= unit.bytes;
    this.#node.quotas.answered(unit.serverId, unit.operations.length);
    unit.admission.ended(unit.serverId, unit.operations.length, unit.isFirst, tookMs, this.#node.monotonicMs());
  }
}
