import {
  type Decision, type Entity, type ExecuteResponse, type GetStatusResponse, type ListContainersResponse, MeshError, type Operation, type PublishRequest, type PublishResponse, ReadLevel, type ReadRequest,
  type ReadResponse, type ReadSnapshotResponse, type Region, type RegionAuthority, type RouteRequest, type RouteResponse, type SessionToken, type SnapshotPart, type TransactResponse, type VerifyConservationRequest, type VerifyConservationResponse,
} from "@statemesh/contract";
import { AuthorityWatch, type WatchTarget } from "./authority-watch.ts";
import { type ClientOptions, type CompiledClientOptions, compileClientOptions } from "./client-options.ts";
import { Heartbeats } from "./heartbeats.ts";
import { Escrows } from "./escrows.ts";
import { Healing } from "./healing.ts";
import type { HedgeCounts } from "./hedging.ts";
import { LeaderTable } from "./leader-table.ts";
import { LeaseKeeper } from "./lease-keeper.ts";
import { NodePool } from "./node-pool.ts";
import { checkRegionShape, OperationBuilder, type Place } from "./operation-builder.ts";
import { type PlaceActions, placeActions } from "./place-actions.ts";
import { OperationIds } from "./operation-id.ts";
import { OperationStream, type StreamOptions } from "./operation-stream.ts";
import { OwnerTable } from "./owner-table.ts";
import { RegionFollower, type RegionHandlers } from "./region-follower.ts";
import { MeshSession } from "./mesh-session.ts";
import { RegionStore } from "./region-store.ts";
import { RetryBudget } from "./retry.ts";
import type { StreamLimits } from "./reopening-stream.ts";
import { Subscription, type SubscriptionTarget } from "./subscription.ts";
import { type ConservationTarget, ConservationWatch } from "./conservation-watch.ts";
import { type PublisherOptions, UpdatePublisher } from "./update-publisher.ts";
import { ViewWatch } from "./view-watch.ts";
import { type CallLimits, OPERATION, READ_CALL, REPEATABLE_WRITE, SINGLE_WRITE, UnaryCaller } from "./unary-caller.ts";

/** A read: the region, and what differs from a linearizable read of all its entities. */
export type ReadSpec = Pick<ReadRequest, "region"> & Partial<Omit<ReadRequest, "region">>;

/** What a snapshot reads of one region: what is named, or everything. */
export type SnapshotSpec = Pick<SnapshotPart, "region"> & Partial<SnapshotPart>;

/** What to publish: updates and events, and what the caller has seen. */
export type PublishSpec = Partial<Omit<PublishRequest, "serverId">>;

/** A game server's connection to the mesh. Errors are MeshErrors. */
export class MeshClient {
  /** The id of this game server. */
  readonly serverId: number;
  /** Makes operations of this server. */
  readonly operations: OperationBuilder;
  /** Registration and leases of this server. */
  readonly authority: LeaseKeeper;
  /** Says that this server is there, from its registration on; knows which nodes answer, and on which side of a split they are. */
  readonly heartbeats: Heartbeats;
  /** What became of operations that were kept during a partition. */
  readonly healing: Healing;
  /** Items set apart for this server, to be spent also while its node is cut off. */
  readonly escrows: Escrows;
  /** The region store; needs `storeEndpoints`. */
  readonly store: RegionStore;
  readonly #ids = new OperationIds();
  readonly #options: CompiledClientOptions;
  readonly #pool: NodePool;
  readonly #storePool: NodePool;
  readonly #budget: RetryBudget;
  readonly #leaders: LeaderTable;
  readonly #owners: OwnerTable;
  readonly #caller: UnaryCaller;
  readonly #streams = new Set<OperationStream>();
  readonly #followers = new Set<{ close(): void }>();
  readonly #publishers = new Set<UpdatePublisher>();
  #shutdown: Promise<void> | undefined;

