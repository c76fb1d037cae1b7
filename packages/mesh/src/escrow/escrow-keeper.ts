// Escrows whose spendings this node keeps. All spending goes through here, also while all is connected, and so what is left is known here
// alone and exactly. A spending is on this node's disk before anybody hears of it, and stays there until this node's own copy of the log has
// it. What the log does with it cannot be otherwise: it is the next number, and the items are there.
import { type CloseEscrowResponse, type Escrow, type ListEscrowsRequest, type ListEscrowsResponse, MeshError, type SpendEscrowResponse } from "@statemesh/contract";
import { type Command, type CommandResult, type EscrowLogRecord, type EscrowStep } from "@statemesh/contract/log";
import { commandOf, ESCROW_VERSION, type EscrowRow, type GroupState, type Membership } from "@statemesh/replica";
import { groupOf, type Policy } from "@statemesh/world";
import type { LosingSide } from "../healing/losing-side.ts";
import type { Host } from "../host.ts";
import type { GroupReplica } from "../strong/group-replica.ts";
import { overloaded } from "../strong/operation-errors.ts";
import { checkList, checkNamed, checkSpending, escrowMessage, notFound, pageOf } from "./escrow-requests.ts";
import { EscrowDesk, type CloseAsk, type SpendAsk } from "./escrow-desk.ts";
import { EscrowNotes, type HeldEscrow, heldKey } from "./held-escrow.ts";

/** Calls that wait for the disk. Beyond it callers get OVERLOADED. */
const WAITING_CALLS = 4_096;
/** Calls that wait for an escrow to be closed. Beyond it they hear how it stands at once. */
const WAITING_CLOSES = 1_024;
/** Spendings of one step into the log. */
const STEP_SPENDINGS = 256;
/** Steps on their way into the log at a time. */
const STEPS_AT_ONCE = 64;
const STEP_MS = 5_000;
/** Ticks between two looks for what time, members and other nodes changed. */
const LOOK_TICKS = 20;

export interface EscrowNode {
  readonly nodeId: number;
  readonly groups: readonly GroupReplica[];
  readonly membership: Membership;
  readonly options: { readonly policy: Policy };
  readonly host: Host;
  readonly relay: { command(groupId: number, command: Command, deadlineMs: number, done: (result: CommandResult | undefined, error: MeshError | undefined) => void): void };
  barrier(groupId: number, deadlineMs: number, done: (error: MeshError | undefined) => void): void;
  /** Milliseconds since this node surely held all that was committed; infinite where it never did since its start. */
  stalenessMs(groupId: number): number;
  readonly cutOff: { readonly partition: { losingSide(groupId: number): LosingSide | undefined } };
  dirty(): void;
}

export type EscrowDone<Response> = (response: Response | undefined, error: MeshError | undefined) => void;

export class EscrowKeeper {
  readonly #node: EscrowNode;
  readonly #held = new Map<string, HeldEscrow>();
  readonly #desk: EscrowDesk;
  /** Calls that wait for an escrow to be closed. */
  #closes: { readonly held: HeldEscrow; readonly deadlineMs: number; readonly done: EscrowDone<CloseEscrowResponse> }[] = [];
  /** By group, the state that was looked through for escrows of this node, and at which of its versions. */
  readonly #seen = new Map<number, { readonly state: GroupState; readonly version: number }>();
  readonly #asking = new Set<number>();
  /** Groups whose escrows may have been spent from by what the file lost. */
  readonly #damaged = new Set<number>();
  readonly #closing = new Set<string>();
  #steps = 0;
  #ticks = 0;
  /** Spendings that were promised since the start, and those of before that were lost with a damaged file. */
  promised = 0;
  lost = 0;

