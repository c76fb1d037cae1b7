/** The registration and the leases of one game server. */
import {
  type AcquireResponse, type GameServer, type Lease, MeshError, type Region, type RegionAuthority, type RegisterResponse, type ReleaseResponse,
  type RenewResponse, type ServerLoad, type UnregisterResponse,
} from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import type { CompiledClientOptions } from "./client-options.ts";
import { callGame } from "./game-code.ts";
import { HeldLease } from "./held-lease.ts";
import { checkRegionShape } from "./operation-builder.ts";
import { transportError } from "./transport-error.ts";
import { type CallLimits, REPEATABLE_WRITE, sleep, type UnaryCaller } from "./unary-caller.ts";

/** Most leases that one Renew call carries. */
const LEASES_A_CALL_MAX = 1_024;
/** Most players that the directory takes of a region. */
const PLAYERS_MAX = 1_000_000;
/** Longest tick that the directory takes, microseconds. */
const TICK_US_MAX = 60_000_000;
/** An attempt to renew is given at least this time before another node is asked, ms. */
const ATTEMPT_MIN_MS = 100;
/** The ends of leases are looked at this often at least, ms: a timer takes no time of its own beyond that. */
const LOOK_EVERY_MAX_MS = 60_000;
/** Regions that were given up and are remembered. */
const GIVEN_UP_MAX = 65_536;
/** How often a start looks whether the registration of the one before it has ended, ms. */
const LOOK_AGAIN_MS = 250;
/** A registration that ran out is taken out of the directory a little later, ms. */
const SLACK_MS = 1_000;
/** Renewals follow each other no faster, ms. */
const RENEW_EVERY_MIN_MS = 50;

/**
 * Why a lease ended without being released: its time was over; the directory said with a renewal, or with a later epoch, that it was another's; or
 * an operation was FENCED by a later epoch.
 */
export type LossReason = "expired" | "taken" | "fenced";

/**
 * Told once a lease that ends without being released; `now` is who owns the region, where that is known. `cause`: of one that expired, why it
 * could not be renewed; undefined where the process itself was held up.
 */
export type LeaseLost = (lease: HeldLease, reason: LossReason, now: RegionAuthority | undefined, cause: MeshError | undefined) => void;

/** Registers a game server, takes leases and renews them until they are released or lost. */
export class LeaseKeeper {
  readonly #caller: UnaryCaller;
  readonly #options: CompiledClientOptions;
  readonly #leases = new Map<string, HeldLease>();
  readonly #onLost = new Set<LeaseLost>();
  readonly #onRenewed = new Set<(response: RenewResponse) => void>();
  /** What is under way for a region: acquiring and releasing it take turns. */
  readonly #turns = new Map<string, Promise<unknown>>();
  /** The last epoch that was given up, of the regions of late. */
  readonly #givenUp = new Map<string, number>();
  #readLoad: (() => ServerLoad) | undefined;
  readonly #stop = new AbortController();
  /** Told when the server is known, and when it is not any more. */
  readonly #registered: (isKnown: boolean) => void;
  #isRegistered = false;
  /** Nothing is to be renewed: the registration was ended. */
  #isQuiet = false;
  #registeredTtlMs = 0;
  #shortestLeaseMs = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #endTimer: NodeJS.Timeout | undefined;
  /** Why the last renewal failed; undefined: it did not. */
  #failure: MeshError | undefined;
  #dueMs = 0;
  #renewing = false;

  /** @param registered whether the server is known: as long as it is, it says that it is there */
  constructor(caller: UnaryCaller, options: CompiledClientOptions, registered: (isKnown: boolean) => void) {
    this.#registered = registered;
    this.#caller = caller;
    this.#options = options;
  }

  /** Calls `lost` for every lease that ends without being released, at its end: a renewal that hangs does not hold it up. Returns what takes that back. */
  onLost(lost: LeaseLost): () => void {
    this.#onLost.add(lost);
    return () => this.#onLost.delete(lost);
  }

  /** Calls `renewed` with every answer to a renewal: what was given to this server, and its handoffs. Returns what takes that back. */
  onRenewed(renewed: (response: RenewResponse) => void): () => void {
    this.#onRenewed.add(renewed);
    return () => this.#onRenewed.delete(renewed);
  }

