// Those who watch the directory on this node. A reader holds nothing but its place: it pulls what follows from one ring
// that all share, and where that does not go back far enough it begins anew with a snapshot.
import { AuthorityEvent, AuthorityEvent_Kind as Kind, MeshError, type Handoff, type WatchRequest, type WatchResponse } from "@statemesh/contract";
import type { Directory, DirectoryChange, GroupState, LeaseRow } from "@statemesh/replica";
import { hashOfCluster } from "../subscriptions/resume-token.ts";
import { ALL_OF_ENTRY, type EventPlace, EventRing } from "./event-ring.ts";
import { decodeWatchToken, encodeWatchToken } from "./watch-token.ts";
import { WatchScope } from "./watch-scope.ts";

/** Readers at a time, a node. */
export const WATCHES_MAX = 1_024;
const RING_CAPACITY = 8_192;
const ROWS_PER_MESSAGE = 512;
/** The last of them may bring the 26 neighbours of a region with it. */
const EVENTS_PER_MESSAGE = 256;
/** Events of others that one look passes over. */
const EVENTS_PER_LOOK = 4_096;
/** A reader hears at least this often while the directory's log grows, milliseconds. */
const MARK_MS = 1_000;

/** What the watch needs of its node. */
export interface WatchedNode {
  readonly clusterId: string;
  /** The directory's replica. */
  state(): GroupState;
  monotonicMs(): number;
  remainingMs(row: LeaseRow): number;
  /** A reader has something to read. */
  onReadable(watchId: number): void;
}

interface Snapshot {
  readonly rows: readonly LeaseRow[];
  readonly handoffs: readonly Handoff[];
  readonly index: number;
  /** Number of the first change that is not in it. */
  readonly next: number;
  sent: number;
}

interface Reader {
  readonly scope: WatchScope;
  snapshot: Snapshot | undefined;
  /** Number of the next change in the ring. */
  next: number;
  /** Where an earlier stream ended that this node has not reached yet. */
  ahead: EventPlace | undefined;
  /** The index that it was last told. */
  toldIndex: number;
  toldMs: number;
}

export class AuthorityWatch {
  readonly #node: WatchedNode;
  readonly #cluster: number;
  readonly #readers = new Map<number, Reader>();
  readonly #ring: EventRing;
  #lastId = 0;

  constructor(node: WatchedNode) {
    this.#node = node;
    this.#cluster = hashOfCluster(node.clusterId);
    this.#ring = new EventRing(RING_CAPACITY, node.state().appliedIndex);
  }

  get size(): number {
    return this.#readers.size;
  }

