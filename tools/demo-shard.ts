/** A game server of the demo: registered, with leases of its regions, and its strong operations on a stream. */
import { connect, type Decided, type HeldLease, type LossReason, type MeshClient, type OperationBuilder, type OperationStream, type Place, type RegionFollower } from "@statemesh/client";
import { type Decision, HandoffPhase, MeshError, type Operation, Outcome, type Region } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import { type Measure, tally } from "./demo-measure.ts";
import { patiently } from "./patiently.ts";
import type { WorldShard } from "./world-file.ts";

/** How long a shard waits for leases that an earlier run left. */
const LEASE_WAIT_MS = 30_000;
/** How often an operation is asked for whose outcome stays unknown. */
const ASKED_MAX = 4;

/** Told what became of an operation; neither where it was refused or stayed open. */
export type Answered = (decision: Decision | undefined, error: MeshError | undefined) => void;

export class DemoShard {
  readonly id: number;
  readonly name: string;
  readonly client: MeshClient;
  /** Reads and follows at another node than the one that the shard writes to. */
  readonly follower: MeshClient;
  readonly stream: OperationStream;
  readonly lost: string[] = [];
  readonly #measure: Measure;
  readonly #leases = new Map<string, HeldLease>();
  #regions: RegionFollower | undefined;

  /**
   * @param endpoints of all nodes; the first is where this shard writes, the second where it reads
   * @param incarnation the same for every run that can't overlap
   */
  constructor(shard: WorldShard, endpoints: readonly string[], incarnation: number, measure: Measure) {
    this.id = shard.id;
    this.name = shard.name;
    this.#measure = measure;
    const identity = { serverId: shard.id, name: shard.name, incarnation };
    this.client = connect({ endpoints, ...identity });
    this.follower = connect({ endpoints: [...endpoints.slice(1), ...endpoints.slice(0, 1)], ...identity });
    this.stream = this.client.stream({ window: 1_024 });
    this.client.authority.onLost((lease, reason) => this.#onLost(lease, reason));
  }

  get make(): OperationBuilder {
    return this.client.operations;
  }

  /** Registers, and takes the leases of the regions. */
  async start(regions: readonly Region[]): Promise<void> {
    await patiently(LEASE_WAIT_MS, async () => await this.client.authority.register());
    await Promise.all(regions.map(async (region) => await patiently(LEASE_WAIT_MS, async () => await this.acquire(region))));
  }

  /** Takes and gives regions as the directory says. Once every shard has its own: a lease that an earlier run left to another shard has to run out, not on. */
  follow(): void {
    this.#regions = this.client.follow({
      load: () => Promise.resolve(),
      begin: (lease) => this.#leases.set(formatRegion(lease.region), lease),
      drain: async ({ region }) => await this.stream.drain(region),
      handedOver: (region) => this.#leases.delete(formatRegion(region)),
      resume: (lease) => this.#leases.set(formatRegion(lease.region), lease),
      failed: (region, error) => this.lost.push(`handing ${formatRegion(region)} over: ${error.message}`),
    });
  }

  /** Hands a region to another shard; true where that owns it now. */
  async handOver(region: Region, to: DemoShard): Promise<boolean> {
    const lease = this.leaseOf(region);
    if (lease === undefined || this.#regions === undefined) return false;
    const { phase } = await this.#regions.handOver(lease, to.id);
    if (phase !== HandoffPhase.COMMITTED) return false;
    const endMs = performance.now() + LEASE_WAIT_MS;
    while (to.leaseOf(region) === undefined && performance.now() < endMs) await new Promise((wake) => setTimeout(wake, 5));
    return to.leaseOf(region) !== undefined;
  }

  /** Takes a lease. */
  async acquire(region: Region): Promise<HeldLease> {
    const lease = await this.client.authority.acquire(region);
    this.#leases.set(formatRegion(region), lease);
    return lease;
  }

  /** The lease on a region, where it runs. */
  leaseOf(region: Region): HeldLease | undefined {
    const lease = this.#leases.get(formatRegion(region));
    return lease?.held === true ? lease : undefined;
  }

  /** How many leases run. */
  get leasesHeld(): number {
    return [...this.#leases.values()].filter((lease) => lease.held).length;
  }

  /** Sends an operation and counts what becomes of it. False where the stream is full. */
  submit(operation: Operation, answered: Answered): boolean {
    const counts = this.#measure.countsOf(operation.type);
    const startedMs = performance.now();
    const heard = (error: MeshError | undefined, decision: Decision | undefined, asked: number): void => {
      if (error?.reason === "OUTCOME_UNKNOWN" && asked < ASKED_MAX && this.#askAgain(operation, (again, known) => heard(again, known, asked + 1))) return;
      counts.latencies.add(performance.now() - startedMs);
      if (decision === undefined) {
        if (error?.reason === "OUTCOME_UNKNOWN") counts.unknown += 1;
        else tally(counts.refused, error?.reason ?? "INTERNAL");
      } else if (decision.outcome === Outcome.REJECTED) {
        counts.rejected += 1;
        tally(this.#measure.rejections, `${decision.rule}: ${decision.reason}`);
      } else if (decision.outcome === Outcome.MERGED) counts.merged += 1;
      else counts.accepted += 1;
      answered(decision, error);
    };
    const taken = this.stream.submit(operation, (error, decision) => heard(error, decision, 1));
    if (taken) counts.sent += 1;
    return taken;
  }

  /** Under the same id, as whoever does not know has to. False where the stream takes nothing any more. */
  #askAgain(operation: Operation, heard: Decided): boolean {
    try {
      return this.stream.submit(operation, heard);
    } catch (error) {
      if (error instanceof MeshError && error.reason === "CANCELLED") return false;
      throw error;
    }
  }

  /** The same, waited for. */
  async decide(operation: Operation): Promise<Decision | undefined> {
    return await new Promise((done, failed) => {
      if (!this.submit(operation, (decision) => done(decision))) failed(new MeshError("OVERLOADED", `the stream of ${this.name} is full`));
    });
  }

  /** Gives all leases up and closes the connections. */
  async stop(): Promise<void> {
    await Promise.all(
      this.client.authority.leases.map(async (lease) => {
        try {
          await this.client.authority.release(lease, { deadlineMs: 2_000 });
        } catch (error) {
          // It runs out by itself; the next run waits for that.
          this.lost.push(`${formatRegion(lease.region)} could not be released: ${MeshError.from(error).message}`);
        }
      }),
    );
    this.close();
  }

  /** Closes the connections at once. */
  close(): void {
    this.client.close();
    this.follower.close();
  }

  #onLost(lease: HeldLease, reason: LossReason): void {
    this.lost.push(`${formatRegion(lease.region)} at epoch ${lease.epoch}: ${reason}`);
    const key = formatRegion(lease.region);
    if (this.#leases.get(key) === lease) this.#leases.delete(key);
    // A shard goes on: it asks for the region again, and writes under the new epoch.
    this.acquire(lease.region).catch((error: unknown) => this.lost.push(`${key} could not be taken again: ${MeshError.from(error).message}`));
  }
}

/** The right to write in a region as a shard has it; undefined where it has none now. */
export function placeOf(shard: DemoShard, region: Region, common: boolean): Place | undefined {
  return common ? { region, epoch: 0 } : shard.leaseOf(region);
}
