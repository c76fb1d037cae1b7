// The regions that a shard holds, as it believes: it registers, acquires, renews, releases, and hands over to others. It trusts what it was
// given a little less long than it was given, and gives up before it tells.
import { type AcquireResponse, type CommitHandoffResponse, type Handoff, HandoffPhase, type Region, type RegionAuthority, type RenewResponse } from "@statemesh/contract";
import { abortHandoff, acceptHandoff, acquire, commitHandoff, register, release, renew, transfer } from "@statemesh/node";
import { formatRegion } from "@statemesh/world";
import type { Recorder } from "../recorder.ts";
import type { SimRandom } from "../sim-random.ts";
import type { Simulation } from "../simulation.ts";
import type { LeaseBook } from "./lease-book.ts";
import type { ShardWay } from "./shard-way.ts";

const RETRY_MS = 200;
const RENEW_MS = 700;
const LEASE_TRUST = 0.9;
/** Milliseconds that a target takes to load a region, at most. */
const LOADING_MS = 900;
/** How often an owner looks whether what it has under way is decided, milliseconds. */
const DRAIN_LOOK_MS = 20;
/** Of the regions that the directory gave it, how many a shard begins with at once; it may miss some. */
const TAKES = 0.8;
/** Of the handoffs that a shard is told of, how many it calls off. */
const ABORTS = 0.03;
const HANDOFF_TIMEOUTS_MS = [1_000, 4_000, 10_000] as const;
/** Tries to commit, and then the directory has ended it by itself. */
const COMMITS_MAX = 20;

export interface LeaseParts {
  readonly simulation: Simulation;
  readonly recorder: Recorder;
  readonly leases: LeaseBook;
  readonly regions: readonly Region[];
  readonly leaseMs: number;
  /** Regions that the directory may bring it to. */
  readonly maxRegions: number;
  /** Server ids of all shards. */
  readonly servers: readonly number[];
}

interface HeldLease {
  readonly region: Region;
  readonly epoch: number;
  untilMs: number;
}

export class ShardLeases {
  readonly #serverId: number;
  readonly #parts: LeaseParts;
  readonly #way: ShardWay;
  readonly #random: SimRandom;
  readonly #held = new Map<string, HeldLease>();
  /** By region: the last epoch that was given up. An answer that was on its way then grants nothing any more. */
  readonly #givenUp = new Map<string, number>();
  /** Handoffs that this shard has begun to load, or to finish. */
  readonly #followed = new Set<string>();
  /** Regions on their way to another shard: what is new there is kept back. */
  readonly #leaving = new Map<string, (() => void)[]>();
  /** By region: calls of this shard that are not answered. */
  readonly #underWay = new Map<string, number>();
  #handoffs = 0;
  #isRegistered = false;
  #stopped = false;

  constructor(serverId: number, parts: LeaseParts, way: ShardWay, random: SimRandom) {
    this.#serverId = serverId;
    this.#parts = parts;
    this.#way = way;
    this.#random = random;
  }

  start(): void {
    this.#register();
    this.#way.every(RENEW_MS, () => this.#renew());
  }

  stop(): void {
    this.#stopped = true;
  }

