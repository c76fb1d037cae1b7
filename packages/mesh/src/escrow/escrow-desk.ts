// Where what callers want of escrows meets this node's disk: one write at a time, of all that came meanwhile. What is spent is judged right
// before its write, in the order of the calls, so that numbers have no gaps and nothing is promised twice.
import { type CloseEscrowRequest, type CloseEscrowResponse, MeshError, type SpendEscrowRequest, type SpendEscrowResponse } from "@statemesh/contract";
import type { EscrowLogRecord, EscrowSpending } from "@statemesh/contract/log";
import type { EscrowRow, GroupState } from "@statemesh/replica";
import { operationIdReused, overloaded } from "../strong/operation-errors.ts";
import type { EscrowDone, EscrowNode } from "./escrow-keeper.ts";
import { closed, escrowMessage, notFound, notReady, spendingFingerprint } from "./escrow-requests.ts";
import { HeldEscrow, heldKey, type KeptSpending } from "./held-escrow.ts";

/** Calls of one write. */
const WRITE_CALLS = 512;
/** Spendings that are not in the log yet, of one escrow and of all of a node. Beyond it callers get OVERLOADED. */
const SPENDINGS_OF_ESCROW = 4_096;
const SPENDINGS_OF_NODE = 16_384;

export interface SpendAsk {
  readonly kind: "spend";
  readonly groupId: number;
  readonly request: SpendEscrowRequest;
  readonly fingerprint: number;
  readonly done: EscrowDone<SpendEscrowResponse>;
}

export interface CloseAsk {
  readonly kind: "close";
  readonly groupId: number;
  readonly request: CloseEscrowRequest;
  readonly deadlineMs: number;
  readonly done: EscrowDone<CloseEscrowResponse>;
}

/** What this node itself has to write down. */
type OwnAsk = { readonly kind: "adopt"; readonly groupId: number } | { readonly kind: "end"; readonly held: HeldEscrow };

export interface DeskHost {
  isCurrent(groupId: number): boolean;
  /** Escrows of a group that come new to this node are only closed. */
  adopt(groupId: number): boolean;
  /** A spending of it is on disk. */
  promised(held: HeldEscrow): void;
  /** That it keeps no more is on disk. */
  closing(ask: CloseAsk, held: HeldEscrow): void;
}

/** What is on its way to the disk. */
interface Writing {
  readonly records: EscrowLogRecord[];
  /** Once it is there. */
  readonly then: (() => void)[];
  /** Where it is not. */
  readonly undo: ((error: MeshError) => void)[];
  readonly touched: Set<HeldEscrow>;
}

export class EscrowDesk {
  readonly #node: EscrowNode;
  readonly #held: Map<string, HeldEscrow>;
  readonly #host: DeskHost;
  #asks: (SpendAsk | CloseAsk | OwnAsk)[] = [];
  /** Those that are to be ended already: a slow disk is not asked once more with every look. */
  readonly #ending = new Set<HeldEscrow>();
  readonly #byOperation = new Map<string, { readonly held: HeldEscrow; readonly kept: KeptSpending }>();
  #writing: Writing | undefined;
  #judging = false;
  #stopped = false;

  constructor(node: EscrowNode, held: Map<string, HeldEscrow>, host: DeskHost) {
    this.#node = node;
    this.#held = held;
    this.#host = host;
    for (const each of held.values()) for (const kept of each.kept) this.#byOperation.set(kept.spending.operationId, { held: each, kept });
  }

  get waiting(): number {
    return this.#asks.length;
  }

  /** Something of an escrow is on its way to the disk, or may be next. */
  isWriting(held: HeldEscrow): boolean {
    return this.#writing?.touched.has(held) === true;
  }

