/** A game server of the load: it asks through all nodes, patiently on a stream or hastily by single calls that go from node to node. */
import { connect, type MeshClient, type OperationStream } from "@statemesh/client";
import { type Decision, MeshError, type Operation } from "@statemesh/contract";
import type { SimRandom } from "@statemesh/simulator";
import { groupOf } from "@statemesh/world";
import { GROUPS } from "../chaos-mesh.ts";
import type { End, LoadRecord, Told } from "./told.ts";

/** A hasty caller gives one node this long. */
const HASTY_MS = [150, 1_500] as const;
const HASTY_ATTEMPTS = 6;
const PATIENT_MS = 20_000;
const SILENCE_MS = 2_000;

/** Reasons that say that nothing was done by this attempt. All others leave the outcome open. */
const NOTHING_DONE: ReadonlySet<string> = new Set([
  "NO_QUORUM", "MINORITY_PARTITION", "NOT_LEADER", "SHUTTING_DOWN", "OVERLOADED", "LOG_FULL", "TIMESTAMP_IN_FUTURE", "DEADLINE_EXCEEDED", "FENCED", "SERVER_NOT_REGISTERED", "CANCELLED",
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
    if (this.random.chance(0.5)) {
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

  close(): void {
    for (const node of this.nodes) node.close();
    this.all.close();
  }

  #begin(transactionId: string, operations: readonly Operation[], group: number): Told {
    const told: Told = { transactionId, operations, group, invokedMs: this.record.nowMs(), returnedMs: Number.POSITIVE_INFINITY, end: "open", decisions: [], reasons: [] };
    this.record.told.push(told);
    return told;
  }

  /** Asks again, with the same ids, as long as the outcome is open or nothing was done. */
  async #ask(told: Told, attempts: number, attempt: () => Promise<readonly Decision[]>): Promise<void> {
    const reasons: string[] = [];
    let end: End = "refused";
    for (let tried = 0; tried < attempts; tried++) {
      try {
        told.decisions = await attempt();
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
}
