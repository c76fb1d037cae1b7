// Which waiting operations may be decided now. Operations whose footprints meet are decided one after the
// other; others side by side. So a decision never needs to see anything that is not applied yet. Servers take turns, so
// that one with much to do waits for itself (flow/fair-lanes.ts); what comes faster than it can be decided is refused.
import { type Decision, type HybridTimestamp, MeshError, type OperationError } from "@statemesh/contract";
import type { DecidedOperation } from "@statemesh/contract/log";
import { type DecisionUnit, needsOf, type Occupancy, type Occupant, type PendingOperation, Reservations } from "@statemesh/replica";
import { FairLanes, type Lane } from "../flow/fair-lanes.ts";
import { Holds } from "../flow/holds.ts";
import { InFlight } from "../flow/in-flight.ts";
import { type StageTimes, stageTimes } from "../flow/stage-times.ts";
import { type DelayLimits, retryAfterMs } from "../flow/standing-delay.ts";
import { type DecisionBatch, Gathering } from "./decision-batch.ts";
import type { AskedToPrepare } from "./group-transactions.ts";
import type { HealUnit } from "../healing/heal-unit.ts";
import { HeldNames } from "./held-names.ts";
import { OperationOccupancy } from "./occupancy.ts";
import { overloaded } from "./operation-errors.ts";

/** Who hears what became of an operation. Called once an operation. */
export interface Waiter {
  decided(decision: Decision): void;
  failed(operationId: string, error: OperationError): void;
}

/** A unit that is the part of one group in a transaction across groups. Its operations are those that reach the group. */
export interface GroupPart {
  readonly key: string;
  /** Age. */
  readonly stamp: HybridTimestamp;
  /** All groups that take part, ascending. */
  readonly groups: readonly number[];
  /** In the coordinating group: all operations of the transaction, in the caller's order. */
  readonly all: readonly PendingOperation[] | undefined;
  /** In another group: what it is asked, and who asks. */
  readonly asked: AskedToPrepare | undefined;
}

/** A unit on its way: waiting, with the arbiter, or in the log. */
export interface QueuedUnit extends DecisionUnit {
  /** Set where other groups take part. */
  readonly part?: GroupPart;
  /** Several where a caller retried while the first try was on its way. */
  readonly waiters: Waiter[];
  /** About how many bytes the unit takes in a log entry. */
  readonly sizeBytes: number;
  /** When it came, on the monotonic clock. */
  readonly cameMs: number;
  /** When the last of those who wait gives up, on the monotonic clock. */
  deadlineMs: number;
  /** When it was its turn, and when its decision went to the log, on the monotonic clock. */
  takenMs?: number;
  proposedMs?: number;
  /** In the log, so that its outcome is unknown until it is applied. */
  proposed: boolean;
  /** It only moves items between accounts: it sets apart what it takes, and goes on beside others that have set apart something of the same. */
  reserves: boolean;
  /** It had its turn, and waits no more in the lane of its server. */
  hadTurn?: boolean;
  /** Operations that were kept during a partition, and are decided as a whole. */
  readonly heal?: HealUnit;
}

/** Bytes of operations that one group may hold undecided, about. Beyond it callers get OVERLOADED. */
const QUEUED_BYTES = 64 * 1024 * 1024;
/** Waiting units that meet something, of all servers: what is looked at again for every batch. Each server has its share. */
const BLOCKED_UNITS = 2_048;
/** Of those, what a server may have, however many there are. */
const BLOCKED_UNITS_MIN = 64;

export type { DecisionBatch } from "./decision-batch.ts";

/** Why a unit is out of the queue undecided. */
interface Dropped {
  readonly unit: QueuedUnit;
  readonly error: MeshError;
}