  spend(groupId: number, request: SpendEscrowRequest, done: EscrowDone<SpendEscrowResponse>): void {
    const { timestampMs, serverId } = request;
    const { maxOffsetMs } = this.#node.options.policy;
    const wallMs = this.#node.host.clock.wallMs();
    if (timestampMs > wallMs + maxOffsetMs) {
      throw new MeshError("TIMESTAMP_IN_FUTURE", `timestamp_ms: at most ${maxOffsetMs} ms ahead of the receiver's clock`, { field: "timestamp_ms", metadata: { received_at_ms: String(Math.floor(wallMs)), server_id: String(serverId) } });
    }
    this.#take({ kind: "spend", groupId, request, fingerprint: spendingFingerprint(request), done });
  }

  close(groupId: number, request: CloseEscrowRequest, deadlineMs: number, done: EscrowDone<CloseEscrowResponse>): void {
    this.#take({ kind: "close", groupId, request, deadlineMs, done });
  }

  /** Takes on the escrows of this node that it does not hold yet. */
  adopt(groupId: number): void {
    if (!this.#asks.some((ask) => ask.kind === "adopt" && ask.groupId === groupId)) this.#take({ kind: "adopt", groupId });
  }

  /** Keeps no more spendings of an escrow. */
  end(held: HeldEscrow): void {
    if (this.#ending.has(held)) return;
    this.#ending.add(held);
    this.#take({ kind: "end", held });
  }

  /** What may be found out again where it does not get onto the disk. */
  note(records: readonly EscrowLogRecord[]): void {
    this.#node.host.keepEscrow(records, () => undefined);
  }

  #take(ask: SpendAsk | CloseAsk | OwnAsk): void {
    if (this.#stopped) return ask.kind === "spend" || ask.kind === "close" ? ask.done(undefined, goingDown()) : undefined;
    this.#asks.push(ask);
    this.#write();
  }

  #write(): void {
    // Who is refused may ask again at once, in the middle of this.
    while (this.#writing === undefined && !this.#judging && this.#asks.length > 0 && !this.#stopped) {
      const writing: Writing = { records: [], then: [], undo: [], touched: new Set() };
      this.#judging = true;
      for (const ask of this.#asks.splice(0, WRITE_CALLS)) this.#judge(ask, writing);
      this.#judging = false;
      if (writing.records.length === 0) {
        for (const run of writing.then) run();
        continue;
      }
      this.#writing = writing;
      this.#node.host.keepEscrow(writing.records, (error) => {
        if (this.#stopped) return;
        this.#writing = undefined;
        if (error === undefined) for (const run of writing.then) run();
        else for (const run of writing.undo.reverse()) run(error);
        this.#node.dirty();
        this.#write();
      });
    }
  }

  #judge(ask: SpendAsk | CloseAsk | OwnAsk, writing: Writing): void {
    if (ask.kind === "adopt") return this.#adoptAll(ask.groupId, writing);
    if (ask.kind === "end") {
      this.#ending.delete(ask.held);
      return this.#end(ask.held, writing, () => undefined);
    }
    try {
      if (ask.kind === "spend") this.#spend(ask, writing);
      else this.#close(ask, writing);
    } catch (error) {
      ask.done(undefined, MeshError.from(error));
    }
  }

