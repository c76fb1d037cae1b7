/**
 * The leases of one game server. A lease counts from before the call that took or renewed it was sent, so that the
 * holder always gives up before the directory gives the region away. Check `held` before each use, also after every
 * await: a process that slept through its lease finds out there.
 */
import {
  type AcquireResponse, type GameServer, type Lease, MeshError, type Region, type RegionAuthority, type RegisterResponse, type ReleaseResponse,
  type RenewResponse,
} from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import type { CompiledClientOptions } from "./client-options.ts";
import type { Place } from "./operation-builder.ts";
import { type CallLimits, REPEATABLE_WRITE, type UnaryCaller } from "./unary-caller.ts";

/** Most leases that one Renew call carries. */
const LEASES_A_CALL_MAX = 1_024;
const RENEW_EVERY_MAX_MS = 1_000;

/** Why a lease ended without being released. */
export type LossReason = "expired" | "taken";

/** Told once a lease that ends without being released; `now` is who owns the region, where that is known. */
export type LeaseLost = (lease: HeldLease, reason: LossReason, now: RegionAuthority | undefined) => void;

/** The right to write a region, as long as `held` says so. */
export class HeldLease implements Place {
  readonly region: Region;
  readonly epoch: number;
  #endMs: number;
  #over = false;

  constructor(region: Region, epoch: number, endMs: number) {
    this.region = region;
    this.epoch = epoch;
    this.#endMs = endMs;
  }

  /** Whether the lease runs, by this process's monotonic clock. */
  get held(): boolean {
    return this.remainingMs > 0;
  }

  /** What is left of it, ms; 0 once it is over. */
  get remainingMs(): number {
    return this.#over ? 0 : Math.max(0, this.#endMs - performance.now());
  }

  /** For the keeper: the directory extended it. A lease that is over stays over. */
  extend(endMs: number): void {
    if (!this.#over) this.#endMs = Math.max(this.#endMs, endMs);
  }

  /** For the keeper: it was released, taken or ran out. */
  end(): void {
    this.#over = true;
  }
}

/** Registers a game server, takes leases and renews them until they are released or lost. */
export class LeaseKeeper {
  readonly #caller: UnaryCaller;
  readonly #options: CompiledClientOptions;
  readonly #leases = new Map<string, HeldLease>();
  readonly #onLost = new Set<LeaseLost>();
  readonly #stop = new AbortController();
  readonly #registered: () => void;
  #registeredTtlMs = 0;
  #shortestLeaseMs = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #dueMs = 0;
  #renewing = false;

  /** @param registered the server is known: from then on it says that it is there */
  constructor(caller: UnaryCaller, options: CompiledClientOptions, registered: () => void) {
    this.#registered = registered;
    this.#caller = caller;
    this.#options = options;
  }

  /** Calls `lost` for every lease that ends without being released. */
  onLost(lost: LeaseLost): void {
    this.#onLost.add(lost);
  }

  /** Leases that run. */
  get leases(): HeldLease[] {
    return [...this.#leases.values()].filter((lease) => lease.held);
  }

  /** The lease on a region, where it runs. */
  leaseOf(region: Region): HeldLease | undefined {
    const lease = this.#leases.get(formatRegion(region));
    return lease?.held === true ? lease : undefined;
  }

  /**
   * Makes the server known and keeps it known from then on.
   *
   * @throws MeshError SERVER_ALREADY_REGISTERED where another start of the server lives
   */
  async register(limits?: CallLimits): Promise<GameServer> {
    const { serverId, name, address, incarnation } = this.#options;
    const response = await this.#caller.call<RegisterResponse>(
      (node, metadata, options, done) => node.authority.register({ serverId, name, address, incarnation, maxRegions: 0 }, metadata, options, done),
      REPEATABLE_WRITE,
      limits,
    );
    if (response.server === undefined) throw new MeshError("INTERNAL", "the directory answered without a server");
    this.#registeredTtlMs = response.ttlMs;
    this.#registered();
    this.#schedule();
    return response.server;
  }

