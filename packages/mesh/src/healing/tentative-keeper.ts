// Operations that a node keeps while it is cut off from those who decide. Each is on this node's disk before its caller hears
// TENTATIVE, stays there until a heal report lists it, and is offered to whoever leads its group as long as it does.
import { type Decision, type HybridTimestamp, MeshError, Outcome, type TentativeFrame, type TentativeOperation } from "@statemesh/contract";
import type { HealedRecord } from "@statemesh/contract/log";
import { HEALING_VERSION, type PendingOperation } from "@statemesh/replica";
import { fingerprintOf, groupOf, type Policy } from "@statemesh/world";
import type { Host } from "../host.ts";
import type { Waiter } from "../strong/decision-queue.ts";
import type { GroupReplica } from "../strong/group-replica.ts";
import { operationError, operationIdReused, overloaded } from "../strong/operation-errors.ts";
import { Healer } from "./healer.ts";
import { KEPT_OPERATIONS, KeptGroup, type OwnOperation } from "./kept-group.ts";
import { keptOf } from "./kept-operation.ts";
import { type LosingSide, minorityPartition } from "./losing-side.ts";
import { TentativeWatch } from "./tentative-watch.ts";
import { setsOf, type TentativeSender } from "./tentative-frames.ts";

/** Operations that a node keeps of all groups together. Beyond it callers get OVERLOADED. */
const KEPT_OF_ALL_GROUPS = 16_384;
/** Ticks between two offers of a group's operations to its leader. */
const OFFER_TICKS = 10;
/** Ticks after the end of a partition in which copies of others' operations are still of use. */
const COPY_TICKS = 1_200;

export interface KeepingNode extends TentativeSender {
  readonly nodeId: number;
  readonly groups: readonly GroupReplica[];
  readonly policy: Policy;
  readonly host: Host;
  /** The version that the cluster works at. */
  clusterVersion(): number;
  losingSide(groupId: number): LosingSide | undefined;
  dirty(): void;
}

export class TentativeKeeper {
  readonly #node: KeepingNode;
  readonly #groups = new Map<number, KeptGroup>();
  readonly #byId = new Map<string, { readonly groupId: number; readonly own: OwnOperation }>();
  readonly healer: Healer;
  readonly watch: TentativeWatch;
  /** Peers that have not heard yet what this node keeps. */
  readonly #newPeers = new Set<number>();
  #ticks = 0;

  /** @param restored What this node's disk holds. */
  constructor(node: KeepingNode, incarnation: number, restored: readonly TentativeOperation[]) {
    this.#node = node;
    this.healer = new Healer(node, incarnation, (groupId) => this.#groups.get(groupId)?.records() ?? []);
    this.watch = new TentativeWatch((serverId, operationIds) => this.#standings(serverId, operationIds));
    for (const record of restored) this.#add(record, true);
  }

  /** Operations that are kept for this node's callers. */
  get size(): number {
    return this.#byId.size;
  }

  /** Of those, how many are of a kind that this build does not know: a newer one kept them. */
  get notUnderstood(): number {
    let sum = 0;
    for (const { notUnderstood } of this.#groups.values()) sum += notUnderstood.length;
    return sum;
  }

  // ---- callers ----

  /** Answers an operation that is kept here, or was healed; false: it is like any other. `mayWait`: the waiter has a deadline of its own. */
  answerTo(operation: PendingOperation["operation"], waiter: Waiter, mayWait: boolean): boolean {
    const known = this.#byId.get(operation.operationId);
    if (known === undefined) return this.#answerHealed(operation, waiter);
    const { own } = known;
    const fingerprint = fingerprintOf(operation);
    if (own.kept.record.fingerprint !== fingerprint) waiter.failed(operation.operationId, operationError(operationIdReused(operation.operationId, own.kept.record.fingerprint, fingerprint)));
    else if (own.standing === undefined && mayWait) own.waiters.push(waiter);
    else if (own.standing === undefined) waiter.failed(operation.operationId, operationError(new MeshError("OUTCOME_UNKNOWN", "the operation is about to be kept: ask again", { retryDelayMs: 50 })));
    else waiter.decided({ ...own.standing, repeated: true });
    return true;
  }

  #answerHealed(operation: PendingOperation["operation"], waiter: Waiter): boolean {
    if (operation.homeRegion === undefined) return false;
    const state = this.#node.groups[groupOf(operation.homeRegion, this.#node.groups.length - 1)]?.state;
    if (state === undefined || state.heals.rows.length === 0) return false;
    const record = state.heals.find(operation.operationId);
    if (record === undefined || record.fingerprint !== fingerprintOf(operation)) return false;
    const decision = finalOf(record);
    if (decision === undefined) return false;
    answer(waiter, { ...decision, repeated: true });
    return true;
  }

  /** Keeps an operation that its caller allows to be kept, or says why not. */
  keep(groupId: number, pending: PendingOperation, side: LosingSide, waiter: Waiter): void {
    const problem = this.#refusal(groupId, pending, side);
    const { operation, stamp, fingerprint } = pending;
    if (problem instanceof MeshError) return waiter.failed(operation.operationId, operationError(problem));
    if (problem !== undefined) return waiter.decided(problem);
    if (this.answerTo(operation, waiter, true)) return;
    const { nodes, beganMs, viewEpoch } = side;
    const record: TentativeOperation = {
      operation, stamp, fingerprint, groupId, nodeId: this.#node.nodeId,
      side: { nodeIds: [...nodes], beganMs: Math.floor(beganMs), endedMs: 0, viewEpoch, decided: false },
    };
    const own = this.#add(record, false);
    own.waiters.push(waiter);
    this.#node.host.keepTentative([record], (error) => {
      if (error === undefined) {
        own.durable = true;
        this.#group(groupId).isStale = true;
        this.#node.dirty();
        return;
      }
      this.#remove(groupId, operation.operationId);
      const failure = operationError(error);
      for (const each of own.waiters.splice(0)) each.failed(operation.operationId, failure);
    });
  }