  constructor(options: ClientOptions) {
    this.#options = compileClientOptions(options);
    this.serverId = this.#options.serverId;
    this.#pool = new NodePool(this.#options.endpoints, this.#options.messageBytesMax);
    this.#budget = new RetryBudget(this.#options.retryBudget, performance.now());
    this.#leaders = new LeaderTable(this.#pool, this.#options.routing === "leader");
    this.#caller = new UnaryCaller({ pool: this.#pool, options: this.#options, budget: this.#budget, leaders: this.#leaders });
    this.#storePool = new NodePool(this.#options.storeEndpoints, this.#options.messageBytesMax);
    const storeParts = { pool: this.#storePool, options: this.#options, budget: this.#budget, leaders: new LeaderTable(this.#storePool, false) };
    this.store = new RegionStore(this.#options.storeEndpoints.length === 0 ? undefined : new UnaryCaller(storeParts), () => this.nextId());
    this.#owners = new OwnerTable(async (region) => await this.#authorityOf(region));
    this.operations = new OperationBuilder(this.serverId, this.#ids);
    this.heartbeats = new Heartbeats(this.#pool, this.#options);
    this.authority = new LeaseKeeper(this.#caller, this.#options, (isKnown) => (isKnown ? this.heartbeats.start() : this.heartbeats.stop()));
    this.healing = new Healing(this.#caller, this.#pool, this.#options);
    this.escrows = new Escrows({ caller: this.#caller, pool: this.#pool, operations: this.operations, ids: this.#ids, execute: async (operation, limits) => await this.execute(operation, limits) });
  }

  /** A new id for an operation or a transaction. */
  nextId(): string {
    return this.#ids.next();
  }

  /** Decides one strong operation. Asks again under the same id until there is a decision or the deadline passes. */
  async execute(operation: Operation, limits?: CallLimits): Promise<Decision> {
    try {
      const response = await this.#caller.call<ExecuteResponse>(
        (node, metadata, options, done) => node.consistency.execute({ operation }, metadata, options, done), OPERATION, limits, operation.homeRegion,
      );
      if (response.decision === undefined) throw new MeshError("INTERNAL", "the mesh answered without a decision");
      return response.decision;
    } catch (error) {
      this.#noteFence(operation, MeshError.from(error));
      throw error;
    }
  }

  /**
   * The operations of a place in one call each: `await client.at(lease).itemPickup({ itemId, playerId })`.
   *
   * @param via what decides them; default: this client, one call each. A stream of `client.stream()` carries more of them.
   */
  at(place: Place, via: { execute(operation: Operation): Promise<Decision> } = this): PlaceActions {
    return placeActions(this.operations, place, async (operation) => await via.execute(operation));
  }

  /** A pipelined stream of strong operations; close it after use. @throws MeshError CANCELLED after `close` */
  stream(options: StreamOptions = {}): OperationStream {
    this.#checkOpen();
    const { backoffMinMs, backoffMaxMs, onError } = this.#options;
    const parts = { pool: this.#pool, budget: this.#budget, leaders: this.#leaders, onError, ended: () => this.#streams.delete(stream), refused: (operation: Operation, error: MeshError) => this.#noteFence(operation, error) };
    const stream = new OperationStream(parts, { backoffMinMs, backoffMaxMs, ...options });
    this.#streams.add(stream);
    return stream;
  }

  /** Decides several operations of one Raft group together: all or none. */
  async transact(operations: readonly Operation[], transactionId: string = this.nextId(), limits?: CallLimits): Promise<TransactResponse> {
    const request = { transactionId, operations: [...operations] };
    return await this.#caller.call(
      (node, metadata, options, done) => node.consistency.transact(request, metadata, options, done), OPERATION, limits, operations[0]?.homeRegion,
    );
  }

  /**
   * Publishes eventual updates and causal events. Updates alone are sent again where an answer is missing (the newest
   * write wins, so a repeat changes nothing as long as they carry a time); events are not: OUTCOME_UNKNOWN is the
   * caller's to judge.
   */
  async publish(spec: PublishSpec, limits?: CallLimits): Promise<PublishResponse> {
    const { updates = [], events = [], causalToken, session } = spec;
    const request: PublishRequest = { serverId: this.serverId, updates, events, causalToken, session };
    const repeatable = events.length === 0 && updates.every((update) => update.timestampMs > 0);
    return await this.#caller.call(
      (node, metadata, options, done) => node.consistency.publish(request, metadata, options, done),
      repeatable ? REPEATABLE_WRITE : SINGLE_WRITE,
      limits,
    );
  }

  /** Publishes the latest value of each key once a tick, for a game loop; close it after use. @throws MeshError CANCELLED after `close` */
  publisher(options: PublisherOptions = {}): UpdatePublisher {
    this.#checkOpen();
    const publisher = new UpdatePublisher(
      async (updates, signal) => await this.publish({ updates: [...updates] }, { signal }), { onError: this.#options.onError, ...options }, () => this.#publishers.delete(publisher),
    );
    this.#publishers.add(publisher);
    return publisher;
  }

  /** A session: its calls read what they wrote, and never go back, on whatever node. `token`: continue that of an earlier one. */
  session(token?: SessionToken): MeshSession {
    return new MeshSession(this, token);
  }

  /** Follows regions or a box. */
  subscribe(target: SubscriptionTarget): Subscription {
    return new Subscription(this.#pool, this.#options, target);
  }

  /** Partitions of the mesh: when one starts, changes and ends, on which side the asked node is, and which regions are affected. */
  watchView(limits: StreamLimits = {}): ViewWatch {
    return new ViewWatch(this.#pool, this.#options, limits);
  }

  /** Watches who owns what. */
  watch(target: WatchTarget = {}): AuthorityWatch {
    return new AuthorityWatch(this.#pool, this.#options, target);
  }

  /**
   * Does what the directory wants of this server: regions come and go by handoff, and where `maxRegions` is set it takes over what is
   * given to it. Register first.
   *
   * @throws MeshError CANCELLED after `close`
   */
  follow<Action = never>(handlers: RegionHandlers<Action>): RegionFollower<Action> {
    this.#checkOpen();
    const parts = { onError: this.#options.onError, serverId: this.serverId, caller: this.#caller, authority: this.authority, watch: () => this.watch({ serverId: this.serverId, neighbours: true }), nextId: () => this.nextId() };
    const follower = new RegionFollower(parts, handlers);
    this.#followers.add(follower);
    return follower;
  }

  /** Reads entities, balances and eventual values of a region. A read that takes longer than most may be asked of a second node too. */
  async read(spec: ReadSpec, limits?: CallLimits): Promise<ReadResponse> {
    checkRegionShape(spec.region, "region");
    const request: ReadRequest = {
      region: spec.region,
      level: spec.level ?? 0,
      entities: spec.entities ?? [],
      accounts: spec.accounts ?? [],
      containers: spec.containers ?? [],
      sessionPositions: spec.sessionPositions ?? [],
      maxStalenessMs: spec.maxStalenessMs ?? 0,
      pageSize: spec.pageSize ?? 0,
      pageToken: spec.pageToken ?? "",
      includeEventual: spec.includeEventual ?? false,
      session: spec.session,
    };
    const kind = { ...READ_CALL, hedge: `read ${request.level}` };
    // Only what the leader has to vouch for goes there; other reads are for any node to answer by itself.
    const near = request.level === ReadLevel.UNSPECIFIED || request.level === ReadLevel.LINEARIZABLE ? request.region : undefined;
    return await this.#caller.call((node, metadata, options, done) => node.consistency.read(request, metadata, options, done), kind, limits, near);
  }

  /**
   * Reads up to 64 regions, of any groups, as they were at one moment after the call began: a transaction is seen whole or not at all.
   *
   * @throws MeshError SNAPSHOT_CONTENDED where what it reads changes all the time: name what is needed, or read less
   */
  async readSnapshot(parts: readonly SnapshotSpec[], limits?: CallLimits): Promise<ReadSnapshotResponse> {
    const request = { parts: parts.map(({ region, entities = [], accounts = [] }) => ({ region, entities, accounts })) };
    return await this.#caller.call((node, metadata, options, done) => node.consistency.readSnapshot(request, metadata, options, done), READ_CALL, limits);
  }

  /**
   * The containers that a player holds directly, by group and id. Pages are asked for as they are read. One that goes from one group to another
   * meanwhile may be seen twice or not at all; what is in one is read with `read({ region, containers })`.
   *
   * @param region only what the group of this region keeps; left out: all of them
   */
  async *containersOf(playerId: string, { region, ...limits }: CallLimits & { readonly region?: Region } = {}): AsyncGenerator<Entity, void, undefined> {
    for (let pageToken = "", more = true; more; more = pageToken !== "") {
      const request = { playerId, region, pageSize: 0, pageToken };
      const page = await this.#caller.call<ListContainersResponse>((node, metadata, options, done) => node.consistency.listContainers(request, metadata, options, done), { ...READ_CALL, hedge: "containers" }, limits);
      yield* page.containers;
      pageToken = page.nextPageToken;
    }
  }

  /** Who owns a place, and which node leads its group. `assign`: where nobody owns it, it is given to a server first. */
  async route(place: NonNullable<RouteRequest["place"]>, limits: CallLimits & { readonly assign?: boolean } = {}): Promise<RouteResponse> {
    const { assign = false } = limits;
    const kind = assign ? REPEATABLE_WRITE : { ...READ_CALL, hedge: "route" };
    return await this.#caller.call((node, metadata, options, done) => node.authority.route({ place, assign }, metadata, options, done), kind, limits);
  }

  /**
   * Who owns a region, to send a player or an action to. Answers are remembered for a second, or until an operation of this client is
   * FENCED there. It may be out of date by then: the epoch protects the region, not this.
   */
  async ownerOf(region: Region, { signal }: Pick<CallLimits, "signal"> = {}): Promise<RegionAuthority> {
    this.#checkOpen();
    const owner = this.#owners.of(region);
    return signal === undefined ? await owner : await unlessAborted(owner, signal);
  }

  /** How many reads may have been, were, and paid off to be asked of a second node. */
  get hedges(): HedgeCounts {
    return this.#caller.hedging.counts;
  }

  /** The asked node's view of the cluster. */
  async status(limits?: CallLimits): Promise<GetStatusResponse> {
    return await this.#caller.call((node, metadata, options, done) => node.admin.getStatus({}, metadata, options, done), READ_CALL, limits);
  }

  /** Whether what was minted less what was burned is what is held. */
  async verifyConservation(limits?: CallLimits): Promise<VerifyConservationResponse> {
    return await this.#caller.call((node, metadata, options, done) => node.admin.verifyConservation({ scope: undefined }, metadata, options, done), READ_CALL, limits);
  }

  async #authorityOf(region: Region): Promise<RegionAuthority> {
    const { authority } = await this.route({ $case: "region", value: region });
    if (authority === undefined) throw new MeshError("INTERNAL", "the directory answered without a region");
    return authority;
  }

  /** A refusal for the epoch says who owns the region: not this server. */
  #noteFence({ homeRegion, authorityEpoch }: Operation, error: MeshError): void {
    if (error.reason !== "FENCED" || homeRegion === undefined) return;
    this.#owners.forget(homeRegion);
    this.authority.fenced(homeRegion, authorityEpoch, Number(error.metadata["current_epoch"] ?? 0));
  }

  /** What a region, a player or a container holds by kind and group, how it came to it, and whether that agrees. */
  async verifyItemsOf(whose: { readonly region: Region } | { readonly playerId: string } | { readonly containerId: string }, limits?: CallLimits): Promise<VerifyConservationResponse> {
    const scope: VerifyConservationRequest["scope"] =
      "region" in whose ? { $case: "region", value: whose.region } : "playerId" in whose ? { $case: "playerId", value: whose.playerId } : { $case: "containerId", value: whose.containerId };
    return await this.#caller.call((node, metadata, options, done) => node.admin.verifyConservation({ scope }, metadata, options, done), READ_CALL, limits);
  }

  /** Items as the asked node counts them with every posting, again and again: for a live view. `itemKinds`: only these. */
  watchConservation(target: ConservationTarget = {}): ConservationWatch {
    return new ConservationWatch(this.#pool, this.#options, target);
  }

  /**
   * Ends in good order: follows the directory no more, sends what publishers have, waits for what streams have undecided, releases the leases,
   * ends the registration, closes. What is not done by the deadline is left: undecided operations fail with OUTCOME_UNKNOWN, leases run out. Called again it is the same end.
   *
   * @throws MeshError the first thing that was not done, once everything is closed: DEADLINE_EXCEEDED, or why updates or a release failed
   */
  shutdown(limits: ShutdownLimits = {}): Promise<void> {
    this.#shutdown ??= this.#end(limits);
    return this.#shutdown;
  }

  /** As `shutdown`: for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  async #end({ deadlineMs = 5_000, signal }: ShutdownLimits): Promise<void> {
    const late = AbortSignal.timeout(deadlineMs);
    const over = signal === undefined ? late : AbortSignal.any([late, signal]);
    for (const follower of this.#followers) follower.close();
    const failures: unknown[] = [];
    const all = async (what: Iterable<Promise<unknown>>): Promise<void> => {
      for (const done of await Promise.allSettled(what)) if (done.status === "rejected") failures.push(done.reason);
    };
    await all([...this.#publishers].map(async (publisher) => await publisher.close({ signal: over })));
    await all([...this.#streams].map(async (stream) => await stream.drain(undefined, { signal: over })));
    await all(this.authority.leases.map(async (lease) => await this.authority.release(lease, { signal: over })));
    if (this.authority.isRegistered) await all([this.authority.unregister({ signal: over })]);
    this.close();
    if (failures.length === 0) return;
    if (late.aborted) throw new MeshError("DEADLINE_EXCEEDED", `the client was closed before everything was done, within ${deadlineMs} ms`, { cause: failures[0] });
    throw failures[0];
  }

  /**
   * Closes at once: streams (what is undecided fails with OUTCOME_UNKNOWN), publishers (what waits is dropped), subscriptions and watches (their
   * iterations end), followers, renewals (leases run out) and connections. Calls under way fail. Nothing of the client keeps the process, and
   * whatever is used of it from then on throws CANCELLED.
   */
  close(): void {
    for (const stream of [...this.#streams]) stream.close();
    for (const publisher of [...this.#publishers]) publisher.drop();
    for (const follower of this.#followers) follower.close();
    this.#followers.clear();
    this.authority.close();
    this.heartbeats.close();
    this.#pool.close();
    this.#storePool.close();
  }

  #checkOpen(): void {
    if (this.#pool.closed) throw new MeshError("CANCELLED", "the client is closed");
  }
}

/** How long a client may take to end. */
export interface ShutdownLimits {
  /** Longest time, ms. Default 5,000. */
  readonly deadlineMs?: number;
  /** Waits no longer, and closes. */
  readonly signal?: AbortSignal;
}

/** The promise, or CANCELLED where the caller gives up first. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(new MeshError("CANCELLED", "the caller gave up"));
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** Connects lazily: the first call opens the first connection. Throws INVALID_FIELD where an option is wrong. */
export function connect(options: ClientOptions): MeshClient {
  return new MeshClient(options);
}