  /**
   * Takes the lease of a region and renews it until it is released or lost.
   *
   * @throws MeshError LEASE_HELD while another server's lease runs; SERVER_NOT_REGISTERED
   */
  async acquire(region: Region, limits?: CallLimits): Promise<HeldLease> {
    let sentMs = 0;
    const response = await this.#caller.call<AcquireResponse>(
      (node, metadata, options, done) => {
        sentMs = performance.now();
        return node.authority.acquire({ serverId: this.#options.serverId, region }, metadata, options, done);
      },
      REPEATABLE_WRITE,
      limits,
    );
    if (response.lease === undefined) throw new MeshError("INTERNAL", "the directory answered without a lease");
    const lease = new HeldLease(region, response.lease.epoch, sentMs + response.lease.durationMs);
    // An answer that comes after its own lease ran out, or after `close`, is no right to anything.
    if (!lease.held || this.#stop.signal.aborted) throw new MeshError("OUTCOME_UNKNOWN", "the lease ran out before the answer came");
    this.#shortestLeaseMs = Math.min(this.#shortestLeaseMs, response.lease.durationMs);
    this.#schedule();
    const key = formatRegion(region);
    const before = this.#leases.get(key);
    if (before?.epoch === lease.epoch) {
      // Taken twice, it is one lease: there is one that is renewed, and one that is released.
      before.extend(sentMs + response.lease.durationMs);
      return before;
    }
    before?.end();
    this.#leases.set(key, lease);
    return lease;
  }

  /** Gives a lease up. It is over for the caller at once, whatever the directory answers. */
  async release(lease: HeldLease, limits?: CallLimits): Promise<boolean> {
    lease.end();
    const key = formatRegion(lease.region);
    if (this.#leases.get(key) === lease) this.#leases.delete(key);
    const request = { serverId: this.#options.serverId, region: lease.region, epoch: lease.epoch };
    const response = await this.#caller.call<ReleaseResponse>(
      (node, metadata, options, done) => node.authority.release(request, metadata, options, done), REPEATABLE_WRITE, limits,
    );
    return response.released;
  }

  /** Stops renewing. Leases run out by themselves; `release` gives them up at once. */
  close(): void {
    this.#stop.abort();
    clearTimeout(this.#timer);
    for (const lease of this.#leases.values()) lease.end();
    this.#leases.clear();
  }

  #schedule(): void {
    if (this.#stop.signal.aborted || this.#renewing) return;
    const shortest = Math.min(this.#shortestLeaseMs, this.#registeredTtlMs === 0 ? Number.POSITIVE_INFINITY : this.#registeredTtlMs);
    const dueMs = performance.now() + Math.max(50, Math.min(RENEW_EVERY_MAX_MS, shortest / 3));
    // A shorter lease brings the next round forward; a later call never puts it off.
    if (this.#timer !== undefined && this.#dueMs <= dueMs) return;
    clearTimeout(this.#timer);
    this.#dueMs = dueMs;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#renewing = true;
      void this.#renewAll().finally(() => {
        this.#renewing = false;
        this.#dropExpired();
        this.#schedule();
      });
    }, dueMs - performance.now());
    // Keeping a registration alive is no reason to keep a process alive.
    this.#timer.unref();
  }

  async #renewAll(): Promise<void> {
    this.#dropExpired();
    const all = [...this.#leases.values()];
    for (let at = 0; at === 0 || at < all.length; at += LEASES_A_CALL_MAX) {
      try {
        await this.#renew(all.slice(at, at + LEASES_A_CALL_MAX));
      } catch (thrown) {
        // What could not be renewed runs out by the clock, and `onLost` says so; the next round tries again.
        const error = MeshError.from(thrown);
        if (error.reason === "SERVER_NOT_REGISTERED") await this.register({ signal: this.#stop.signal }).catch(MeshError.from);
      }
    }
  }

  async #renew(leases: readonly HeldLease[]): Promise<void> {
    let sentMs = 0;
    const request = { serverId: this.#options.serverId, leases: leases.map(({ region, epoch }) => ({ region, epoch, players: 0 })), load: undefined };
    const response = await this.#caller.call<RenewResponse>(
      (node, metadata, options, done) => {
        sentMs = performance.now();
        return node.authority.renew(request, metadata, options, done);
      },
      REPEATABLE_WRITE,
      { signal: this.#stop.signal, deadlineMs: Math.min(this.#options.deadlineMs, this.#shortestLeaseMs) },
    );
    for (const renewed of response.renewed) this.#extend(renewed, sentMs);
    for (const lost of response.lost) {
      const lease = lost.region === undefined ? undefined : this.#leases.get(formatRegion(lost.region));
      if (lease !== undefined && leases.includes(lease)) this.#lose(lease, "taken", lost);
    }
  }

  #extend(renewed: Lease, sentMs: number): void {
    const lease = renewed.region === undefined ? undefined : this.#leases.get(formatRegion(renewed.region));
    if (lease?.epoch === renewed.epoch) lease.extend(sentMs + renewed.durationMs);
  }

  #dropExpired(): void {
    for (const lease of [...this.#leases.values()]) if (!lease.held) this.#lose(lease, "expired", undefined);
  }

  #lose(lease: HeldLease, reason: LossReason, now: RegionAuthority | undefined): void {
    const key = formatRegion(lease.region);
    if (this.#leases.get(key) !== lease) return;
    lease.end();
    this.#leases.delete(key);
    for (const lost of this.#onLost) lost(lease, reason, now);
  }
}
