/**
 * A game server of the load: it asks through all nodes, patiently on a stream or hastily by single calls that go from node to node. What a cut-off node
 * keeps for it, it follows there until it hears what became of it.
 */
import { connect, type MeshClient, type OperationStream } from "@statemesh/client";
import { type Decision, MeshError, type Operation, Outcome } from "@statemesh/contract";
import type { SimRandom } from "@statemesh/simulator";
import { groupOf } from "@statemesh/world";
import { GROUPS } from "../chaos-mesh.ts";
import type { End, LoadRecord, Told } from "./told.ts";

/** A hasty caller gives one node this long. */
const HASTY_MS = [150, 1_500] as const;
const HASTY_ATTEMPTS = 6;
const PATIENT_MS = 20_000;
const SILENCE_MS = 2_000;
/** Of what a node keeps, how much another node is asked for too, under the same id: the side that goes on may decide it. */
const ASKED_ELSEWHERE = 0.3;
const WATCH_REST_MS = 300;

/** Reasons that say that nothing was done by this attempt. All others leave the outcome open. */
const NOTHING_DONE: ReadonlySet<string> = new Set([
  "NO_QUORUM", "MINORITY_PARTITION", "NOT_LEADER", "SHUTTING_DOWN", "OVERLOADED", "QUOTA_EXCEEDED", "LOG_FULL", "TIMESTAMP_IN_FUTURE", "DEADLINE_EXCEEDED", "FENCED", "SERVER_NOT_REGISTERED", "CANCELLED",
]);

/** One game server with a connection to each node. */
export class GameServer {
  readonly serverId: number;
  readonly random: SimRandom;
  readonly record: LoadRecord;
  /** Of one node each. */
  readonly nodes: readonly MeshClient[];
  /** Of all nodes. */
  readonly all: MeshClient;
  readonly #stream: OperationStream;
  /** Nodes that keep something of this server, watched. */
  readonly #watched = new Set<number>();
  readonly #stop = new AbortController();
  readonly #acceptedLate: Operation[] = [];
  /** What a watch threw that is no answer of the mesh. */
  readonly troubles: string[] = [];

  constructor(serverId: number, endpoints: readonly string[], random: SimRandom, record: LoadRecord) {
    this.serverId = serverId;
    this.random = random;
    this.record = record;
    const name = `shard-${serverId}`;
    this.nodes = endpoints.map((endpoint) => connect({ endpoints: [endpoint], serverId, name, attemptTimeoutMs: 1_500, backoffMaxMs: 200 }));
    const first = random.between(0, endpoints.length - 1);
    this.all = connect({ endpoints: endpoints.map((_, at) => endpoints[(at + first) % endpoints.length] ?? ""), serverId, name, deadlineMs: PATIENT_MS, attemptTimeoutMs: 1_000 });
    this.#stream = this.all.stream({ window: 1_024, deadlineMs: PATIENT_MS, silenceMs: SILENCE_MS });
  }

  /** Makes the server known; fails after a minute. */
  async register(): Promise<void> {
    await this.all.authority.register({ deadlineMs: 60_000 });
  }

  /** A node by chance. */
  anyNode(): MeshClient {
    return this.random.pick(this.nodes);
  }

  /** Asks for one operation, and writes down what the mesh told. */
  async execute(operation: Operation): Promise<Told> {
    const { homeRegion } = operation;
    if (homeRegion === undefined) throw new Error("an operation without a region");
    const told = this.#begin("", [operation], groupOf(homeRegion, GROUPS));
    if (operation.allowTentative) {
      // One node at a time: it has to be known who keeps it.
      await this.#ask(told, HASTY_ATTEMPTS, async () => [await this.#askOrLetKeep(operation, told)]);
    } else if (this.random.chance(0.5)) {
      await this.#ask(told, 1, async () => [await this.#stream.execute(operation)]);
    } else {
      await this.#ask(told, HASTY_ATTEMPTS, async () => [await this.anyNode().execute(operation, { deadlineMs: this.random.between(...HASTY_MS) })]);
    }
    return told;
  }