  /** The process is gone, and with it what it believed. */
  lost(): void {
    for (const [text, { epoch }] of this.#held) this.#parts.leases.ended(text, epoch);
    for (const each of [this.#held, this.#givenUp, this.#followed, this.#leaving, this.#underWay]) each.clear();
    this.#isRegistered = false;
  }

  get isRegistered(): boolean {
    return this.#isRegistered;
  }

  /** Regions to write in, as far as this shard knows. */
  get own(): Region[] {
    return [...this.#held.values()].filter(({ untilMs }) => untilMs > this.#parts.simulation.nowMs).map(({ region }) => region);
  }

  /** The epoch to write under, as far as this shard knows. */
  epochOf(region: Region): number {
    const lease = this.#held.get(formatRegion(region));
    return lease !== undefined && lease.untilMs > this.#parts.simulation.nowMs ? lease.epoch : 0;
  }

  /** Runs `begin` now, or once the handoff of the region that is under way has ended. */
  enter(region: Region, begin: () => void): void {
    const kept = this.#leaving.get(formatRegion(region));
    if (kept === undefined) return begin();
    this.#parts.recorder.sometimes("operation kept back in a handoff");
    kept.push(begin);
  }

  /** A write in a region begins; what is returned ends it. */
  begin(region: Region): () => void {
    const text = formatRegion(region);
    const { incarnation } = this.#way;
    this.#count(text, 1);
    return () => {
      if (incarnation === this.#way.incarnation) this.#count(text, -1);
    };
  }

  #count(text: string, by: 1 | -1): void {
    this.#underWay.set(text, (this.#underWay.get(text) ?? 0) + by);
  }

  #register(): void {
    const { incarnation } = this.#way;
    const request = { serverId: this.#serverId, name: `shard-${this.#serverId}`, address: "", incarnation, maxRegions: this.#parts.maxRegions };
    this.#way.ask(
      (node, deadlineMs, done, fail) => void register(node.authority, request, deadlineMs).then(done, fail),
      (response) => {
        if (response !== undefined) this.#isRegistered = true;
        else this.#way.after(RETRY_MS, () => this.#register());
      },
    );
  }

  #unregistered(): void {
    if (!this.#isRegistered) return;
    this.#isRegistered = false;
    this.#register();
  }

  #renew(): void {
    const { simulation, leases, leaseMs } = this.#parts;
    if (!this.#isRegistered || this.#stopped) return;
    const held = [...this.#held.values()];
    const sentMs = simulation.nowMs;
    this.#way.ask<RenewResponse>(
      (node, deadlineMs, done, fail) =>
        void renew(node.authority, { serverId: this.#serverId, leases: held.map(({ region, epoch }) => ({ region, epoch, players: 0 })), load: undefined }, deadlineMs).then(done, fail),
      (response, error) => {
        if (response === undefined) {
          if (error !== "SERVER_NOT_REGISTERED") return;
          for (const [text, { epoch }] of this.#held) leases.ended(text, epoch);
          this.#held.clear();
          return this.#unregistered();
        }
        for (const { region, epoch } of response.renewed) {
          const lease = region === undefined ? undefined : this.#held.get(formatRegion(region));
          if (lease?.epoch !== epoch) continue;
          lease.untilMs = sentMs + leaseMs * LEASE_TRUST;
          leases.renewed(formatRegion(lease.region), epoch, lease.untilMs);
        }
        for (const { regionText, epoch } of response.lost) if ((this.#held.get(regionText)?.epoch ?? 0) <= epoch) this.#held.delete(regionText);
        this.#assigned(response.assigned);
        for (const handoff of response.handoffs) this.#told(handoff);
      },
    );
  }

  #assigned(assigned: readonly RegionAuthority[]): void {
    for (const { region, regionText, epoch } of assigned) {
      if (region === undefined || this.#held.has(regionText) || (this.#givenUp.get(regionText) ?? 0) >= epoch || !this.#random.chance(TAKES)) continue;
      this.acquire(region);
    }
  }

  /** Asks for a region; `ended` is called once it is clear whether this shard holds it. */
  acquire(region: Region, ended: () => void = () => undefined): void {
    const { simulation, leases, leaseMs, recorder } = this.#parts;
    const text = formatRegion(region);
    const sentMs = simulation.nowMs;
    this.#way.ask<AcquireResponse>(
      (node, deadlineMs, done, fail) => void acquire(node.authority, { serverId: this.#serverId, region }, deadlineMs).then(done, fail),
      (response, error) => {
        if (error === "SERVER_NOT_REGISTERED") this.#unregistered();
        const epoch = response?.lease?.epoch;
        const untilMs = sentMs + leaseMs * LEASE_TRUST;
        if (epoch !== undefined) {
          leases.answered(region, epoch);
          // A late answer is checked before it is trusted: the lease may be over.
          if (simulation.nowMs >= untilMs) recorder.sometimes("lease came too late");
          else if ((this.#givenUp.get(text) ?? 0) < epoch && (this.#held.get(text)?.epoch ?? 0) <= epoch) {
            this.#held.set(text, { region, epoch, untilMs });
            leases.granted(text, this.#serverId, epoch, untilMs);
            recorder.sometimes("lease granted");
          }
        }
        ended();
      },
    );
  }

  /** Gives a region up, before it is told. */
  release(): void {
    const lease = this.#any();
    if (lease === undefined) return;
    const { region, epoch } = lease;
    this.#giveUp(lease);
    this.#way.ask((node, deadlineMs, done, fail) => void release(node.authority, { serverId: this.#serverId, region, epoch }, deadlineMs).then(done, fail), () => undefined);
  }

  #any(): HeldLease | undefined {
    const held = [...this.#held.values()].filter(({ region }) => !this.#leaving.has(formatRegion(region)));
    return held.length === 0 ? undefined : this.#random.pick(held);
  }

  #giveUp({ region, epoch }: HeldLease): void {
    const text = formatRegion(region);
    this.#held.delete(text);
    this.#givenUp.set(text, epoch);
    this.#parts.leases.ended(text, epoch);
  }

  // ---- handoffs ----

  /** Begins to hand a region to another shard. */
  transfer(): void {
    const lease = this.#any();
    const others = this.#parts.servers.filter((serverId) => serverId !== this.#serverId);
    if (lease === undefined || others.length === 0) return;
    const { region, epoch } = lease;
    const handoffId = `h-${this.#serverId}-${++this.#handoffs}`;
    const request = { handoffId, region, fromServerId: this.#serverId, toServerId: this.#random.pick(others), epoch, timeoutMs: this.#random.pick(HANDOFF_TIMEOUTS_MS) };
    const ask = (): void => this.#way.ask((node, deadlineMs, done, fail) => void transfer(node.authority, request, deadlineMs).then(done, fail), () => undefined);
    ask();
    // The same request again, elsewhere.
    if (this.#random.chance(0.1)) ask();
  }

  /** A renewal told of a handoff from or to this shard. */
  #told(handoff: Handoff): void {
    const { handoffId, phase, toServerId, fromServerId } = handoff;
    if (this.#followed.has(`${handoffId} ${phase}`)) return;
    this.#followed.add(`${handoffId} ${phase}`);
    if (this.#random.chance(ABORTS)) return this.#abort(handoffId);
    if (phase === HandoffPhase.PREPARED && toServerId === this.#serverId) {
      this.#way.after(this.#random.between(0, LOADING_MS), () =>
        this.#way.ask((node, deadlineMs, done, fail) => void acceptHandoff(node.authority, { handoffId, serverId: this.#serverId }, deadlineMs).then(done, fail), (_, error) => {
          // It is told again with the next renewal.
          if (error === "OUTCOME_UNKNOWN" || error === "UNREACHABLE") this.#followed.delete(`${handoffId} ${phase}`);
        }),
      );
    }
    if (phase === HandoffPhase.ACCEPTED && fromServerId === this.#serverId) this.#handOver(handoff);
  }

  #abort(handoffId: string): void {
    this.#way.ask((node, deadlineMs, done, fail) => void abortHandoff(node.authority, { handoffId, serverId: this.#serverId, reason: "changed its mind" }, deadlineMs).then(done, fail), () => undefined);
  }

  /** The target is ready: what is under way is decided first, what is new waits, and then the region goes. */
  #handOver(handoff: Handoff): void {
    const { region } = handoff;
    if (region === undefined) return;
    const text = formatRegion(region);
    if (this.#held.get(text)?.epoch !== handoff.epoch || this.#leaving.has(text)) return;
    this.#leaving.set(text, []);
    const drain = (): void => {
      const lease = this.#held.get(text);
      // It ran out meanwhile: then the region is the target's already.
      if (lease?.epoch !== handoff.epoch) return this.#left(text);
      if ((this.#underWay.get(text) ?? 0) > 0) return this.#way.after(DRAIN_LOOK_MS, drain);
      this.#giveUp(lease);
      this.#commit(handoff, region, 1);
    };
    drain();
  }

  #commit(handoff: Handoff, region: Region, tries: number): void {
    const { handoffId, epoch } = handoff;
    const text = formatRegion(region);
    const { leases, recorder } = this.#parts;
    this.#way.ask<CommitHandoffResponse>(
      (node, deadlineMs, done, fail) => void commitHandoff(node.authority, { handoffId, serverId: this.#serverId }, deadlineMs).then(done, fail),
      (response, error) => {
        if (response !== undefined) {
          leases.answered(region, epoch + 1);
          recorder.sometimes("handoff committed by its owner");
          return this.#left(text);
        }
        if (error === "HANDOFF_PHASE") {
          // It was called off: the owner goes on under the epoch that it had, if the region still is its own.
          if (this.#givenUp.get(text) === epoch) this.#givenUp.delete(text);
          return this.acquire(region, () => this.#left(text));
        }
        if (error === "NOT_FOUND" || tries >= COMMITS_MAX) return this.#left(text);
        this.#way.after(RETRY_MS, () => this.#commit(handoff, region, tries + 1));
      },
    );
  }

  /** The handoff of a region has ended, in whatever way. */
  #left(text: string): void {
    const kept = this.#leaving.get(text) ?? [];
    this.#leaving.delete(text);
    for (const begin of kept) begin();
  }
}
