// The leader's half of healing. Whoever keeps operations offers them; the leader then waits a moment for others of their side, asks
// every node that it can reach for everything that it keeps, and decides all of it together. A side that comes later meets
// what was decided as incumbents. Nothing is remembered: where the leader changes, the next one is offered the same.
import type { PartitionSide, TentativeOperation, TentativeSet } from "@statemesh/contract";
import { HEALING_VERSION } from "@statemesh/replica";
import { compareUtf8, type Policy } from "@statemesh/world";
import type { Host } from "../host.ts";
import { firstCallId } from "../strong/edge.ts";
import type { GroupReplica } from "../strong/group-replica.ts";
import { keptOf } from "./kept-operation.ts";
import type { TentativeSender } from "./tentative-frames.ts";

/** Ticks between the first offer and the question to all: nodes of one side come back one after the other. */
const SETTLE_TICKS = 20;
/** Ticks that nodes have for their answers. Who does not answer in time is decided later. */
const COLLECT_TICKS = 100;
/** Operations of one round, at most. What is more is offered again. */
const ROUND_OPERATIONS = 16_384;

export interface HealingNode extends TentativeSender {
  readonly nodeId: number;
  readonly groups: readonly GroupReplica[];
  readonly policy: Policy;
  readonly host: Host;
  clusterVersion(): number;
}

interface Round {
  readonly number: number;
  readonly term: number;
  /** Settling until then, then collecting until then. */
  untilTick: number;
  /** On its way into the log. */
  isDecided: boolean;
  /** Undefined while others may still come. */
  awaiting: Set<number> | undefined;
  /** By operation, node and content: copies of one operation may differ in how they were stamped. */
  readonly collected: Map<string, TentativeOperation>;
}

export class Healer {
  readonly #node: HealingNode;
  readonly #own: (groupId: number) => TentativeOperation[];
  readonly #rounds = new Map<number, Round>();
  #nextNumber: number;
  #ticks = 0;

  /** @param own What this node itself keeps of a group. */
  constructor(node: HealingNode, incarnation: number, own: (groupId: number) => TentativeOperation[]) {
    this.#node = node;
    this.#own = own;
    this.#nextNumber = firstCallId(incarnation);
  }

  /** Somebody keeps operations of a group that this node leads. */
  offered(groupId: number): void {
    const group = this.#node.groups[groupId];
    if (group?.serves !== true || this.#rounds.has(groupId) || this.#node.clusterVersion() < HEALING_VERSION) return;
    this.#rounds.set(groupId, { number: this.#nextNumber++, term: group.core.term, untilTick: this.#ticks + SETTLE_TICKS, isDecided: false, awaiting: undefined, collected: new Map() });
  }

  tick(): void {
    this.#ticks++;
    for (const [groupId, round] of this.#rounds) {
      const group = this.#node.groups[groupId];
      if (group?.serves !== true || group.core.term !== round.term) this.#rounds.delete(groupId);
      else if (round.isDecided) continue;
      else if (round.awaiting === undefined) {
        if (this.#ticks >= round.untilTick) this.#collect(groupId, round);
      } else if (this.#isComplete(round.awaiting) || this.#ticks >= round.untilTick) this.#decide(group, round);
    }
  }

  /** What a peer had not said before its connection broke is decided later. */
  #isComplete(awaiting: ReadonlySet<number>): boolean {
    const connected = new Set(this.#node.connected());
    return [...awaiting].every((peer) => !connected.has(peer));
  }

  #collect(groupId: number, round: Round): void {
    round.awaiting = new Set(this.#node.connected());
    round.untilTick = this.#ticks + COLLECT_TICKS;
    this.#add(round, this.#own(groupId));
    for (const peer of round.awaiting) this.#node.sendTentative(peer, { groupId, frame: { $case: "collect", value: round.number } }, 16);
  }

  collected(peer: number, groupId: number, { round: number, operations, last }: TentativeSet): void {
    const round = this.#rounds.get(groupId);
    if (round?.awaiting?.has(peer) !== true || round.number !== number) return;
    this.#add(round, operations);
    if (last) round.awaiting.delete(peer);
  }

  #add(round: Round, operations: readonly TentativeOperation[]): void {
    for (const record of operations) {
      if (record.operation === undefined || round.collected.size >= ROUND_OPERATIONS) continue;
      const key = `${record.nodeId} ${record.fingerprint} ${record.operation.operationId}`;
      const known = round.collected.get(key);
      // Whoever keeps it knows when the partition ended for it; the copies that others have don't.
      if (known === undefined || (known.side?.endedMs ?? 0) < (record.side?.endedMs ?? 0)) round.collected.set(key, record);
    }
  }

  #decide(group: GroupReplica, round: Round): void {
    const { groupId } = group;
    const records = [...round.collected.values()];
    if (records.length === 0) {
      this.#rounds.delete(groupId);
      return;
    }
    round.isDecided = true;
    const heading = {
      reportId: `heal-${groupId}-${round.term}-${round.number}`,
      healedMs: Math.floor(this.#node.host.clock.wallMs()),
      sides: sidesOf(records, group.core.configuration.voters),
    };
    this.#node.host.log.info("operations that were kept during a partition are decided", { group: groupId, operations: records.length, report: heading.reportId });
    group.heal(records.map((record) => keptOf(record, this.#node.policy)), heading, () => {
      if (this.#rounds.get(groupId) === round) this.#rounds.delete(groupId);
    });
  }
}

/** The sides as their nodes saw them, each once, and the one that decided, where somebody was left for it: several sides may be too small. */
export function sidesOf(records: readonly TentativeOperation[], voters: readonly number[]): PartitionSide[] {
  const sides = new Map<string, PartitionSide>();
  for (const { side } of records) {
    if (side === undefined) continue;
    const key = `${side.nodeIds.join()} ${side.viewEpoch}`;
    const known = sides.get(key);
    if (known === undefined) sides.set(key, { ...side });
    else {
      known.beganMs = Math.min(known.beganMs, side.beganMs);
      known.endedMs = Math.max(known.endedMs, side.endedMs);
    }
  }
  const lost = [...sides].sort(([a], [b]) => compareUtf8(a, b)).map(([, side]) => side);
  const cutOff = new Set(lost.flatMap(({ nodeIds }) => nodeIds));
  const nodeIds = voters.filter((nodeId) => !cutOff.has(nodeId));
  return nodeIds.length === 0 ? lost : [...lost, { nodeIds, beganMs: 0, endedMs: 0, viewEpoch: 0, decided: true }];
}