  #spend(ask: SpendAsk, writing: Writing): void {
    const { groupId, request, fingerprint, done } = ask;
    const { operationId, serverId, escrowId, quantity, toPlayerId, timestampMs: claimedMs } = request;
    const state = this.#state(groupId);
    if (this.#repeats(ask, state)) return;
    // What may have been spent is not refused for what the escrow is by now: that would say that it was not.
    const known = this.#held.get(heldKey(groupId, escrowId));
    const keeperId = known?.row.nodeId ?? state.escrows.find(escrowId)?.nodeId ?? this.#node.nodeId;
    if (keeperId === this.#node.nodeId && claimedMs <= state.forgotten.throughMs(serverId)) {
      throw new MeshError("DECISION_FORGOTTEN", `operation ${operationId} is stamped before decisions of server ${serverId} that are forgotten`, { metadata: { kept_after_ms: String(state.forgotten.throughMs(serverId)) } });
    }
    // It may be one of a part of the log that this node does not have again since its start.
    if (known !== undefined && claimedMs <= known.doneClaimedMs && (state.escrows.find(escrowId)?.lastNumber ?? 0) < known.doneNumber) throw notReady(escrowId);
    const held = this.#heldFor(groupId, request, state, writing);
    if (held.isClosing) throw closed(escrowId, "closing");
    const wallMs = this.#node.host.clock.wallMs();
    if (held.row.expiresMs <= wallMs) throw new MeshError("ESCROW_EXPIRED", `escrow ${escrowId} is over`, { metadata: { escrow_id: escrowId, expires_ms: String(held.row.expiresMs) } });
    if (quantity > held.left) throw new MeshError("ESCROW_EXHAUSTED", `escrow ${escrowId} has ${held.left} left`, { metadata: { escrow_id: escrowId, left: String(held.left) } });
    if (held.kept.length >= SPENDINGS_OF_ESCROW) throw overloaded(`spendings of escrow ${escrowId} that are not in the log yet`, SPENDINGS_OF_ESCROW);
    if (this.#byOperation.size >= SPENDINGS_OF_NODE) throw overloaded("spendings of this node that are not in the log yet", SPENDINGS_OF_NODE);
    const side = this.#node.cutOff.partition.losingSide(groupId);
    const spending: EscrowSpending = {
      number: held.nextNumber, operationId, fingerprint, quantity, toPlayerId, claimedMs, escrowId, groupId, openedIndex: held.row.openedIndex,
      stamp: { physicalMs: Math.min(claimedMs, Math.floor(wallMs)), logical: 0 },
      side: side === undefined ? undefined : { nodeIds: [...side.nodes], beganMs: Math.floor(side.beganMs), endedMs: 0, viewEpoch: side.viewEpoch, decided: false },
    };
    const kept: KeptSpending = { spending, durable: false, waiters: [] };
    held.add(kept);
    this.#byOperation.set(operationId, { held, kept });
    writing.touched.add(held);
    writing.records.push({ record: { $case: "spending", value: spending } });
    writing.then.push(() => {
      kept.durable = true;
      done({ left: held.left, position: undefined, repeated: false }, undefined);
      for (const wake of kept.waiters.splice(0)) wake();
      this.#host.promised(held);
    });
    writing.undo.push((error) => {
      held.removeLast(kept);
      this.#byOperation.delete(operationId);
      done(undefined, error);
      for (const wake of kept.waiters.splice(0)) wake();
    });
  }

  /** Answers what was spent already under that id. */
  #repeats({ groupId, request, fingerprint, done }: SpendAsk, state: GroupState): boolean {
    const { operationId, escrowId } = request;
    const known = this.#byOperation.get(operationId);
    const left = (): number => this.#held.get(heldKey(groupId, escrowId))?.left ?? leftInLog(state.escrows.find(escrowId));
    const row = state.decisions.get(operationId);
    const healed = row === undefined ? state.heals.find(operationId) : undefined;
    const spent = known?.kept.spending.fingerprint ?? row?.fingerprint ?? healed?.fingerprint;
    if (spent === undefined) return false;
    if (spent !== fingerprint) throw operationIdReused(operationId, spent, fingerprint);
    const position = row === undefined ? healed?.operation?.position : { groupId, term: row.term, index: row.index };
    const answer = (): void => done({ left: left(), position, repeated: true }, undefined);
    if (known === undefined || known.kept.durable) answer();
    else {
      known.kept.waiters.push(() => {
        if (known.kept.durable) answer();
        else done(undefined, new MeshError("OUTCOME_UNKNOWN", "the spending was not written: ask again", { retryDelayMs: 50 }));
      });
    }
    return true;
  }