export class DecisionQueue {
  /** Units that wait, at most. */
  readonly #capacity: number;
  readonly #nowMs: () => number;
  readonly #stages: StageTimes;
  /** Parts of transactions that other groups began, the older first, and what is healed. Others wait for them elsewhere, so they go before all that is new, and none is refused for its delay. */
  #first: QueuedUnit[] = [];
  /** All others that nobody has looked at yet, by server. */
  readonly #lanes: FairLanes<QueuedUnit>;
  /** They met something, and are looked at first, in the order in which they were. */
  #blocked: QueuedUnit[] = [];
  #inFlight = new OperationOccupancy();
  /** Of what is in the log and has set apart what it takes, until that is applied. */
  #reserving = new OperationOccupancy();
  /** What those set apart. */
  readonly reservations: Reservations = new Reservations();
  readonly #needs = new Map<object, ReturnType<typeof needsOf>>();
  readonly #held = new HeldNames();
  readonly #underWay: InFlight<QueuedUnit>;
  readonly #byOperationId = new Map<string, QueuedUnit>();
  /** What waits for snapshots to be read. */
  readonly holds = new Holds();
  #dropped: Dropped[] = [];
  /** Whose turn it was found no room in the last batch. */
  #lacksRoom = false;
  /** Of all units, waiting and in flight. */
  #bytes = 0;
  /** Of all units, waiting and in flight: those that may leave something on record for other groups to clear. */
  removals = 0;
  /** Units refused because what was before them had waited too long, or others had less waiting. */
  shed = 0;
  /** Units dropped because their callers had given up. */
  expired = 0;

  constructor(capacity: number, limits: DelayLimits, nowMs: () => number, stages: StageTimes = stageTimes()) {
    this.#stages = stages;
    this.#capacity = capacity;
    this.#lanes = new FairLanes(limits);
    this.#underWay = new InFlight(limits.targetMs);
    this.#nowMs = nowMs;
  }

  get waiting(): number {
    return this.#blocked.length + this.#first.length + this.#lanes.size;
  }

  /** Something waits or is in flight: somebody wants to hear of it. */
  get isBusy(): boolean {
    return this.#byOperationId.size > 0;
  }