  get #directory(): Directory {
    return this.#node.state().directory;
  }

  /** Opens a watch and answers its id. Throws INVALID_FIELD, INVALID_RESUME_TOKEN, OVERLOADED. */
  open(request: WatchRequest): number {
    const scope = new WatchScope(request);
    const place = request.resumeToken === "" ? undefined : decodeWatchToken(request.resumeToken, this.#cluster);
    if (this.#readers.size >= WATCHES_MAX) throw new MeshError("OVERLOADED", `watches of the directory on this node: the limit of ${WATCHES_MAX} is reached`, { retryDelayMs: 1_000 });
    const reader: Reader = { scope, snapshot: undefined, next: 0, ahead: place, toldIndex: 0, toldMs: this.#node.monotonicMs() };
    if (place === undefined) this.#beginAnew(reader);
    else this.#resume(reader, place);
    this.#readers.set(++this.#lastId, reader);
    return this.#lastId;
  }

  close(watchId: number): void {
    this.#readers.delete(watchId);
  }

  #beginAnew(reader: Reader): void {
    reader.ahead = undefined;
    reader.snapshot = { rows: reader.scope.rows(this.#directory), handoffs: reader.scope.handoffs(this.#directory), index: this.#node.state().appliedIndex, next: this.#ring.end, sent: 0 };
  }

  /** A node that is behind the one that gave the token says nothing until it stands there: no reader is taken back. */
  #resume(reader: Reader, place: EventPlace): void {
    if (place.index > this.#node.state().appliedIndex) return;
    reader.ahead = undefined;
    reader.toldIndex = place.index;
    const next = this.#ring.after(place);
    if (next === undefined) this.#beginAnew(reader);
    else reader.next = next;
  }

  /** The directory's log did something. */
  changed(change: DirectoryChange): void {
    const { appliedIndex: index } = this.#node.state();
    for (const [ordinal, event] of change.events.entries()) this.#ring.push({ index, ordinal, event });
    if (change.events.length === 0) return;
    for (const watchId of this.#readers.keys()) this.#node.onReadable(watchId);
  }

  /** The directory was replaced by a snapshot: what changed is not known. */
  replaced(): void {
    this.#ring.reset(this.#node.state().appliedIndex);
    for (const [watchId, reader] of this.#readers) {
      if (reader.ahead === undefined || reader.ahead.index <= this.#node.state().appliedIndex) this.#beginAnew(reader);
      this.#node.onReadable(watchId);
    }
  }

  /** Wakes readers that have not heard for a while. Called every tick. */
  tick(): void {
    const nowMs = this.#node.monotonicMs();
    const index = this.#node.state().appliedIndex;
    for (const [watchId, reader] of this.#readers) if (index > reader.toldIndex && nowMs - reader.toldMs >= MARK_MS) this.#node.onReadable(watchId);
  }

  /** The next message; undefined where there is nothing to tell now. */
  next(watchId: number): WatchResponse | undefined {
    const reader = this.#readers.get(watchId);
    if (reader === undefined) return undefined;
    if (reader.ahead !== undefined) this.#resume(reader, reader.ahead);
    if (reader.ahead !== undefined) return undefined;
    if (reader.snapshot === undefined && !this.#ring.isKept(reader.next)) this.#beginAnew(reader);
    const response = reader.snapshot === undefined ? this.#changes(reader) : this.#part(reader, reader.snapshot);
    if (response !== undefined) reader.toldMs = this.#node.monotonicMs();
    return response;
  }

  #part(reader: Reader, snapshot: Snapshot): WatchResponse {
    const rows = snapshot.rows.slice(snapshot.sent, snapshot.sent + ROWS_PER_MESSAGE);
    const first = snapshot.sent === 0;
    snapshot.sent += rows.length;
    const last = snapshot.sent === snapshot.rows.length;
    const authorities = rows.map((row) => this.#authority(row));
    if (last) {
      reader.snapshot = undefined;
      reader.next = snapshot.next;
      reader.toldIndex = snapshot.index;
    }
    const handoffs = last ? [...snapshot.handoffs] : [];
    return this.#response({ $case: "snapshot", value: { authorities, handoffs, last, first } }, { index: snapshot.index, ordinal: ALL_OF_ENTRY }, last);
  }

  /** As it was when the snapshot was taken; who the owner is, is looked up now, which is at most newer. */
  #authority(row: LeaseRow) {
    const { tables } = this.#directory;
    const { regionText } = tables.authority(row.region, 0);
    const owner = row.serverId === 0 ? undefined : tables.server(row.serverId);
    return { region: row.region, regionText, owner, epoch: row.epoch, leaseRemainingMs: owner === undefined ? 0 : this.#node.remainingMs(row), backupServerIds: [...row.backups] };
  }

  #changes(reader: Reader): WatchResponse | undefined {
    const events: AuthorityEvent[] = [];
    let place: EventPlace | undefined;
    for (let looks = 0; looks < EVENTS_PER_LOOK && events.length < EVENTS_PER_MESSAGE; looks++) {
      const placed = this.#ring.at(reader.next);
      if (placed === undefined) break;
      reader.next++;
      place = { index: placed.index, ordinal: placed.ordinal + 1 };
      if (!reader.scope.concerns(placed.event, this.#directory)) continue;
      events.push(placed.event);
      // In the same message, so that no resumption comes between.
      for (const row of reader.scope.newlyBeside(placed.event, this.#directory)) {
        events.push(AuthorityEvent.fromPartial({ kind: Kind.NEIGHBOUR, authority: this.#directory.authority(row.region, row.durationMs) }));
      }
    }
    // With everything told the reader stands where the directory does.
    const { appliedIndex } = this.#node.state();
    if (this.#ring.at(reader.next) === undefined) place = { index: appliedIndex, ordinal: ALL_OF_ENTRY };
    if (place === undefined) return undefined;
    const isDue = this.#node.monotonicMs() - reader.toldMs >= MARK_MS && place.index > reader.toldIndex;
    if (events.length === 0 && !isDue) return undefined;
    reader.toldIndex = place.ordinal === ALL_OF_ENTRY ? place.index : place.index - 1;
    return this.#response({ $case: "changes", value: { events } }, place, true);
  }

  #response(event: NonNullable<WatchResponse["event"]>, place: EventPlace, isWhole: boolean): WatchResponse {
    // What stands at the place may be told in part: up to the entry before it everything was.
    const index = place.ordinal === ALL_OF_ENTRY ? place.index : place.index - 1;
    return { event, resumeToken: isWhole ? encodeWatchToken(place, this.#cluster) : "", position: { groupId: 0, term: 0, index } };
  }
}