  #close(ask: CloseAsk, writing: Writing): void {
    const { groupId, request, done } = ask;
    const state = this.#state(groupId);
    const row = state.escrows.find(request.escrowId);
    const isOver = row !== undefined && row.closedIndex > 0 && row.spenderServerId === request.serverId;
    if (isOver) return done({ escrow: escrowMessage(row, undefined) }, undefined);
    const held = this.#heldFor(groupId, request, state, writing);
    const then = (): void => this.#host.closing(ask, held);
    const undo = (error: MeshError): void => done(undefined, error);
    if (held.isClosing) {
      writing.then.push(then);
      writing.undo.push(undo);
    } else this.#end(held, writing, (error) => (error === undefined ? then() : undo(error)));
  }

  #end(held: HeldEscrow, writing: Writing, done: (error: MeshError | undefined) => void): void {
    if (held.isClosing) return;
    held.isClosing = true;
    writing.touched.add(held);
    writing.records.push({ record: { $case: "held", value: held.note } });
    writing.then.push(() => done(undefined));
    writing.undo.push((error) => {
      held.isClosing = false;
      done(error);
    });
  }

  /** The escrow of a request, where it is this node's and the server's. */
  #heldFor(groupId: number, { escrowId, serverId }: { readonly escrowId: string; readonly serverId: number }, state: GroupState, writing: Writing): HeldEscrow {
    const held = this.#held.get(heldKey(groupId, escrowId));
    const row = held?.row ?? state.escrows.find(escrowId);
    if (row === undefined) throw this.#host.isCurrent(groupId) ? notFound(escrowId) : notReady(escrowId);
    if (row.nodeId !== this.#node.nodeId) throw this.#elsewhere(row);
    if (row.spenderServerId !== serverId) throw new MeshError("ESCROW_OF_OTHER_SERVER", `escrow ${escrowId} is for server ${row.spenderServerId}`, { metadata: { escrow_id: escrowId, spender_server_id: String(row.spenderServerId) } });
    if (held !== undefined) return held;
    if (row.closedIndex > 0) throw closed(escrowId, "closed");
    if (!this.#host.isCurrent(groupId)) throw notReady(escrowId);
    return this.#adopt(groupId, row, writing);
  }

  #elsewhere({ escrowId, nodeId }: EscrowRow): MeshError {
    return new MeshError("ESCROW_ELSEWHERE", `node ${nodeId} keeps the spendings of escrow ${escrowId}`, { metadata: { escrow_id: escrowId, node_id: String(nodeId) } });
  }

  #adoptAll(groupId: number, writing: Writing): void {
    if (!this.#host.isCurrent(groupId)) return;
    for (const row of this.#state(groupId).escrows.openRows()) if (row.nodeId === this.#node.nodeId && !this.#held.has(heldKey(groupId, row.escrowId))) this.#adopt(groupId, row, writing);
  }

  #adopt(groupId: number, row: EscrowRow, writing: Writing): HeldEscrow {
    const held = new HeldEscrow(groupId, row, this.#host.adopt(groupId));
    const key = heldKey(groupId, row.escrowId);
    this.#held.set(key, held);
    writing.touched.add(held);
    writing.records.push({ record: { $case: "held", value: held.note } });
    writing.undo.push(() => this.#held.delete(key));
    return held;
  }

  #state(groupId: number): GroupState {
    const state = this.#node.groups[groupId]?.state;
    if (state === undefined) throw new MeshError("INTERNAL", `group ${groupId} is not on this node`);
    return state;
  }

  /** What is in the log is answered from there; what is lost is not answered. */
  forget(gone: readonly KeptSpending[]): void {
    for (const { spending } of gone) this.#byOperation.delete(spending.operationId);
  }

  /** What is on its way to the disk may get there. */
  stop(): void {
    this.#stopped = true;
    for (const ask of this.#asks.splice(0)) if (ask.kind === "spend" || ask.kind === "close") ask.done(undefined, goingDown());
    for (const run of (this.#writing?.undo ?? []).reverse()) run(new MeshError("OUTCOME_UNKNOWN", "the node is going down; ask it again with the same id"));
  }
}

/** As far as the log says: another node keeps it, and may have promised more of it. */
function leftInLog(row: EscrowRow | undefined): number {
  return row === undefined || row.closedIndex > 0 ? 0 : row.quantity - row.spent;
}

function goingDown(): MeshError {
  return new MeshError("SHUTTING_DOWN", "the node is going down");
}