  /** @param restored what the node's disk holds */
  constructor(node: EscrowNode, restored: readonly EscrowLogRecord[]) {
    this.#node = node;
    const notes = new EscrowNotes();
    for (const record of restored) notes.take(record);
    for (const held of notes.escrows()) this.#held.set(heldKey(held.groupId, held.row.escrowId), held);
    if (notes.isDamaged) for (const { groupId } of node.groups) this.#damaged.add(groupId);
    this.#desk = new EscrowDesk(node, this.#held, {
      isCurrent: (groupId) => this.#isCurrent(groupId),
      adopt: (groupId) => this.#damaged.has(groupId),
      promised: (held) => {
        this.promised++;
        this.#offer(held);
      },
      closing: (ask, held) => this.#whenClosed(ask, held),
    });
  }

  /** Escrows that this node keeps, and spendings that are on its disk and not in the log yet. */
  get size(): number {
    return this.#held.size;
  }

  get spendingsAside(): number {
    let sum = 0;
    for (const { kept } of this.#held.values()) sum += kept.length;
    return sum;
  }

  // ---- callers ----

  /** `deadlineMs`, monotonic: until then the call may wait for what was committed before it. */
  spend(request: SpendAsk["request"], deadlineMs: number, done: EscrowDone<SpendEscrowResponse>): void {
    this.#ask(done, () => {
      const groupId = this.#groupOf(checkSpending(request));
      this.#whenKnown(groupId, request.escrowId, deadlineMs, done, () => this.#desk.spend(groupId, request, done));
    });
  }

  /** `deadlineMs`, monotonic: until then the call may wait for the log. */
  close(request: CloseAsk["request"], deadlineMs: number, done: EscrowDone<CloseEscrowResponse>): void {
    this.#ask(done, () => {
      const groupId = this.#groupOf(checkNamed(request));
      this.#whenKnown(groupId, request.escrowId, deadlineMs, done, () => this.#desk.close(groupId, request, deadlineMs, done));
    });
  }

  /** An escrow that this node knows nothing of may have been opened a moment ago, or before its start: it asks what was committed first. */
  #whenKnown(groupId: number, escrowId: string, deadlineMs: number, done: EscrowDone<never>, run: () => void): void {
    const isKnown = (): boolean => this.#held.has(heldKey(groupId, escrowId)) || (this.#isCurrent(groupId) && this.#state(groupId).escrows.find(escrowId) !== undefined);
    if (isKnown()) return run();
    this.#node.barrier(groupId, deadlineMs, (error) => {
      if (error === undefined || isKnown()) this.#ask(done, run);
      else done(undefined, error);
    });
  }

  #ask(done: EscrowDone<never>, ask: () => void): void {
    try {
      this.#checkVersion();
      if (this.#desk.waiting >= WAITING_CALLS) throw overloaded("calls about escrows that wait for this node's disk", WAITING_CALLS);
      ask();
    } catch (error) {
      done(undefined, MeshError.from(error));
    }
  }

  /** `turn` runs what takes long when it is its turn; it must not be held while the call waits for others. */
  list(request: ListEscrowsRequest, deadlineMs: number, done: EscrowDone<ListEscrowsResponse>, turn: (run: () => void) => void = (run) => run()): void {
    try {
      const groupId = this.#groupOf(checkList(request));
      this.#checkVersion();
      const answer = (): void => turn(() => done(pageOf(this.#listed(groupId, request), request), undefined));
      if (request.stale) answer();
      else this.#node.barrier(groupId, deadlineMs, (error) => (error === undefined ? answer() : done(undefined, error)));
    } catch (error) {
      done(undefined, MeshError.from(error));
    }
  }

  #listed(groupId: number, { escrowId, serverId, playerId, includeClosed }: ListEscrowsRequest): Escrow[] {
    const { escrows } = this.#state(groupId);
    const rows = new Map<string, EscrowRow>();
    if (includeClosed) for (const row of escrows.closedRows()) rows.set(row.escrowId, row);
    // Of what the disk knows and this copy of the log does not have again since the start, the disk's word counts.
    for (const held of this.#held.values()) if (held.groupId === groupId) rows.set(held.row.escrowId, { ...held.row, lastNumber: held.doneNumber, spent: held.doneSum });
    for (const row of escrows.openRows()) rows.set(row.escrowId, row);
    return [...rows.values()]
      .filter((row) => (escrowId === "" || row.escrowId === escrowId) && (serverId === 0 || row.spenderServerId === serverId) && (playerId === "" || row.playerId === playerId))
      .sort((a, b) => (a.escrowId < b.escrowId ? -1 : 1))
      .map((row) => escrowMessage(row, this.#heldOf(groupId, row)));
  }

  #heldOf(groupId: number, row: EscrowRow): HeldEscrow | undefined {
    const held = this.#held.get(heldKey(groupId, row.escrowId));
    return held?.row.openedIndex === row.openedIndex ? held : undefined;
  }

  #groupOf(region: Parameters<typeof groupOf>[0]): number {
    return groupOf(region, this.#node.groups.length - 1);
  }

  #state(groupId: number): GroupState {
    const state = this.#node.groups[groupId]?.state;
    if (state === undefined) throw notFound("");
    return state;
  }

  #checkVersion(): void {
    if (this.#node.membership.version < ESCROW_VERSION) throw new MeshError("VERSION_TOO_LOW", "escrows: there are some once every node runs a build that knows them");
  }

  /** This node's copy of the log holds, since its start, all that was ever known here. */
  #isCurrent(groupId: number): boolean {
    return this.#node.stalenessMs(groupId) !== Number.POSITIVE_INFINITY;
  }

  #isCutOff(groupId: number): boolean {
    return this.#node.cutOff.partition.losingSide(groupId) !== undefined;
  }

  // ---- time ----

  tick(): void {
    this.#ticks++;
    const looks = this.#ticks % LOOK_TICKS === 0;
    for (const held of this.#held.values()) this.#follow(held);
    this.#answerCloses();
    this.#noteDone();
    if (!looks) return;
    this.#seek();
    this.#closeInTime();
    this.#closeForRemoved();
  }

  /** What the log says of an escrow of this node. */
  #follow(held: HeldEscrow): void {
    const { groupId, row: known } = held;
    const { escrows } = this.#state(groupId);
    const found = escrows.find(known.escrowId);
    const row = found?.openedIndex === known.openedIndex ? found : undefined;
    if (row !== undefined) this.#desk.forget(held.done(row.lastNumber, row.spent));
    const isOver = row === undefined ? this.#isCurrent(groupId) : row.closedIndex > 0;
    if (isOver) return this.#release(held);
    const first = held.kept[0]?.spending.number ?? held.nextNumber;
    if (held.isDamaged && first > held.doneNumber + 1 && this.#isCurrent(groupId)) this.#lose(held, "the file of escrows was damaged");
    this.#offer(held);
  }

  #release(held: HeldEscrow): void {
    if (held.kept.length > 0) this.#lose(held, "this node was taken for removed");
    this.#held.delete(heldKey(held.groupId, held.row.escrowId));
    this.#desk.note([{ record: { $case: "released", value: held.note } }]);
  }

  #lose(held: HeldEscrow, why: string): void {
    const lost = held.dropAll();
    this.#desk.forget(lost);
    this.lost += lost.length;
    const sum = lost.reduce((total, { spending }) => total + spending.quantity, 0);
    this.#node.host.log.error("spendings that were promised are lost", { group: held.groupId, escrow: held.row.escrowId, spendings: lost.length, quantity: sum, why });
  }

  #noteDone(): void {
    const records: EscrowLogRecord[] = [];
    for (const held of this.#held.values()) {
      if (!held.isToNote) continue;
      held.isToNote = false;
      records.push({ record: { $case: "held", value: held.note } });
    }
    if (records.length > 0) this.#desk.note(records);
  }

  /** The next step of an escrow into the log. */
  #offer(held: HeldEscrow): void {
    const { groupId, row } = held;
    if (held.isOffered || held.notBeforeTick > this.#ticks || this.#steps >= STEPS_AT_ONCE) return;
    if (this.#isCutOff(groupId)) {
      held.endedMs = 0;
      return;
    }
    if (held.endedMs === 0) held.endedMs = Math.floor(this.#node.host.clock.wallMs());
    const { endedMs } = held;
    const next = held.kept.filter(({ durable, spending }) => durable && spending.number > held.offeredThrough).slice(0, STEP_SPENDINGS);
    const ends = held.isClosing && held.kept.length === 0 && !this.#desk.isWriting(held);
    if (next.length === 0 && !ends) return;
    const spendings = next.map(({ spending }) => (spending.side === undefined ? spending : { ...spending, side: { ...spending.side, endedMs } }));
    const through = next.at(-1)?.spending.number ?? held.offeredThrough;
    held.isOffered = true;
    this.#steps++;
    const { escrowId, openedIndex } = row;
    this.#step(groupId, { escrowId, openedIndex, spendings, end: ends ? { lastNumber: held.doneNumber, nodeRemoved: false } : undefined, nowMs: endedMs }, (isDone) => {
      this.#steps--;
      held.isOffered = false;
      // What did not take effect is offered again, from the first.
      held.offeredThrough = isDone ? Math.max(through, held.doneNumber) : held.doneNumber;
      if (!isDone) held.notBeforeTick = this.#ticks + LOOK_TICKS;
      else if (this.#held.get(heldKey(groupId, escrowId)) === held) this.#follow(held);
      this.#node.dirty();
    });
  }

  #step(groupId: number, step: EscrowStep, done: (isDone: boolean) => void): void {
    const { relay, host } = this.#node;
    relay.command(groupId, commandOf({ $case: "escrow", value: step }), host.clock.monotonicMs() + STEP_MS, (result, error) => done(error === undefined && result?.reason === ""));
    this.#node.dirty();
  }

  /** Escrows of this node that it does not hold yet. Of what it may have held before, and what it knows nothing of, it must first be sure. */
  #seek(): void {
    if (this.#node.membership.version < ESCROW_VERSION) return;
    for (const { groupId, state } of this.#node.groups) {
      const seen = this.#seen.get(groupId);
      const { version, size } = state.escrows;
      if (seen?.state === state && seen.version === version && !this.#damaged.has(groupId)) continue;
      const isWanted = size > 0 && [...state.escrows.openRows()].some((row) => row.nodeId === this.#node.nodeId && this.#heldOf(groupId, row) === undefined);
      if ((isWanted || this.#damaged.has(groupId)) && !this.#isCurrent(groupId)) {
        this.#becomeCurrent(groupId);
        continue;
      }
      // Looked at again: it may not get onto the disk, and until it has, what is damaged is.
      if (isWanted) this.#desk.adopt(groupId);
      else if (!this.#isWriting(groupId)) {
        this.#seen.set(groupId, { state, version });
        if (this.#damaged.delete(groupId) && this.#damaged.size === 0) this.#noteWhole();
      }
    }
  }

  #isWriting(groupId: number): boolean {
    for (const held of this.#held.values()) if (held.groupId === groupId && this.#desk.isWriting(held)) return true;
    return false;
  }

  /** The file has nothing more to tell: all that the damage may have hit is here, and noted as what keeps no more. */
  #noteWhole(): void {
    const records: EscrowLogRecord[] = [];
    for (const held of this.#held.values()) if (held.isClosing) records.push({ record: { $case: "held", value: held.note } });
    this.#desk.note([...records, { record: { $case: "damaged", value: false } }]);
  }

  #becomeCurrent(groupId: number): void {
    if (this.#asking.has(groupId) || this.#isCutOff(groupId)) return;
    this.#asking.add(groupId);
    this.#node.barrier(groupId, this.#node.host.clock.monotonicMs() + STEP_MS, () => this.#asking.delete(groupId));
  }

  /** What is over by the clock keeps no more, and so does a node that goes, or is out: what is left comes back. */
  #closeInTime(): void {
    const nowMs = this.#node.host.clock.wallMs();
    const isLeaving = !this.#node.membership.mayKeep(this.#node.nodeId);
    for (const held of this.#held.values()) if (!held.isClosing && (isLeaving || held.row.expiresMs <= nowMs)) this.#desk.end(held);
  }

  /** Of a node that was removed nothing comes any more. A node id is never used again, so that this is for ever. */
  #closeForRemoved(): void {
    const { membership } = this.#node;
    if (!membership.isOnRecord) return;
    for (const { groupId, serves, state } of this.#node.groups) {
      if (!serves || state.escrows.size === 0) continue;
      for (const { nodeId, escrowId, openedIndex, lastNumber } of state.escrows.openRows()) {
        const key = heldKey(groupId, escrowId);
        if (nodeId > membership.lastNodeId || membership.member(nodeId) !== undefined || this.#closing.size >= STEPS_AT_ONCE || this.#closing.has(key)) continue;
        this.#closing.add(key);
        this.#node.host.log.warn("an escrow is closed, because its node was removed", { group: groupId, escrow: escrowId, node: nodeId });
        this.#step(groupId, { escrowId, openedIndex, spendings: [], end: { lastNumber, nodeRemoved: true }, nowMs: 0 }, () => this.#closing.delete(key));
      }
    }
  }

  // ---- closing ----

  #whenClosed({ deadlineMs, done }: CloseAsk, held: HeldEscrow): void {
    this.#offer(held);
    if (this.#isCutOff(held.groupId) || this.#closes.length >= WAITING_CLOSES) done({ escrow: escrowMessage(held.row, held) }, undefined);
    else this.#closes.push({ held, deadlineMs, done });
  }

  #answerCloses(): void {
    if (this.#closes.length === 0) return;
    const nowMs = this.#node.host.clock.monotonicMs();
    this.#closes = this.#closes.filter(({ held, deadlineMs, done }) => {
      const { groupId, row: known } = held;
      const row = this.#state(groupId).escrows.find(known.escrowId);
      const isOver = row?.openedIndex !== known.openedIndex || row.closedIndex > 0;
      if (!isOver && deadlineMs > nowMs && !this.#isCutOff(groupId)) return true;
      done({ escrow: escrowMessage(row?.openedIndex === known.openedIndex ? row : known, held) }, undefined);
      return false;
    });
  }

  /** The node stops: nobody who waits hears more than is known. */
  stop(): void {
    for (const { held, done } of this.#closes.splice(0)) done({ escrow: escrowMessage(held.row, held) }, undefined);
    this.#desk.stop();
  }
}
