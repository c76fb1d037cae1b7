/**
 * Does what the directory wants of a game server: takes regions that are handed or given to it, and hands its own on without
 * a gap. What it hears comes from a watch, and once more with each renewal, so that nothing hangs on one message.
 */
import {
  type AbortHandoffResponse, type AcceptHandoffResponse, AuthorityEvent_Kind as Kind, type AuthorityEvent, type CommitHandoffResponse, type GameServer, type Handoff,
  HandoffPhase, MeshError, type Region, type RegionAuthority, type TransferResponse, type WatchResponse,
} from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import type { AuthorityWatch } from "./authority-watch.ts";
import { callGame, type OnError } from "./game-code.ts";
import type { HeldLease } from "./held-lease.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import { REPEATABLE_WRITE, sleep, type UnaryCaller } from "./unary-caller.ts";

/** Actions that are kept back for one region while it is handed over. */
const HELD_MAX = 4_096;
/** Renewals that a watch may be behind before it is opened elsewhere. */
const BEHIND_MAX = 10;
const REASON_CHARS = 80;
/** How often who began a handoff asks how it stands, ms. */
const LOOK_MS = 1_000;

/** Why a region comes: from its owner, or because its owner is gone or nobody had it. */
export type TakeReason = "handoff" | "takeover";

/**
 * What the game does when regions come and go. `Action`: what it keeps back while a region is on its way. What `handedOver`, `resume` and
 * `failed` throw goes to the client's `onError`, and changes nothing.
 */
export interface RegionHandlers<Action> {
  /** Loads the region and follows it. With a handoff the owner still owns; `signal`: nothing comes of it. Rejects: this server doesn't take it. */
  load(region: Region, why: TakeReason, signal: AbortSignal): Promise<void>;
  /** The region is this server's: begin. Throws, or returns a promise that rejects: the lease is released, and `failed` hears of it. */
  begin(lease: HeldLease, why: TakeReason): void;
  /** New actions go to `hold` from now on. Resolves once everything under way is decided. Rejects: it stays. */
  drain(lease: HeldLease, toServerId: number): Promise<void>;
  /** The region is `owner`'s, who is to get what was kept back; undefined: who has it is not known, ask `route`. */
  handedOver(region: Region, owner: GameServer | undefined, held: readonly Action[]): void;
  /** Nothing came of the handoff: go on, with what was kept back. */
  resume(lease: HeldLease, held: readonly Action[]): void;
  /** Something did not work, before `close`. What follows is the directory's: the handoff is aborted, or the lease runs out. */
  failed(region: Region, error: MeshError): void;
}

interface Giving<Action> {
  readonly handoffId: string;
  readonly lease: HeldLease;
  readonly held: Action[];
  /** The lease is given up here: only the directory can say who owns the region. */
  committing: boolean;
}

/** A region on its way here. */
interface Taking {
  readonly handoffId: string;
  readonly abort: AbortController;
  /** Settles with the load. */
  readonly loaded: Promise<void>;
}

/** What a follower needs of its client. */
export interface FollowerParts {
  readonly serverId: number;
  readonly caller: UnaryCaller;
  readonly authority: LeaseKeeper;
  /** Opens a watch of what concerns this server, and of who is beside it. */
  watch(): AuthorityWatch;
  nextId(): string;
  /** Told of what handlers throw, and of an end that nobody waits for. */
  readonly onError: OnError;
}

/** Follows the directory for one game server: `MeshClient.follow` makes it. `Action`: what the game keeps back while a region is on its way. */
export class RegionFollower<Action = never> {
  readonly #parts: FollowerParts;
  readonly #handlers: RegionHandlers<Action>;
  readonly #giving = new Map<string, Giving<Action>>();
  readonly #taking = new Map<string, Taking>();
  readonly #beginning = new Map<string, TakeReason>();
  readonly #waiting = new Map<string, (handoff: Handoff) => void>();
  /** Wakes who waits for the end of a handoff. */
  readonly #looking = new Set<() => void>();
  readonly #owners = new Map<string, RegionAuthority>();
  readonly #watch: AuthorityWatch;
  #watchedIndex = 0;
  #behind = 0;
  #closed = false;
  readonly #forget: () => void;
  /** Settles when the follower has ended; rejects with what ended it before `close`. */
  readonly ended: Promise<void>;

