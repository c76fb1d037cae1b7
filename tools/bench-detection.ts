// How soon a cut between nodes is noticed: by those who lost, by shards, by the arbiter, and until the cluster agrees on a new view.
import { join } from "node:path";
import { type ClientReadableStream, credentials } from "@grpc/grpc-js";
import { PartitionServiceClient, PartitionState, Side, ViewServiceClient, type WatchPartitionsResponse, type WatchViewResponse } from "@statemesh/contract";
import { clientOptions } from "@statemesh/service";
import { LinkProxies } from "./link-proxies.ts";
import { startMesh } from "./mesh-processes.ts";

const NODES = [1, 2, 3, 4, 5];
/** Cuts in turn: who loses. The others keep a majority. */
const LOSERS = [[4, 5], [1, 2], [3], [1]];
const LIMIT_MS = 60_000;
const POLL_MS = 5;

/** Milliseconds from a cut, one a round. */
export interface DetectionResult {
  /** Until every node that lost knows it, and its shards are told. */
  readonly lostMs: number[];
  /** Until every node of the winning side knows the new view. */
  readonly viewMs: number[];
  /** Until the arbiter says that the cluster is split. */
  readonly arbiterMs: number[];
  /** From the repair until every node knows a view with all of them. */
  readonly healedMs: number[];
}

/** What streams told last. */
class Watches {
  readonly #views = new Map<number, WatchViewResponse>();
  #partition: WatchPartitionsResponse | undefined;
  readonly #streams: ClientReadableStream<unknown>[] = [];
  readonly #clients: { close(): void }[] = [];

  node(nodeId: number, address: string): void {
    const client = new ViewServiceClient(address, credentials.createInsecure(), clientOptions({ ownConnection: true }));
    this.#clients.push(client);
    this.#follow(client.watchView({ serverId: 0 }), (message) => this.#views.set(nodeId, message));
  }

  arbiter(address: string): void {
    const client = new PartitionServiceClient(address, credentials.createInsecure(), clientOptions({ ownConnection: true }));
    this.#clients.push(client);
    this.#follow(client.watchPartitions({ clusterId: "" }), (message) => (this.#partition = message));
  }

  #follow<Message>(stream: ClientReadableStream<Message>, take: (message: Message) => void): void {
    stream.on("data", take);
    // The end of the bench ends it; a node that dies shows in what is waited for.
    stream.on("error", (error) => void error);
    this.#streams.push(stream);
  }

  isOn(nodeId: number, side: Side): boolean {
    return this.#views.get(nodeId)?.state?.side === side;
  }

  knows(nodeId: number, alive: readonly number[]): boolean {
    return this.#views.get(nodeId)?.state?.view?.alive.join() === alive.join();
  }

  get partition(): PartitionState | undefined {
    return this.#partition?.verdict?.state;
  }

  close(): void {
    for (const stream of this.#streams) stream.cancel();
    for (const client of this.#clients) client.close();
  }
}

export async function measureDetection(dataDir: string, rounds: number, say: (text: string) => void): Promise<DetectionResult> {
  const links = new LinkProxies();
  const mesh = await startMesh({
    nodes: NODES.length, groups: 4, dataDir: join(dataDir, "detection"), way: async (from, to, address) => links.way(from, to, address),
    extraFlags: { "consensus-node": ["--log-level", "warn"], "conflict-arbiter": ["--log-level", "warn"] },
  });
  const watches = new Watches();
  const result: DetectionResult = { lostMs: [], viewMs: [], arbiterMs: [], healedMs: [] };
  try {
    for (const node of mesh.nodes) watches.node(node.nodeId, node.clientAddress);
    watches.arbiter(mesh.arbiter?.address ?? "");
    await until(() => NODES.every((nodeId) => watches.knows(nodeId, NODES)) && watches.partition === PartitionState.WHOLE);
    for (let round = 0; round < rounds; round++) {
      const losers = LOSERS[round % LOSERS.length] ?? [];
      const winners = NODES.filter((nodeId) => !losers.includes(nodeId));
      links.part(winners, losers);
      const [lost, view, arbiter] = await Promise.all([
        until(() => losers.every((nodeId) => watches.isOn(nodeId, Side.LOSING))),
        until(() => winners.every((nodeId) => watches.knows(nodeId, winners))),
        until(() => watches.partition === PartitionState.SPLIT),
      ]);
      links.heal();
      const healed = await until(() => NODES.every((nodeId) => watches.isOn(nodeId, Side.WHOLE) && watches.knows(nodeId, NODES)) && watches.partition === PartitionState.WHOLE);
      result.lostMs.push(lost);
      result.viewMs.push(view);
      result.arbiterMs.push(arbiter);
      result.healedMs.push(healed);
      say(`cut ${round + 1} of ${rounds}, ${losers.join("+")} of five: noticed after ${lost.toFixed(0)} ms, a new view after ${view.toFixed(0)} ms, the arbiter's verdict after ${arbiter.toFixed(0)} ms; whole ${healed.toFixed(0)} ms after the repair`);
    }
    return result;
  } finally {
    watches.close();
    await mesh.stop();
    await links.close();
  }
}

/** Milliseconds until something holds. */
async function until(holds: () => boolean): Promise<number> {
  const startMs = performance.now();
  while (!holds()) {
    if (performance.now() - startMs > LIMIT_MS) throw new Error("bench: the mesh does not come to agree");
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return performance.now() - startMs;
}