  /** Asks for several operations of one group together. */
  async transact(operations: readonly Operation[], group: number): Promise<Told> {
    const transactionId = this.all.nextId();
    const told = this.#begin(transactionId, operations, group);
    await this.#ask(told, HASTY_ATTEMPTS, async () => {
      const { decisions } = await this.anyNode().transact(operations, transactionId, { deadlineMs: this.random.between(...HASTY_MS) });
      return decisions;
    });
    return told;
  }

  /** Operations of this server that were kept and are in force now, each answered once. */
  acceptedLate(): Operation[] {
    return this.#acceptedLate.splice(0);
  }

  close(): void {
    this.#stop.abort();
    for (const node of this.nodes) node.close();
    this.all.close();
  }

  #begin(transactionId: string, operations: readonly Operation[], group: number): Told {
    const told: Told = { transactionId, operations, group, invokedMs: this.record.nowMs(), returnedMs: Number.POSITIVE_INFINITY, end: "open", decisions: [], reasons: [], keptBy: [] };
    this.record.told.push(told);
    return told;
  }

  /** Asks again, with the same ids, as long as the outcome is open or nothing was done. */
  async #ask(told: Told, attempts: number, attempt: () => Promise<readonly Decision[]>): Promise<void> {
    const reasons: string[] = [];
    let end: End = "refused";
    for (let tried = 0; tried < attempts; tried++) {
      try {
        const decisions = await attempt();
        if (decisions.some(({ outcome }) => outcome === Outcome.TENTATIVE)) {
          end = "open";
          if (this.random.chance(1 - ASKED_ELSEWHERE)) break;
          continue;
        }
        told.decisions = decisions;
        end = "decided";
        break;
      } catch (thrown) {
        const error = MeshError.from(thrown);
        reasons.push(error.reason);
        if (error.reason === "INTERNAL") throw error;
        if (!NOTHING_DONE.has(error.reason)) end = "open";
      }
    }
    told.end = end;
    told.reasons = reasons;
    told.returnedMs = this.record.nowMs();
    if (end === "decided") this.record.acknowledged(told.group, told.operations.length);
  }

  async #askOrLetKeep(operation: Operation, told: Told): Promise<Decision> {
    const at = this.random.between(0, this.nodes.length - 1);
    const node = this.nodes[at] ?? this.all;
    const decision = await node.execute(operation, { deadlineMs: this.random.between(...HASTY_MS) });
    const nodeId = at + 1;
    if (decision.outcome === Outcome.TENTATIVE && !told.keptBy.includes(nodeId)) {
      told.keptBy.push(nodeId);
      void this.#watch(node, nodeId);
    }
    return decision;
  }

  /** Follows what a node keeps for this server, until the end of the run. */
  async #watch(node: MeshClient, nodeId: number): Promise<void> {
    if (this.#watched.has(nodeId)) return;
    this.#watched.add(nodeId);
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        for await (const decision of node.healing.watch([], signal)) if (decision.outcome !== Outcome.TENTATIVE) this.#onFinal(nodeId, decision);
      } catch (thrown) {
        const { reason, message } = MeshError.from(thrown);
        // Others say that the node is away for long: what it would have told stands in the reports.
        if (reason === "INTERNAL" || reason === "INVALID_FIELD") this.troubles.push(`the watch of server ${this.serverId} at node ${nodeId}: ${reason}: ${message}`);
      }
      await new Promise((wake) => setTimeout(wake, WATCH_REST_MS));
    }
  }

  #onFinal(nodeId: number, decision: Decision): void {
    this.record.finals.push({ serverId: this.serverId, nodeId, decision });
    if (decision.outcome === Outcome.REJECTED) return;
    const told = this.record.told.find(({ operations }) => operations[0]?.operationId === decision.operationId);
    if (told?.end === "open") this.#acceptedLate.push(...told.operations);
  }
}