  constructor(parts: FollowerParts, handlers: RegionHandlers<Action>) {
    this.#parts = parts;
    this.#handlers = handlers;
    this.#watch = parts.watch();
    this.#forget = parts.authority.onRenewed(({ assigned, handoffs, position }) => {
      if (this.#closed) return;
      for (const authority of assigned) this.#given(authority, "takeover");
      for (const handoff of handoffs) this.#onHandoff(handoff);
      this.#compare(position?.index ?? 0);
    });
    this.ended = this.#run();
    // It goes on with renewals alone, which is not what was asked for.
    this.ended.catch((error: unknown) => callGame(parts.onError, "follower.ended", () => {
      throw error;
    }));
  }

  /** Who is known to own a region: this server's own and those beside them. */
  ownerOf(region: Region): RegionAuthority | undefined {
    return this.#owners.get(formatRegion(region));
  }

  /**
   * Keeps an action back where its region is being handed over: true. False: the region stays, so do it.
   *
   * @throws MeshError OVERLOADED where 4,096 are kept back already
   */
  hold(region: Region, action: Action): boolean {
    const giving = this.#giving.get(formatRegion(region));
    if (giving === undefined) return false;
    if (giving.held.length >= HELD_MAX) throw new MeshError("OVERLOADED", `actions kept back for ${formatRegion(region)}: the limit of ${HELD_MAX} is reached`, { retryDelayMs: 50 });
    giving.held.push(action);
    return true;
  }

  /**
   * Hands a region to another server: resolves with the handoff committed or aborted.
   *
   * @param timeoutMs how long the mesh lets it take before it is aborted, ms
   * @throws MeshError FENCED, HANDOFF_PENDING, SERVER_NOT_REGISTERED, VERSION_TOO_LOW; CANCELLED where `signal` fires or the follower is closed: it goes on
   */
  async handOver({ region, epoch }: HeldLease, toServerId: number, timeoutMs = 10_000, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Handoff> {
    const handoffId = this.#parts.nextId();
    const wake = new AbortController();
    let ended: Handoff | undefined;
    this.#waiting.set(handoffId, (handoff) => {
      ended = handoff;
      wake.abort();
    });
    const stop = (): void => wake.abort();
    signal?.addEventListener("abort", stop, { once: true });
    this.#looking.add(stop);
    const request = { handoffId, region, fromServerId: this.#parts.serverId, epoch, toServerId, timeoutMs };
    try {
      for (;;) {
        // Asked again, the same call answers how the handoff stands: its end may not have been heard.
        const { handoff } = await this.#parts.caller.call<TransferResponse>((node, metadata, options, done) => node.authority.transfer(request, metadata, options, done), REPEATABLE_WRITE, signal === undefined ? {} : { signal });
        if (handoff?.phase === HandoffPhase.COMMITTED || handoff?.phase === HandoffPhase.ABORTED) return handoff;
        await sleep(LOOK_MS, wake.signal);
        if (ended !== undefined) return ended;
        if (this.#closed) throw new MeshError("CANCELLED", "the follower was closed");
        if (signal?.aborted === true) throw new MeshError("CANCELLED", "the caller gave up; the handoff goes on");
      }
    } finally {
      signal?.removeEventListener("abort", stop);
      this.#looking.delete(stop);
      this.#waiting.delete(handoffId);
    }
  }

  /** Follows no more. Leases go on; handoffs under way end by their time. */
  close(): void {
    this.#closed = true;
    this.#forget();
    this.#watch.close();
    for (const stop of [...this.#looking]) stop();
    for (const { abort } of this.#taking.values()) abort.abort();
  }

  async #run(): Promise<void> {
    for await (const { event, position } of this.#watch) {
      this.#watchedIndex = position?.index ?? 0;
      this.#behind = 0;
      this.#take(event);
    }
  }

  #take(event: WatchResponse["event"]): void {
    if (event?.$case === "snapshot") {
      if (event.value.first) this.#owners.clear();
      for (const authority of event.value.authorities) {
        this.#note(authority);
        if (authority.owner?.serverId === this.#parts.serverId) this.#given(authority, "takeover");
      }
      for (const handoff of event.value.handoffs) this.#onHandoff(handoff);
      return;
    }
    for (const each of event?.value.events ?? []) this.#onEvent(each);
  }

  #onEvent({ kind, authority, handoff }: AuthorityEvent): void {
    if (authority !== undefined) this.#note(authority);
    if (handoff !== undefined) this.#onHandoff(handoff);
    if (authority?.owner?.serverId !== this.#parts.serverId) return;
    if (kind === Kind.TAKEN_OVER) this.#given(authority, "takeover");
    else if (kind === Kind.TRANSFERRED) this.#given(authority, "handoff");
  }

  #note(authority: RegionAuthority): void {
    this.#overtaken(authority);
    if (authority.owner === undefined) this.#owners.delete(authority.regionText);
    else this.#owners.set(authority.regionText, authority);
  }

  /** A watch that is behind what renewals see is on a node that is cut off. */
  #compare(index: number): void {
    if (index <= this.#watchedIndex) this.#behind = 0;
    else if (++this.#behind > BEHIND_MAX) {
      this.#behind = 0;
      this.#watch.elsewhere();
    }
  }

  #onHandoff(handoff: Handoff): void {
    const { serverId } = this.#parts;
    if (handoff.region === undefined) return;
    const { region, phase, handoffId } = handoff;
    if (phase === HandoffPhase.COMMITTED || phase === HandoffPhase.ABORTED) {
      this.#waiting.get(handoffId)?.(handoff);
      this.#waiting.delete(handoffId);
    }
    if (phase === HandoffPhase.ABORTED) return this.#aborted(region, handoffId);
    if (phase === HandoffPhase.COMMITTED) return this.#committed(handoff, region);
    if (handoff.toServerId === serverId && (phase === HandoffPhase.PREPARED || phase === HandoffPhase.ACCEPTED)) void this.#takeRegion(region, handoff);
    if (handoff.fromServerId === serverId && phase === HandoffPhase.ACCEPTED) void this.#giveRegion(region, handoff);
  }

  #aborted(region: Region, handoffId: string): void {
    const key = formatRegion(region);
    const taking = this.#taking.get(key);
    if (taking?.handoffId === handoffId) {
      this.#taking.delete(key);
      taking.abort.abort();
    }
    const giving = this.#giving.get(key);
    // One whose commit is under way hears of it there.
    if (giving?.handoffId === handoffId && !giving.committing) this.#endGiving(giving);
  }

  /** Not by this side's word: its lease ran out, and the target went on. */
  #committed({ handoffId, toServerId }: Handoff, region: Region): void {
    const giving = this.#giving.get(formatRegion(region));
    if (giving?.handoffId === handoffId && !giving.committing) this.#passOn(giving, this.#ownerNamed(region, toServerId));
  }

  /** The lease of what is being given is over, as the directory says: another epoch began, or nobody has the region. */
  #overtaken({ regionText, epoch, owner }: RegionAuthority): void {
    const giving = this.#giving.get(regionText);
    if (giving === undefined || giving.committing) return;
    if (epoch > giving.lease.epoch || (epoch === giving.lease.epoch && owner === undefined)) this.#passOn(giving, this.#unlessMe(owner));
  }

  // ---- a region comes ----

  async #takeRegion(region: Region, { handoffId, epoch }: Handoff): Promise<void> {
    const key = formatRegion(region);
    if (this.#closed || this.#taking.get(key)?.handoffId === handoffId) return;
    // What was said before the region came may arrive after it.
    if (this.#beginning.has(key) || (this.#parts.authority.leaseOf(region)?.epoch ?? 0) > epoch) return;
    this.#taking.get(key)?.abort.abort();
    const abort = new AbortController();
    const taking: Taking = { handoffId, abort, loaded: this.#load(region, "handoff", abort.signal) };
    this.#taking.set(key, taking);
    try {
      await taking.loaded;
      // It came to nothing, or the region is given meanwhile and begins with this load.
      if (this.#taking.get(key) !== taking) return;
      const request = { handoffId, serverId: this.#parts.serverId };
      await this.#parts.caller.call<AcceptHandoffResponse>((node, metadata, options, done) => node.authority.acceptHandoff(request, metadata, options, done), REPEATABLE_WRITE, { signal: abort.signal });
    } catch (thrown) {
      if (this.#taking.get(key) !== taking || abort.signal.aborted) return;
      this.#taking.delete(key);
      const error = asMeshError(thrown);
      this.#failed(region, error);
      // Refused: it has ended already. Else it ends by its time.
      await this.#abort(handoffId, error).catch((refused: unknown) => {
        this.#failed(region, refused);
      });
    }
  }

  async #load(region: Region, why: TakeReason, signal: AbortSignal): Promise<void> {
    await this.#handlers.load(region, why, signal);
  }

  /** The directory says that the region is this server's: under which epoch, and whether that still holds, `acquire` says. */
  #given(authority: RegionAuthority, why: TakeReason): void {
    const { region, regionText, epoch } = authority;
    this.#overtaken(authority);
    if (this.#closed || region === undefined || this.#beginning.has(regionText) || this.#giving.has(regionText)) return;
    if (this.#parts.authority.knows(region, epoch)) return;
    // The target of a handoff has loaded the region, or is about to, however it hears of the end.
    const reason = this.#taking.has(regionText) ? "handoff" : why;
    this.#beginning.set(regionText, reason);
    void this.#begin(region, reason);
  }

  async #begin(region: Region, why: TakeReason): Promise<void> {
    const key = formatRegion(region);
    const taking = this.#taking.get(key);
    this.#taking.delete(key);
    let lease: HeldLease | undefined;
    try {
      lease = await this.#parts.authority.acquire(region);
      await (taking?.loaded ?? this.#load(region, why, new AbortController().signal));
      // It took its time, and the lease may be over.
      if (lease.held) {
        const begun: unknown = this.#handlers.begin(lease, why);
        await begun;
      }
    } catch (thrown) {
      if (lease !== undefined) await this.#parts.authority.release(lease).catch(MeshError.from);
      this.#failed(region, thrown);
    } finally {
      this.#beginning.delete(key);
    }
  }

  // ---- a region goes ----

  async #giveRegion(region: Region, { handoffId, toServerId, epoch }: Handoff): Promise<void> {
    const key = formatRegion(region);
    const lease = this.#parts.authority.leaseOf(region);
    if (this.#closed || lease?.epoch !== epoch || this.#giving.has(key)) return;
    const giving: Giving<Action> = { handoffId, lease, held: [], committing: false };
    this.#giving.set(key, giving);
    try {
      await this.#handlers.drain(lease, toServerId);
    } catch (thrown) {
      const error = asMeshError(thrown);
      this.#failed(region, error);
      return this.#takeBack(giving, error);
    }
    if (this.#giving.get(key) !== giving || !lease.held) return this.#endGiving(giving);
    giving.committing = true;
    // From here on the region is not written any more, whatever the answer is and however late it comes.
    this.#parts.authority.handOver(lease);
    await this.#commit(giving, toServerId);
  }

  /** Goes on where the lease runs; else what was kept back is for whoever has the region now. */
  #endGiving(giving: Giving<Action>): void {
    const { lease, held } = giving;
    if (!lease.held) return this.#passOn(giving, this.#unlessMe(this.ownerOf(lease.region)?.owner));
    if (this.#isMine(giving)) this.#resume(lease, held);
  }

  #passOn(giving: Giving<Action>, owner: GameServer | undefined): void {
    if (!this.#isMine(giving)) return;
    this.#parts.authority.handOver(giving.lease);
    callGame(this.#parts.onError, "follow's handedOver", () => this.#handlers.handedOver(giving.lease.region, owner, giving.held));
  }

  #resume(lease: HeldLease, held: readonly Action[]): void {
    callGame(this.#parts.onError, "follow's resume", () => this.#handlers.resume(lease, held));
  }

  #failed(region: Region, thrown: unknown): void {
    // What fails because nobody follows any more is no news.
    if (this.#closed) return;
    callGame(this.#parts.onError, "follow's failed", () => this.#handlers.failed(region, asMeshError(thrown)));
  }

  /** Whether it was under way: what was kept back has one receiver. */
  #isMine(giving: Giving<Action>): boolean {
    const key = formatRegion(giving.lease.region);
    return this.#giving.get(key) === giving && this.#giving.delete(key);
  }

  async #commit(giving: Giving<Action>, toServerId: number): Promise<void> {
    const request = { handoffId: giving.handoffId, serverId: this.#parts.serverId };
    try {
      const { handoff, owner } = await this.#parts.caller.call<CommitHandoffResponse>((node, metadata, options, done) => node.authority.commitHandoff(request, metadata, options, done), REPEATABLE_WRITE);
      this.#passOn(giving, owner ?? this.#ownerNamed(giving.lease.region, toServerId));
      if (handoff !== undefined) this.#onHandoff(handoff);
    } catch (thrown) {
      await this.#takeBack(giving, MeshError.from(thrown));
    }
  }

  /**
   * This side can't go on, or its commit was refused, or nobody knows. With an abort first no commit comes late; then who owns the
   * region is asked by taking it. Where the handoff may be under way nothing is taken.
   */
  async #takeBack(giving: Giving<Action>, error: MeshError): Promise<void> {
    const { handoffId, lease } = giving;
    const { region } = lease;
    if (this.#giving.get(formatRegion(region)) !== giving) return;
    try {
      await this.#abort(handoffId, error);
      const taken = await this.#parts.authority.acquire(region);
      if (taken.epoch === lease.epoch && taken.held && this.#isMine(giving)) return this.#resume(taken, giving.held);
      // Under another epoch others may have owned it in between: what is loaded here is old.
      if (taken !== lease) await this.#parts.authority.release(taken);
    } catch (refused) {
      this.#failed(region, refused);
    }
    this.#endGiving(giving);
  }

  /** Resolves once the handoff is not under way. Rejects: nobody knows. */
  async #abort(handoffId: string, error: MeshError): Promise<void> {
    const request = { handoffId, serverId: this.#parts.serverId, reason: error.message.slice(0, REASON_CHARS) };
    try {
      await this.#parts.caller.call<AbortHandoffResponse>((node, metadata, options, done) => node.authority.abortHandoff(request, metadata, options, done), REPEATABLE_WRITE);
    } catch (thrown) {
      const refused = MeshError.from(thrown);
      if (refused.reason !== "HANDOFF_PHASE" && refused.reason !== "NOT_FOUND") throw refused;
    }
  }

  #ownerNamed(region: Region, serverId: number): GameServer | undefined {
    const owner = this.ownerOf(region)?.owner;
    return owner?.serverId === serverId ? owner : undefined;
  }

  #unlessMe(owner: GameServer | undefined): GameServer | undefined {
    return owner?.serverId === this.#parts.serverId ? undefined : owner;
  }
}

/** What is not the mesh's error is the game's: its message says so. */
function asMeshError(thrown: unknown): MeshError {
  if (thrown instanceof MeshError) return thrown;
  return new MeshError("INTERNAL", `the game's handler failed: ${thrown instanceof Error ? thrown.message : String(thrown)}`, { cause: thrown });
}