  /**
   * From now on each renewal says how busy the server is. The directory places regions by it. Numbers outside of their ranges count as the nearest
   * inside; where `read` throws, that renewal says nothing of it.
   */
  reportLoad(read: () => ServerLoad): void {
    this.#readLoad = read;
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

  /** Whether the lease of this epoch is held here or was given up, or an acquire or a release of the region is under way. */
  knows(region: Region, epoch: number): boolean {
    const key = formatRegion(region);
    // What was said before a lease was given up may arrive after it.
    return this.#turns.has(key) || epoch <= (this.#givenUp.get(key) ?? 0) || this.leaseOf(region)?.epoch === epoch;
  }

  /**
   * Makes the server known and keeps it known from then on. An earlier start that ended without `unregister`, as by a crash, is in the way until its
   * registration runs out (10 s by default): waits for that, unless `deadlineMs` is shorter.
   *
   * @throws MeshError SERVER_ALREADY_REGISTERED where another process goes on under the id, or another server has the name
   */
  async register(limits: CallLimits = {}): Promise<GameServer> {
    const { deadlineMs = Number.POSITIVE_INFINITY, signal } = limits;
    const startedMs = performance.now();
    for (;;) {
      try {
        return await this.#register(limits);
      } catch (thrown) {
        const error = MeshError.from(thrown);
        const isOwn = error.reason === "SERVER_ALREADY_REGISTERED" && error.metadata["same_id"] === "true";
        const waitMs = Math.min(deadlineMs, Number(error.metadata["ttl_ms"] ?? 0) + SLACK_MS);
        if (!isOwn || this.#stop.signal.aborted || performance.now() - startedMs > waitMs) throw error;
        await sleep(LOOK_AGAIN_MS, signal);
        if (signal?.aborted === true) throw new MeshError("CANCELLED", "the caller gave up", { cause: error });
      }
    }
  }

  /**
   * Ends the registration at once, for the id and the name to be free for the next start; `shutdown` of the client does it. Leases that are held end with it,
   * without `onLost`. Renews and says nothing any more, unless it is registered again.
   */
  async unregister(limits?: CallLimits): Promise<void> {
    this.#isRegistered = false;
    this.#isQuiet = true;
    this.#registered(false);
    this.#endAll();
    const { serverId, incarnation } = this.#options;
    await this.#caller.call<UnregisterResponse>((node, metadata, options, done) => node.authority.unregister({ serverId, incarnation }, metadata, options, done), REPEATABLE_WRITE, limits);
  }

  /** Whether `register` has succeeded, and `unregister` was not called since. */
  get isRegistered(): boolean {
    return this.#isRegistered;
  }

  async #register(limits: CallLimits): Promise<GameServer> {
    const { serverId, name, address, incarnation, maxRegions } = this.#options;
    const response = await this.#caller.call<RegisterResponse>(
      (node, metadata, options, done) => node.authority.register({ serverId, name, address, incarnation, maxRegions }, metadata, options, done),
      REPEATABLE_WRITE,
      limits,
    );
    if (response.server === undefined) throw new MeshError("INTERNAL", "the directory answered without a server");
    this.#registeredTtlMs = response.ttlMs;
    this.#isRegistered = true;
    this.#isQuiet = false;
    this.#registered(true);
    this.#schedule();
    return response.server;
  }

  /**
   * Takes the lease of a region and renews it until it is released or lost. Waits for a release of the region that is under way.
   * An answer that comes after the caller's time gives no lease: what it granted runs out.
   *
   * @throws MeshError LEASE_HELD while another server's lease runs; SERVER_NOT_REGISTERED
   */
  async acquire(region: Region, limits?: CallLimits): Promise<HeldLease> {
    checkRegionShape(region, "region");
    return await this.#inTurn(region, () => this.#acquire(region, limits));
  }