  /**
   * What stands against another unit of a server, or, for 0, of another group; room that a server took beyond its share is made
   * for it.
   */
  refusal(groupId: number, serverId: number): MeshError | undefined {
    const lane = this.#lanes.laneOf(serverId);
    if (lane !== undefined) {
      const nowMs = this.#nowMs();
      const oldestMs = lane.oldestMs(nowMs);
      lane.delay.note(oldestMs, nowMs);
      if (lane.delay.refuses(oldestMs)) {
        this.shed++;
        return shedError(groupId, serverId, oldestMs);
      }
    }
    if (!this.#isFull) return undefined;
    const full = overloaded(`operations waiting in group ${groupId}`, this.#capacity);
    // Who has least waiting comes in; the last of who has most goes.
    const longest = this.#lanes.longest();
    const last = longest?.tail;
    if (longest === undefined || last === undefined || longest.size <= (lane?.size ?? 0) + 1) return full;
    this.#drop(longest, last, full);
    return this.#isFull ? full : undefined;
  }

  get #isFull(): boolean {
    return this.waiting >= this.#capacity || this.#bytes >= QUEUED_BYTES;
  }

  /** Operations that were taken and are not applied yet. */
  get underWay(): number {
    return this.#underWay.count;
  }

  /** The unit that holds an operation id, waiting or in flight. */
  unitOf(operationId: string): QueuedUnit | undefined {
    return this.#byOperationId.get(operationId);
  }

  /** Takes a unit whose operation ids are not queued yet. */
  push(unit: QueuedUnit): void {
    for (const { operation } of allOf(unit)) this.#byOperationId.set(operation.operationId, unit);
    this.#bytes += unit.sizeBytes;
    if (mayClear(unit)) this.removals++;
    const lane = laneOf(unit);
    if (lane !== undefined) return this.#lanes.push(lane, unit);
    let place = this.#first.length;
    while (place > 0 && isOlder(unit.part, this.#first[place - 1]?.part)) place--;
    this.#first.splice(place, 0, unit);
  }

  /** Takes a unit out that is not in the log: its transaction is over. */
  withdraw(unit: QueuedUnit): void {
    const lane = laneOf(unit);
    if (this.#blocked.includes(unit)) {
      this.#blocked = this.#blocked.filter((other) => other !== unit);
      this.#leaveBlocked(unit);
    } else if (this.#first.includes(unit)) this.#first = this.#first.filter((other) => other !== unit);
    else if (lane === undefined || !this.#lanes.remove(lane, unit)) return;
    this.#forget(unit);
  }

  #leaveBlocked(unit: QueuedUnit): void {
    const key = laneOf(unit);
    const lane = key === undefined ? undefined : this.#lanes.laneOf(key);
    if (lane === undefined) return;
    lane.outside--;
    this.#lanes.settle(lane);
  }

  #forget(unit: QueuedUnit): void {
    this.#bytes -= unit.sizeBytes;
    if (mayClear(unit)) this.removals--;
    for (const { operation } of allOf(unit)) this.#byOperationId.delete(operation.operationId);
  }

  #drop(lane: Lane<QueuedUnit>, unit: QueuedUnit, error: MeshError): void {
    if (!this.#lanes.remove(lane.key, unit)) return;
    this.#forget(unit);
    this.#dropped.push({ unit, error });
    this.shed++;
  }

  /** Units that are out of the queue, and whose callers are to hear of it: nothing of them is in the log. */
  takeDropped(): readonly Dropped[] {
    if (this.#dropped.length === 0) return NONE_DROPPED;
    const dropped = this.#dropped;
    this.#dropped = [];
    return dropped;
  }

  /**
   * The next batch, or undefined where everything that waits meets something in flight. Servers take turns; of one server, first
   * come, first served; and a unit that had its turn is never passed by another that it meets. Two operations of one server never
   * compete: the second waits until the first is decided. Those whose states merge do not compete. What meets `locks` waits for the
   * transaction that holds them; what meets `reserving`, unless it only moves items. Nobody waits any more for what is past its deadline: it is dropped.
   */
  takeBatch(groupId: number, locks: Occupancy<Occupant>, reserving: Occupancy<Occupant>): DecisionBatch | undefined {
    if (this.waiting === 0) return undefined;
    const nowMs = this.#nowMs();
    if (!this.#underWay.hasRoom(nowMs)) return undefined;
    this.holds.expire(nowMs);
    const mustRest = (names: readonly string[]): boolean => this.#held.mustRest(names, (name) => this.#reserving.has(name) || reserving.has(name), nowMs);
    const held = { inFlight: this.#inFlight, reservingInFlight: this.#reserving, locks, reserving, holds: this.holds, mustRest };
    let batch = new Gathering(held);
    // What found no room in the batch before comes first in this one, if nothing that was before it stands in its way.
    if (this.#lacksRoom) {
      this.#lacksRoom = false;
      for (const unit of this.#first) batch.pass(unit);
      for (const unit of this.#blocked) batch.pass(unit);
      this.#takeTurns(groupId, batch, nowMs);
      this.#lacksRoom = false;
      if (batch.operations === 0) batch = new Gathering(held);
    }
    if (batch.operations === 0) this.#takeAll(groupId, batch, nowMs);
    if (batch.operations === 0) return undefined;
    for (const unit of batch.singles) this.#enter(unit, nowMs);
    for (const unit of batch.transactions) this.#enter(unit, nowMs);
    for (const unit of batch.heals) this.#enter(unit, nowMs);
    return batch;
  }

  #takeAll(groupId: number, batch: Gathering, nowMs: number): void {
    const blocked = this.#blocked;
    let at = 0;
    const kept: QueuedUnit[] = [];
    for (; at < blocked.length && !batch.isFull; at++) {
      const unit = blocked[at];
      if (unit === undefined || !batch.hasRoom(unit)) break;
      if (this.#isExpired(unit, nowMs)) this.#leaveBlocked(unit);
      else if (batch.take(unit)) this.#leaveBlocked(unit);
      else kept.push(unit);
    }
    this.#blocked = at === 0 ? blocked : kept.concat(blocked.slice(at));
    // What was looked at before goes first: only then may more be looked at.
    if (at === blocked.length && this.#takeFirst(batch, nowMs)) this.#takeTurns(groupId, batch, nowMs);
  }

  /** True where none is left that must go first. */
  #takeFirst(batch: Gathering, nowMs: number): boolean {
    const first = this.#first;
    let at = 0;
    for (; at < first.length && !batch.isFull; at++) {
      const unit = first[at];
      if (unit === undefined || !batch.hasRoom(unit)) break;
      if (!this.#isExpired(unit, nowMs) && !batch.take(unit)) this.#blocked.push(unit);
    }
    if (at > 0) this.#first = first.slice(at);
    return this.#first.length === 0;
  }

  #takeTurns(groupId: number, batch: Gathering, nowMs: number): void {
    const mayTake = (lane: Lane<QueuedUnit>): boolean => lane.outside < this.#blockedShare && batch.hasPlace(lane.head);
    const fits = (unit: QueuedUnit): boolean => batch.fits(unit);
    while (!batch.isFull) {
      const next = this.#lanes.next(mayTake, fits);
      if (next === undefined) return;
      if (next === "too large") {
        this.#lacksRoom = true;
        return;
      }
      const { lane, item: unit } = next;
      lane.delay.note(nowMs - unit.cameMs, nowMs);
      if (!this.#isExpired(unit, nowMs) && !this.#isShed(groupId, lane, unit, nowMs) && !batch.take(unit)) {
        lane.outside++;
        this.#blocked.push(unit);
      }
      this.#lanes.settle(lane);
    }
  }

  get #blockedShare(): number {
    return Math.max(BLOCKED_UNITS_MIN, Math.floor(BLOCKED_UNITS / Math.max(1, this.#lanes.waiting)));
  }

  #isExpired(unit: QueuedUnit, nowMs: number): boolean {
    if (unit.deadlineMs > nowMs) return false;
    this.#forget(unit);
    this.expired++;
    this.#dropped.push({ unit, error: new MeshError("DEADLINE_EXCEEDED", "the deadline passed before the operation was decided; it will not be") });
    return true;
  }

  #isShed(groupId: number, lane: Lane<QueuedUnit>, unit: QueuedUnit, nowMs: number): boolean {
    const waitedMs = nowMs - unit.cameMs;
    if (!lane.delay.isStale(waitedMs)) return false;
    this.#forget(unit);
    this.shed++;
    this.#dropped.push({ unit, error: shedError(groupId, lane.key, waitedMs) });
    return true;
  }

  #enter(unit: QueuedUnit, nowMs: number): void {
    this.#underWay.began(unit, unit.operations.length, nowMs);
    unit.takenMs = nowMs;
    this.#stages.queue.observe(nowMs - unit.cameMs);
    for (const pending of unit.operations) this.#inFlight.add(pending);
  }

  /** Decided, and about to be put into the log: what it takes is not there for others any more. `holder`: whose end gives it free. */
  reserve(holder: object, decided: readonly DecidedOperation[]): void {
    const needs = needsOf(decided);
    this.#needs.set(holder, [...(this.#needs.get(holder) ?? []), ...needs]);
    this.reservations.change(needs, 1);
  }

  /** It is applied, or will never be. */
  unreserve(holder: object): void {
    const needs = this.#needs.get(holder);
    if (needs === undefined) return;
    this.#needs.delete(holder);
    this.reservations.change(needs, -1);
  }

  /** It is in the log. Where it has set apart what it takes, others may go on with the rest. */
  proposed(unit: QueuedUnit): void {
    const nowMs = this.#nowMs();
    unit.proposed = true;
    unit.proposedMs = nowMs;
    this.#stages.decide.observe(nowMs - (unit.takenMs ?? nowMs));
    if (!unit.reserves) return;
    for (const pending of unit.operations) {
      this.#inFlight.remove(pending);
      this.#reserving.add(pending);
    }
  }

  /** Not decided after all: the units wait, before all others and in their order, until they have what they name to themselves. */
  waitAlone(units: readonly QueuedUnit[]): void {
    for (const unit of units) {
      this.#leave(unit);
      unit.reserves = false;
      unit.hadTurn = true;
    }
    if (units.length > 0) this.#blocked = [...units, ...this.#blocked];
  }

  #leave(unit: QueuedUnit): void {
    const nowMs = this.#nowMs();
    this.#underWay.ended(unit, nowMs);
    if (unit.proposedMs !== undefined) this.#stages.log.observe(nowMs - unit.proposedMs);
    const held = unit.proposed && unit.reserves ? this.#reserving : this.#inFlight;
    for (const pending of unit.operations) held.remove(pending);
    this.unreserve(unit);
  }

  /** The unit was applied or given up: what it held is free. */
  release(unit: QueuedUnit): void {
    this.#leave(unit);
    this.#forget(unit);
  }

  /** Empties the queue: every unit, waiting or in flight, once. For a leader that is none any more. */
  drain(): QueuedUnit[] {
    const units = new Set(this.#byOperationId.values());
    this.#inFlight = new OperationOccupancy();
    this.#reserving = new OperationOccupancy();
    this.reservations.clear();
    this.#needs.clear();
    this.#held.clear();
    this.#underWay.clear();
    this.#blocked = [];
    this.#first = [];
    this.#lanes.clear();
    this.#bytes = 0;
    this.removals = 0;
    this.holds.clear();
    this.#lacksRoom = false;
    this.#byOperationId.clear();
    return [...units];
  }
}

const NONE_DROPPED: readonly Dropped[] = [];

/** A part of a transaction across groups counts as one of those. */
function mayClear({ operations, part, heal }: QueuedUnit): boolean {
  return part === undefined && heal === undefined && operations.some(({ operation }) => operation.body?.$case === "structureRemoval");
}

/** Whose turn a unit takes; undefined: it goes before all turns. */
function laneOf({ operations, part, heal, hadTurn }: QueuedUnit): number | undefined {
  if (heal !== undefined || part?.asked !== undefined || hadTurn === true) return undefined;
  return (operations[0] ?? part?.all?.[0])?.operation.serverId;
}

function isOlder(a: GroupPart | undefined, b: GroupPart | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  if (a.stamp.physicalMs !== b.stamp.physicalMs) return a.stamp.physicalMs < b.stamp.physicalMs;
  if (a.stamp.logical !== b.stamp.logical) return a.stamp.logical < b.stamp.logical;
  return a.key < b.key;
}

function shedError(groupId: number, serverId: number, waitedMs: number): MeshError {
  return new MeshError("OVERLOADED", `operations of server ${serverId} come faster than group ${groupId} decides them: the oldest has waited ${Math.ceil(waitedMs)} ms`, {
    retryDelayMs: retryAfterMs(waitedMs), metadata: { group_id: String(groupId), server_id: String(serverId) },
  });
}

/** All operations that a unit answers for. */
export function allOf({ part, operations }: QueuedUnit): readonly PendingOperation[] {
  return part?.all ?? operations;
}

/** Bytes of a posting in a log entry, at most: two accounts and an item kind. */
const POSTING_BYTES = 224;

/** About how many bytes an operation takes on its way, and what it becomes in a log entry: never much less than that. */
export function operationBytes({ operation }: Pick<PendingOperation, "operation">): number {
  const body = operation.body;
  let bytes = 256;
  if (body?.$case === "terrainModification") bytes += body.value.brush.length;
  else if (body?.$case === "custom") bytes += body.value.state.length;
  else if (body?.$case === "trade") bytes += (body.value.firstGives.length + body.value.secondGives.length) * POSTING_BYTES;
  else if (body?.$case === "container") for (const { items } of body.value.contents) bytes += (items.length + 2) * POSTING_BYTES;
  // A UTF-16 unit takes up to three bytes.
  else if (body?.$case === "structurePlacement") for (const [key, value] of body.value.attributes) bytes += (key.length + value.length) * 3;
  return bytes;
}
