// Commands and read indexes on their way to a group's leader, wherever that is. All of them may be repeated: a
// command of the directory names what it wants, not a step. So a change of leader is answered by another try.
import { type ForwardedAnswer, type ForwardedCall, MeshError } from "@statemesh/contract";
import { Command, CommandResult } from "@statemesh/contract/log";
import { type LosingSide, minorityPartition } from "../healing/losing-side.ts";
import { firstCallId } from "./edge.ts";
import { isPassing, meshErrorOf, operationError, unknownAfter } from "./operation-errors.ts";

/** What a relay needs of its node. */
export interface RelayNode {
  readonly nodeId: number;
  /** Of this start of the node. */
  readonly incarnation: number;
  monotonicMs(): number;
  leaderOf(groupId: number): number;
  isConnected(peer: number): boolean;
  /** Set where this node is cut off from those who decide in the group. */
  losingSide(groupId: number): LosingSide | undefined;
  sendCall(peer: number, call: ForwardedCall, bytes: number): void;
  localCommand(groupId: number, command: Command, done: CommandDone): void;
  localReadIndex(groupId: number, done: ReadDone): void;
}

export type CommandDone = (result: CommandResult | undefined, error: MeshError | undefined) => void;
export type ReadDone = (index: number | undefined, error: MeshError | undefined) => void;

interface Request {
  readonly groupId: number;
  readonly deadlineMs: number;
  readonly command: Command | undefined;
  readonly commandDone: CommandDone | undefined;
  readonly readDone: ReadDone | undefined;
  notBeforeMs: number;
  sent: boolean;
  /** A try ended without an answer: it may have been done. */
  unknown: boolean;
}

/** Requests on their way at a time, a node. */
export const RELAYED_REQUESTS = 16_384;
const RETRY_MS = 50;
/** About what a request takes on its way. */
const REQUEST_BYTES = 512;
/** Call ids of the relay and of the edge share one number space between two nodes; the relay takes the upper half. */
const FIRST_CALL_ID = 2 ** 52;

export class Relay {
  readonly #node: RelayNode;
  #waiting: Request[] = [];
  readonly #calls = new Map<number, { peer: number; request: Request }>();
  #nextCallId: number;

  constructor(node: RelayNode) {
    this.#node = node;
    this.#nextCallId = FIRST_CALL_ID + firstCallId(node.incarnation);
  }

  command(groupId: number, command: Command, deadlineMs: number, done: CommandDone): void {
    if (this.#isFull) return done(undefined, this.#refusal());
    this.#waiting.push({ groupId, deadlineMs, command, commandDone: done, readDone: undefined, notBeforeMs: 0, sent: false, unknown: false });
  }

  readIndex(groupId: number, deadlineMs: number, done: ReadDone): void {
    if (this.#isFull) return done(undefined, this.#refusal());
    this.#waiting.push({ groupId, deadlineMs, command: undefined, commandDone: undefined, readDone: done, notBeforeMs: 0, sent: false, unknown: false });
  }

  get #isFull(): boolean {
    return this.#waiting.length + this.#calls.size >= RELAYED_REQUESTS;
  }

  #refusal(): MeshError {
    return new MeshError("OVERLOADED", `requests under way on this node: the limit of ${RELAYED_REQUESTS} is reached`, { retryDelayMs: RETRY_MS });
  }