  async #acquire(region: Region, limits?: CallLimits): Promise<HeldLease> {
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
    if (this.#stop.signal.aborted) throw new MeshError("OUTCOME_UNKNOWN", "the client was closed before the answer came: the lease, if it was given, runs out");
    if (!lease.held) throw new MeshError("OUTCOME_UNKNOWN", "the lease ran out before the answer came");
    this.#shortestLeaseMs = Math.min(this.#shortestLeaseMs, response.lease.durationMs);
    this.#schedule();
    const key = formatRegion(region);
    this.#givenUp.delete(key);
    this.#dropExpired();
    const before = this.#leases.get(key);
    // Taken twice, it is one lease: there is one that is renewed, and one that is released.
    if (before?.epoch === lease.epoch && before.extend(sentMs + response.lease.durationMs)) return before;
    // Others may have owned it between the two.
    if (before !== undefined) this.#lose(before, "taken", undefined);
    this.#leases.set(key, lease);
    this.#watchEnds();
    return lease;
  }

  /**
   * Gives a lease up. It is over for the caller at once, whatever the directory answers. Waits for an acquire of the region that is
   * under way: what that brings under the same epoch is the same lease, and ends with it.
   */
  async release(lease: HeldLease, limits?: CallLimits): Promise<boolean> {
    lease.end();
    this.#noteGivenUp(formatRegion(lease.region), lease.epoch);
    return await this.#inTurn(lease.region, () => this.#release(lease, limits));
  }

  /** Ends a lease for its holder alone: the directory hands it to somebody else. */
  handOver(lease: HeldLease): void {
    lease.end();
    const key = formatRegion(lease.region);
    this.#noteGivenUp(key, lease.epoch);
    if (this.#leases.get(key) === lease) this.#leases.delete(key);
  }

  /**
   * An operation under this epoch was FENCED. A later epoch proves that the lease is lost, and `onLost` says so at once; otherwise the next
   * renewal, which is brought forward, tells.
   */
  fenced(region: Region, epoch: number, currentEpoch: number): void {
    const lease = this.leaseOf(region);
    if (lease === undefined || lease.epoch !== epoch) return;
    if (currentEpoch > epoch) this.#lose(lease, "fenced", undefined);
    else this.#renewSoon();
  }

  #noteGivenUp(key: string, epoch: number): void {
    this.#givenUp.delete(key);
    this.#givenUp.set(key, epoch);
    if (this.#givenUp.size <= GIVEN_UP_MAX) return;
    for (const oldest of this.#givenUp.keys()) {
      this.#givenUp.delete(oldest);
      break;
    }
  }

  async #inTurn<T>(region: Region, run: () => Promise<T>): Promise<T> {
    const key = formatRegion(region);
    // How the one before ended is for its own caller.
    const turn = (this.#turns.get(key) ?? Promise.resolve()).then(run, run);
    this.#turns.set(key, turn);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(key) === turn) this.#turns.delete(key);
    }
  }

