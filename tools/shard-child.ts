// A game shard in a process of its own, so that it can be killed and stopped: it follows the directory and builds.
import { connect, type MeshClient, type OperationStream, type RegionFollower } from "@statemesh/client";
import { type Decision, MeshError, Outcome, type Region } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import { type Order, placeOf, type ShardNews, type ShardReport, type ShardSpec } from "./shard-orders.ts";

const say = (news: ShardNews): void => {
  process.send?.(news);
};
const NEVER = new Promise<never>(() => undefined);

class Shard {
  readonly #client: MeshClient;
  readonly #follower: RegionFollower<number>;
  readonly #stream: OperationStream;
  readonly #accepted: number[] = [];
  readonly #refused: Record<string, number[]> = {};
  readonly #unknown: number[] = [];
  readonly #stalled = new Set<"load" | "drain">();
  readonly #undecided = new Map<string, number>();
  /** Actions of others that wait for the region. */
  readonly #adopted: number[] = [];
  /** Actions are numbered through all shards: the shard's id above, a count below. */
  #count = 0;
  readonly #serverId: number;
  #work: NodeJS.Timeout | undefined;

  constructor({ endpoints, serverId, maxRegions }: ShardSpec) {
    this.#serverId = serverId;
    this.#client = connect({ endpoints, serverId, name: `shard-${serverId}`, address: `127.0.0.1:${serverId}`, maxRegions });
    this.#stream = this.#client.stream();
    this.#client.authority.onLost(({ region, epoch }, reason) => say({ news: "lost", region, epoch, reason, atMs: Date.now() }));
    this.#follower = this.#client.follow<number>({
      load: async (region) => {
        await this.#stallAt("load", region);
      },
      begin: ({ region, epoch }) => {
        say({ news: "begin", region, epoch, atMs: Date.now() });
        for (const action of this.#adopted.splice(0)) this.#build(region, action);
      },
      drain: async ({ region }) => {
        await this.#stallAt("drain", region);
        while ((this.#undecided.get(formatRegion(region)) ?? 0) > 0) await new Promise((resolve) => setTimeout(resolve, 1));
      },
      handedOver: (region, owner, held) => say({ news: "handed over", region, toServerId: owner?.serverId ?? 0, held, atMs: Date.now() }),
      resume: ({ region, epoch }, held) => {
        say({ news: "resume", region, epoch, atMs: Date.now() });
        for (const action of held) this.#build(region, action);
      },
      failed: (region, error) => process.stderr.write(`${formatRegion(region)}: ${error.reason} ${error.message}\n`),
    });
  }

  async #stallAt(at: "load" | "drain", region: Region): Promise<void> {
    if (!this.#stalled.delete(at)) return;
    say({ news: "stalled", region, atMs: Date.now() });
    await NEVER;
  }

  async obey(order: Exclude<Order, { order: "start" }>): Promise<{ report?: ShardReport; phase?: number }> {
    switch (order.order) {
      case "acquire":
        await this.#client.authority.acquire(order.region);
        return {};
      case "build":
        clearInterval(this.#work);
        this.#work = setInterval(() => this.#act(order.region), order.everyMs);
        return {};
      case "rest":
        clearInterval(this.#work);
        await this.#stream.drain();
        return {};
      case "adopt":
        if (this.#client.authority.leaseOf(order.region) === undefined) this.#adopted.push(...order.actions);
        else for (const action of order.actions) this.#build(order.region, action);
        return {};
      case "hand over": {
        const lease = this.#client.authority.leaseOf(order.region);
        if (lease === undefined) throw new MeshError("NOT_FOUND", "no lease");
        return { phase: (await this.#follower.handOver(lease, order.toServerId, order.timeoutMs)).phase };
      }
      case "stall":
        this.#stalled.add(order.at);
        return {};
      case "report":
        return { report: { accepted: this.#accepted, refused: this.#refused, unknown: this.#unknown, undecided: this.#stream.undecided } };
    }
  }

  async register(): Promise<void> {
    await this.#client.authority.register();
  }

  #act(region: Region): void {
    if (this.#client.authority.leaseOf(region) === undefined && this.#undecided.get(formatRegion(region)) === undefined) return;
    const action = this.#serverId * 10_000 + this.#count;
    if (this.#follower.hold(region, action)) {
      this.#count++;
      return;
    }
    if (this.#client.authority.leaseOf(region) === undefined) return;
    this.#count++;
    this.#build(region, action);
  }

  #build(region: Region, action: number): void {
    const lease = this.#client.authority.leaseOf(region);
    if (lease === undefined) {
      (this.#refused["NO_LEASE"] ??= []).push(action);
      return;
    }
    const structure = { structureId: `s-${action}`, kind: "wall", bounds: placeOf(region, action) };
    const operation = this.#client.operations.structurePlacement(lease, structure, { operationId: `build-${action}-${this.#serverId}` });
    const key = formatRegion(region);
    this.#undecided.set(key, (this.#undecided.get(key) ?? 0) + 1);
    const taken = this.#stream.submit(operation, (error, decision) => {
      this.#undecided.set(key, (this.#undecided.get(key) ?? 1) - 1);
      this.#decided(action, error, decision);
    });
    if (!taken) {
      this.#undecided.set(key, (this.#undecided.get(key) ?? 1) - 1);
      (this.#refused["WINDOW"] ??= []).push(action);
    }
  }

  #decided(action: number, error: MeshError | undefined, decision: Decision | undefined): void {
    if (decision?.outcome === Outcome.ACCEPTED) this.#accepted.push(action);
    else if (decision !== undefined) (this.#refused[decision.reason] ??= []).push(action);
    else if (error?.reason === "OUTCOME_UNKNOWN") this.#unknown.push(action);
    else (this.#refused[error?.reason ?? "INTERNAL"] ??= []).push(action);
  }
}

let shard: Shard | undefined;
const answer = async (to: number, order: Order): Promise<void> => {
  try {
    if (order.order === "start") {
      shard = new Shard(order.spec);
      await shard.register();
      return say({ news: "answer", to, error: "" });
    }
    if (shard === undefined) throw new Error("start first");
    say({ news: "answer", to, error: "", ...(await shard.obey(order)) });
  } catch (error) {
    say({ news: "answer", to, error: MeshError.from(error).reason });
  }
};

process.on("message", (message: { readonly to: number; readonly order: Order }) => void answer(message.to, message.order));
// Whoever started it is gone.
process.on("disconnect", () => process.exit(0));
