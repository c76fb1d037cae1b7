/** Sessions: read your writes, monotonic reads, on any node, across connections. */
import type { Decision, DeliveredEvent, LogPosition, Operation, PublishResponse, ReadResponse, ReadSnapshotResponse, SessionToken, TransactResponse, VectorClock, VectorClockEntry } from "@statemesh/contract";
import type { PublishSpec, ReadSpec, SnapshotSpec } from "./mesh-client.ts";
import type { Subscription, SubscriptionTarget } from "./subscription.ts";
import type { CallLimits } from "./unary-caller.ts";

/** The calls that a session makes; a MeshClient has them. */
export interface SessionCalls {
  execute(operation: Operation, limits?: CallLimits): Promise<Decision>;
  transact(operations: readonly Operation[], transactionId?: string, limits?: CallLimits): Promise<TransactResponse>;
  publish(spec: PublishSpec, limits?: CallLimits): Promise<PublishResponse>;
  read(spec: ReadSpec, limits?: CallLimits): Promise<ReadResponse>;
  readSnapshot(parts: readonly SnapshotSpec[], limits?: CallLimits): Promise<ReadSnapshotResponse>;
  subscribe(target: SubscriptionTarget): Subscription;
}

/** Calls of one user, such as a player: each sees at least what those before it have seen and written. */
export class MeshSession {
  readonly #calls: SessionCalls;
  #token: SessionToken;

  constructor(calls: SessionCalls, token: SessionToken = { positions: [], causal: undefined, eventual: [] }) {
    this.#calls = calls;
    this.#token = token;
  }

  /** What the session has seen: `client.session(token)` continues there, also in another process. */
  get token(): SessionToken {
    return this.#token;
  }

  /** Decides one strong operation, as the client does; what the session reads from now on holds it. */
  async execute(operation: Operation, limits?: CallLimits): Promise<Decision> {
    const decision = await this.#calls.execute(operation, limits);
    this.#reached([decision.position]);
    return decision;
  }

  /** Decides several operations together, as the client does; what the session reads from now on holds them. */
  async transact(operations: readonly Operation[], transactionId?: string, limits?: CallLimits): Promise<TransactResponse> {
    const response = await this.#calls.transact(operations, transactionId, limits);
    this.#reached(response.decisions.map(({ position }) => position));
    return response;
  }

  /** Events follow everything that the session has seen of events. */
  async publish(spec: Omit<PublishSpec, "session">, limits?: CallLimits): Promise<PublishResponse> {
    const response = await this.#calls.publish({ ...spec, session: this.#token }, limits);
    this.saw(response.session);
    return response;
  }

  /** At any level the answer is not older than what the session has seen. */
  async read(spec: Omit<ReadSpec, "session">, limits?: CallLimits): Promise<ReadResponse> {
    const response = await this.#calls.read({ ...spec, session: this.#token }, limits);
    this.saw(response.session);
    return response;
  }

  /** The snapshot is of a moment after the call began, so that it holds all that the session has seen of groups' logs. */
  async readSnapshot(parts: readonly SnapshotSpec[], limits?: CallLimits): Promise<ReadSnapshotResponse> {
    const response = await this.#calls.readSnapshot(parts, limits);
    this.#reached(response.positions);
    return response;
  }

  /** Follows regions from where the session stands now: what it wrote and saw is in the first snapshot, on whatever node. */
  subscribe(target: Omit<SubscriptionTarget, "session">): Subscription {
    return this.#calls.subscribe({ ...target, session: this.#token });
  }

  /** A subscription gave an event: what the session publishes from now on follows it. */
  delivered({ id }: DeliveredEvent): void {
    if (id !== undefined) this.#token = { ...this.#token, causal: merge(this.#token.causal ?? { entries: [] }, { entries: [id] }) };
  }

  /** Takes in what another session has seen, or an answer: of each group, origin and node the highest. */
  saw(token: SessionToken | undefined): void {
    if (token === undefined) return;
    const { causal } = this.#token;
    this.#token = {
      positions: this.#token.positions,
      causal: causal === undefined || token.causal === undefined ? (causal ?? token.causal) : merge(causal, token.causal),
      eventual: newestStarts([...this.#token.eventual, ...token.eventual]),
    };
    this.#reached(token.positions);
  }

  #reached(positions: readonly (LogPosition | undefined)[]): void {
    const byGroup = new Map(this.#token.positions.map((position) => [position.groupId, position]));
    for (const position of positions) if (position !== undefined && position.index > (byGroup.get(position.groupId)?.index ?? 0)) byGroup.set(position.groupId, position);
    this.#token = { ...this.#token, positions: [...byGroup.values()].sort((a, b) => a.groupId - b.groupId) };
  }
}

/** The highest sequence of each origin, ordered by origin. */
function highest(entries: readonly VectorClockEntry[]): VectorClockEntry[] {
  const byOrigin = new Map<number, VectorClockEntry>();
  for (const entry of entries) if (entry.sequence > (byOrigin.get(entry.origin)?.sequence ?? 0)) byOrigin.set(entry.origin, entry);
  return [...byOrigin.values()].sort((a, b) => a.origin - b.origin);
}

function merge(a: VectorClock, b: VectorClock): VectorClock {
  const entries = highest([...a.entries, ...b.entries]);
  return a.collapsed === true || b.collapsed === true ? { entries, collapsed: true } : { entries };
}

/** Of each node only its newest start counts: an origin is the node's number, then its start's. */
function newestStarts(entries: readonly VectorClockEntry[]): VectorClockEntry[] {
  const nodeOf = ({ origin }: VectorClockEntry): number => Math.floor(origin / 0x1_0000_0000);
  const merged = highest(entries);
  return merged.filter((entry, at) => {
    const next = merged[at + 1];
    return next === undefined || nodeOf(next) !== nodeOf(entry);
  });
}