  async #release(lease: HeldLease, limits?: CallLimits): Promise<boolean> {
    const key = formatRegion(lease.region);
    const current = this.#leases.get(key);
    if (current?.epoch === lease.epoch) {
      current.end();
      this.#leases.delete(key);
      this.#noteGivenUp(key, lease.epoch);
    }
    const request = { serverId: this.#options.serverId, region: lease.region, epoch: lease.epoch };
    const response = await this.#caller.call<ReleaseResponse>(
      (node, metadata, options, done) => node.authority.release(request, metadata, options, done), REPEATABLE_WRITE, limits,
    );
    return response.released;
  }

  /** Stops renewing. Leases run out by themselves; `release` gives them up at once. */
  close(): void {
    this.#stop.abort();
    this.#endAll();
  }

  #endAll(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    clearTimeout(this.#endTimer);
    for (const lease of this.#leases.values()) {
      lease.end();
      this.#noteGivenUp(formatRegion(lease.region), lease.epoch);
    }
    this.#leases.clear();
  }

  #schedule(): void {
    const shortest = Math.min(this.#shortestLeaseMs, this.#registeredTtlMs === 0 ? Number.POSITIVE_INFINITY : this.#registeredTtlMs);
    this.#renewIn(Math.max(RENEW_EVERY_MIN_MS, Math.min(this.#options.heartbeatMs, shortest / 3)));
  }

  #renewSoon(): void {
    this.#renewIn(RENEW_EVERY_MIN_MS);
  }

  #renewIn(ms: number): void {
    if (this.#stop.signal.aborted || this.#renewing || this.#isQuiet) return;
    const dueMs = performance.now() + ms;
    // A shorter lease brings the next round forward; a later call never puts it off.
    if (this.#timer !== undefined && this.#dueMs <= dueMs) return;
    clearTimeout(this.#timer);
    this.#dueMs = dueMs;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#renewing = true;
      void this.#renewAll().finally(() => {
        this.#renewing = false;
        this.#schedule();
      });
    }, ms);
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
        if (error.reason === "SERVER_NOT_REGISTERED" && this.#isRegistered) await this.register({ signal: this.#stop.signal }).catch(MeshError.from);
      }
    }
  }

  async #renew(leases: readonly HeldLease[]): Promise<void> {
    let sentMs = 0;
    const read = this.#readLoad;
    const { onError } = this.#options;
    const said = read === undefined ? undefined : callGame(onError, "authority.reportLoad", read);
    const load = said === undefined ? undefined : callGame(onError, "authority.reportLoad", () => loadOf(said));
    const request = { serverId: this.#options.serverId, leases: leases.map(({ region, epoch, players }) => ({ region, epoch, players: countOf(players, PLAYERS_MAX) })), load };
    const response = await this.#caller.call<RenewResponse>(
      (node, metadata, options, done) => {
        sentMs = performance.now();
        return node.authority.renew(request, metadata, options, (error, answer) => {
          if (error !== null) this.#failure = transportError(error, { writes: true }, node.address);
          done(error, answer);
        });
      },
      REPEATABLE_WRITE,
      {
        signal: this.#stop.signal,
        deadlineMs: Math.min(this.#options.deadlineMs, this.#shortestLeaseMs),
        // A node that says nothing must not cost the lease: there is time for others.
        attemptTimeoutMs: Math.min(this.#options.attemptTimeoutMs, Math.max(ATTEMPT_MIN_MS, this.#shortestLeaseMs / 3)),
      },
    );
    this.#failure = undefined;
    // What ended while the answer was on its way, or while this process was held up, has ended.
    this.#dropExpired();
    for (const renewed of response.renewed) this.#extend(renewed, sentMs);
    for (const lost of response.lost) {
      const lease = lost.region === undefined ? undefined : this.#leases.get(formatRegion(lost.region));
      if (lease !== undefined && leases.includes(lease)) this.#lose(lease, "taken", lost);
    }
    this.#watchEnds();
    for (const renewed of [...this.#onRenewed]) callGame(this.#options.onError, "authority.onRenewed", () => renewed(response));
  }

  /** Tells of a lease as soon as it is over. */
  #watchEnds(): void {
    clearTimeout(this.#endTimer);
    let nextMs = LOOK_EVERY_MAX_MS;
    for (const lease of this.#leases.values()) nextMs = Math.min(nextMs, lease.remainingMs);
    if (this.#leases.size === 0) return;
    this.#endTimer = setTimeout(() => {
      this.#dropExpired();
      this.#watchEnds();
    }, Math.max(1, Math.ceil(nextMs)));
    this.#endTimer.unref();
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
    const cause = reason === "expired" ? this.#failure : undefined;
    for (const lost of [...this.#onLost]) callGame(this.#options.onError, "authority.onLost", () => lost(lease, reason, now, cause));
  }
}

/** A count that is none costs no lease: the directory refuses a renewal as a whole. */
function countOf(count: number, max: number): number {
  return Math.min(max, Math.max(0, Math.floor(count) || 0));
}

/** @throws MeshError INVALID_FIELD where it holds no numbers, as a promise does */
function loadOf({ players, tickUs, cpuPermille }: ServerLoad): ServerLoad {
  if (typeof players !== "number" || typeof tickUs !== "number" || typeof cpuPermille !== "number") throw MeshError.field("load", "must be the numbers players, tickUs and cpuPermille, and no promise");
  return { players: countOf(players, PLAYERS_MAX), tickUs: countOf(tickUs, TICK_US_MAX), cpuPermille: countOf(cpuPermille, 1_000) };
}