  /** Why it is not kept, or what was decided on it already. */
  #refusal(groupId: number, pending: PendingOperation, side: LosingSide): MeshError | Decision | undefined {
    const { operation, type, fingerprint } = pending;
    const { operationId } = operation;
    const state = this.#node.groups[groupId]?.state;
    const row = state?.decisions.get(operationId);
    if (state !== undefined && row !== undefined) return row.fingerprint === fingerprint ? state.decisionOf(row, true) : operationIdReused(operationId, row.fingerprint, fingerprint);
    if (this.#node.clusterVersion() < HEALING_VERSION) return minorityPartition(groupId, side, "VERSION_TOO_LOW");
    if (!type.tentative) return minorityPartition(groupId, side, "TYPE_NOT_KEPT");
    const groups = this.#node.groups.length - 1;
    if (pending.touched.regions.some((region) => groupOf(region, groups) !== groupId)) return minorityPartition(groupId, side, "SPANS_GROUPS");
    if (this.#byId.has(operationId)) return undefined;
    const group = this.#group(groupId);
    if (group.earlierOf(pending) !== undefined) return minorityPartition(groupId, side, "BUILDS_ON_KEPT");
    if (group.isFull) return overloaded(`operations of group ${groupId} that this node keeps during a partition`, KEPT_OPERATIONS);
    return this.#byId.size >= KEPT_OF_ALL_GROUPS ? overloaded("operations that this node keeps during a partition", KEPT_OF_ALL_GROUPS) : undefined;
  }

  #add(record: TentativeOperation, durable: boolean): OwnOperation {
    const kept = keptOf(record, this.#node.policy);
    const own = this.#group(record.groupId).add(kept, durable);
    this.#byId.set(kept.operationId, { groupId: record.groupId, own });
    return own;
  }

  #remove(groupId: number, operationId: string): void {
    this.#groups.get(groupId)?.remove(operationId);
    this.#byId.delete(operationId);
  }