  /** Hands waiting requests to their leaders. Called once a pump. */
  flush(): void {
    if (this.#waiting.length === 0) return;
    const nowMs = this.#node.monotonicMs();
    const later: Request[] = [];
    const waiting = this.#waiting;
    this.#waiting = later;
    for (const request of waiting) {
      const leader = this.#node.leaderOf(request.groupId);
      const reachable = leader === this.#node.nodeId || (leader !== 0 && this.#node.isConnected(leader));
      if (!reachable || request.notBeforeMs > nowMs) later.push(request);
      else if (leader === this.#node.nodeId) this.#local(request);
      else this.#forward(leader, request, nowMs);
    }
  }

  #local(request: Request): void {
    request.sent = true;
    if (request.command !== undefined) {
      this.#node.localCommand(request.groupId, request.command, (result, error) => this.#finish(request, result, undefined, error));
    } else {
      this.#node.localReadIndex(request.groupId, (index, error) => this.#finish(request, undefined, index, error));
    }
  }

  #forward(peer: number, request: Request, nowMs: number): void {
    request.sent = true;
    const callId = this.#nextCallId++;
    this.#calls.set(callId, { peer, request });
    this.#node.sendCall(peer, {
      callId,
      groupId: request.groupId,
      timeoutMs: Math.max(1, Math.ceil(request.deadlineMs - nowMs)),
      hops: 1,
      call:
        request.command === undefined
          ? { $case: "readIndex", value: true }
          : { $case: "command", value: Command.encode(request.command).finish() },
    }, REQUEST_BYTES);
  }

  #finish(request: Request, result: CommandResult | undefined, index: number | undefined, error: MeshError | undefined): void {
    const nowMs = this.#node.monotonicMs();
    if (error?.reason === "OUTCOME_UNKNOWN") request.unknown = true;
    if (error !== undefined && isPassing(operationError(error)) && nowMs < request.deadlineMs) {
      request.notBeforeMs = nowMs + RETRY_MS;
      this.#waiting.push(request);
      return;
    }
    // A read changes nothing, so no earlier try of it matters.
    request.commandDone?.(result, error !== undefined && request.unknown ? meshErrorOf(unknownAfter(operationError(error))) : error);
    request.readDone?.(index, error);
  }

  /** An answer to a forwarded call; false where the call is not one of the relay's. */
  onAnswer(answer: ForwardedAnswer): boolean {
    const call = this.#calls.get(answer.callId);
    if (call === undefined) return false;
    this.#calls.delete(answer.callId);
    if (answer.error !== undefined) this.#finish(call.request, undefined, undefined, meshErrorOf(answer.error));
    else if (call.request.command !== undefined) this.#finish(call.request, CommandResult.decode(answer.commandResult), undefined, undefined);
    else this.#finish(call.request, undefined, answer.readIndex, undefined);
    return true;
  }

  onDisconnected(peer: number, error: MeshError): void {
    for (const [callId, call] of [...this.#calls]) {
      if (call.peer !== peer) continue;
      this.#calls.delete(callId);
      this.#finish(call.request, undefined, undefined, error);
    }
  }

  expire(): void {
    const nowMs = this.#node.monotonicMs();
    this.#cutOff();
    const overdue = (request: Request): boolean => request.deadlineMs <= nowMs;
    for (const request of this.#waiting.filter(overdue)) this.#fail(request);
    this.#waiting = this.#waiting.filter((request) => !overdue(request));
    for (const [callId, { request }] of [...this.#calls]) {
      if (!overdue(request)) continue;
      this.#calls.delete(callId);
      this.#fail(request);
    }
  }

  /**
   * On the losing side of a partition what surely is in no log is refused. Once a tick and not once a pump: who asks again as soon
   * as it hears of it must not keep the node busy.
   */
  #cutOff(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    const kept: Request[] = [];
    for (const request of waiting) {
      const leader = this.#node.leaderOf(request.groupId);
      const isReachable = leader === this.#node.nodeId || (leader !== 0 && this.#node.isConnected(leader));
      const side = isReachable || (request.unknown && request.command !== undefined) ? undefined : this.#node.losingSide(request.groupId);
      if (side === undefined) {
        kept.push(request);
        continue;
      }
      const error = minorityPartition(request.groupId, side);
      request.commandDone?.(undefined, error);
      request.readDone?.(undefined, error);
    }
    this.#waiting = [...kept, ...this.#waiting];
  }

  /** Fails everything that is under way: the node stops. */
  close(): void {
    const open = [...this.#waiting, ...[...this.#calls.values()].map(({ request }) => request)];
    this.#waiting = [];
    this.#calls.clear();
    for (const request of open) this.#fail(request);
  }

  #fail(request: Request): void {
    const error = request.sent && request.command !== undefined
      ? new MeshError("OUTCOME_UNKNOWN", "no answer before the deadline; ask again", { retryDelayMs: RETRY_MS })
      : new MeshError("NO_QUORUM", `group ${request.groupId} has no leader that answers`, { metadata: { group_id: String(request.groupId) }, retryDelayMs: RETRY_MS });
    request.commandDone?.(undefined, error);
    request.readDone?.(undefined, error);
  }
}