  #group(groupId: number): KeptGroup {
    let group = this.#groups.get(groupId);
    if (group === undefined) this.#groups.set(groupId, (group = new KeptGroup()));
    return group;
  }

  // ---- time and peers ----

  tick(): void {
    this.#ticks++;
    for (const [groupId, group] of this.#groups) this.#tickGroup(groupId, group);
    this.#newPeers.clear();
    this.healer.tick();
  }

  #tickGroup(groupId: number, group: KeptGroup): void {
    const replica = this.#node.groups[groupId];
    if (replica === undefined) return;
    if (replica.state.heals.rows.length > 0) this.#settle(groupId, group, replica);
    if (group.isStale) this.#tell(group, group.restand(replica.state, this.#node.policy, this.#node.groups.length - 1));
    if (this.#node.losingSide(groupId) !== undefined) {
      group.ticksSinceEnd = 0;
      this.#share(groupId, group);
    } else {
      if (++group.ticksSinceEnd > COPY_TICKS) for (const operationId of [...group.copies.keys()]) group.removeCopy(operationId);
      this.#offer(groupId, group, replica);
    }
    if (group.isEmpty) this.#groups.delete(groupId);
  }

  /** What a heal report lists is kept no longer. */
  #settle(groupId: number, group: KeptGroup, { state }: GroupReplica): void {
    const settled: string[] = [];
    for (const [operationId, own] of group.own) {
      const record = own.durable ? state.heals.find(operationId) : undefined;
      if (record === undefined) continue;
      settled.push(operationId);
      const decision = finalOf(record);
      if (decision === undefined) continue;
      for (const waiter of own.waiters.splice(0)) answer(waiter, decision);
      this.watch.tell(own.kept.record.operation?.serverId ?? 0, [decision]);
    }
    for (const operationId of settled) this.#remove(groupId, operationId);
    if (settled.length > 0) this.#node.host.dropTentative(settled);
    for (const operationId of [...group.copies.keys()]) if (state.heals.find(operationId) !== undefined) group.removeCopy(operationId);
  }

  #tell(group: KeptGroup, changed: readonly OwnOperation[]): void {
    for (const own of changed) {
      if (own.standing !== undefined) this.watch.tell(own.kept.record.operation?.serverId ?? 0, [own.standing]);
    }
    for (const own of group.own.values()) {
      if (own.standing === undefined) continue;
      for (const waiter of own.waiters.splice(0)) waiter.decided(own.standing);
    }
  }

  #share(groupId: number, group: KeptGroup): void {
    const all: TentativeOperation[] = [];
    const fresh: TentativeOperation[] = [];
    for (const own of group.own.values()) {
      own.endedMs = 0;
      if (!own.durable) continue;
      all.push(own.kept.record);
      if (!own.shared) fresh.push(own.kept.record);
      own.shared = true;
    }
    for (const peer of this.#node.connected()) {
      const records = this.#newPeers.has(peer) ? all : fresh;
      if (records.length > 0) for (const { set, bytes } of setsOf(records, 0)) this.#node.sendTentative(peer, { groupId, frame: { $case: "share", value: set } }, bytes);
    }
  }

  #offer(groupId: number, group: KeptGroup, replica: GroupReplica): void {
    let offers = false;
    for (const own of group.own.values()) {
      if (!own.durable) continue;
      offers = true;
      if (own.endedMs === 0) own.endedMs = Math.floor(this.#node.host.clock.wallMs());
    }
    if (!offers || this.#ticks % OFFER_TICKS !== 0) return;
    if (replica.leader === this.#node.nodeId) this.healer.offered(groupId);
    else if (replica.leader !== 0) this.#node.sendTentative(replica.leader, { groupId, frame: { $case: "offer", value: true } }, 16);
  }

  peerUp(peer: number): void {
    this.#newPeers.add(peer);
  }

  onFrame(peer: number, { groupId, frame }: TentativeFrame): void {
    if (this.#node.groups[groupId] === undefined) return;
    switch (frame?.$case) {
      case "share": {
        const group = this.#group(groupId);
        for (const record of frame.value.operations) {
          const kept = keptOf(record, this.#node.policy);
          if (kept.operationId !== "" && !group.own.has(kept.operationId)) group.addCopy(kept);
        }
        return;
      }
      case "offer":
        return this.healer.offered(groupId);
      case "collect":
        for (const { set, bytes } of setsOf(this.#groups.get(groupId)?.records() ?? [], frame.value)) this.#node.sendTentative(peer, { groupId, frame: { $case: "collected", value: set } }, bytes);
        return;
      case "collected":
        return this.healer.collected(peer, groupId, frame.value);
      default:
        return;
    }
  }

  /** How the operations of a server stand; of those that are asked for by id also what became of them. */
  #standings(serverId: number, operationIds: ReadonlySet<string>): Decision[] {
    const standings: Decision[] = [];
    for (const [operationId, { own }] of this.#byId) {
      const isWanted = own.kept.record.operation?.serverId === serverId && (operationIds.size === 0 || operationIds.has(operationId));
      if (isWanted && own.standing !== undefined) standings.push(own.standing);
    }
    for (const operationId of operationIds) {
      for (const { state } of this.#node.groups) {
        const record = state.heals.find(operationId);
        const decision = record?.operation?.serverId === serverId ? finalOf(record) : undefined;
        if (decision !== undefined) standings.push(decision);
      }
    }
    return standings;
  }
}

/** What became of a kept operation, as its caller hears it. */
export function finalOf({ operation }: HealedRecord): Decision | undefined {
  if (operation === undefined) return undefined;
  const { operationId, outcome, rule, winnerOperationId, conflict, reason, position } = operation;
  const stamp: HybridTimestamp | undefined = operation.stamp;
  const version = outcome === Outcome.ACCEPTED || outcome === Outcome.MERGED ? (position?.index ?? 0) : 0;
  return { operationId, outcome, rule, winnerOperationId, version, position, conflict, reason, stamp, repeated: false };
}

/** Whoever asks for a decision hears of one, or that nobody knows. */
function answer(waiter: Waiter, decision: Decision): void {
  if (decision.outcome !== Outcome.UNKNOWN) return waiter.decided(decision);
  const { operationId } = decision;
  waiter.failed(operationId, operationError(new MeshError("DECISION_FORGOTTEN", `operation ${operationId} was kept while its node was cut off, and may have been decided elsewhere before the decisions that are remembered`)));
}
