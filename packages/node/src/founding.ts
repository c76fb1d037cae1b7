// Whether this node may vote. A node that lost its data under its old name must not: it would forget the votes that it gave
// and the entries that it acknowledged, and a leader without them could be elected. So every folder has a number of
// its own. Nodes tell each other theirs, and once all have met, each writes down whom it met: the cluster is founded. A
// node with a new folder in a cluster that knows it by another one holds copies, but never votes.
import type { PeerHello } from "@statemesh/contract";
import type { Log } from "@statemesh/mesh";
import type { Disk } from "@statemesh/ports";
import { type FolderRecord, type KnownMember, writeRecord } from "./identity.ts";

export interface FoundingEvents {
  /** This node may vote from now on. */
  founded(): void;
  /** The peer comes with another folder than before: what it acknowledged is not there any more. */
  lostData(peer: number): void;
  /** The founding could not be written down. */
  failed(error: unknown): void;
}

export class Founding {
  readonly #folder: Disk;
  readonly #others: readonly number[];
  readonly #events: FoundingEvents;
  readonly #log: Log;
  #record: FolderRecord;
  /** Folders that peers said hello with since this process started, and whether they know this node by its folder. */
  readonly #met = new Map<number, { folderId: number; agrees: boolean }>();
  #strange = false;
  #writing = false;
  /** Records are written one after the other. */
  #written: Promise<void> = Promise.resolve();

  constructor(folder: Disk, record: FolderRecord, others: readonly number[], events: FoundingEvents, log: Log) {
    this.#folder = folder;
    this.#record = record;
    this.#others = others;
    this.#events = events;
    this.#log = log;
  }

  get isFounded(): boolean {
    return this.#record.founded;
  }

  get record(): FolderRecord {
    return this.#record;
  }

  /** Why this node does not vote; undefined where it does. */
  get problem(): string | undefined {
    if (this.#record.founded) return undefined;
    if (this.#strange) return "this node came back without its data: it holds copies, but does not vote";
    const missing = this.#others.filter((peer) => !this.#met.has(peer));
    return `first start of the cluster: waiting for ${missing.length === 0 ? "the others to agree" : `node ${missing.join(", ")}`}`;
  }

  /** What this node says of itself. */
  get hello(): Pick<PeerHello, "folderId" | "founded" | "known"> {
    const { folderId, founded, known } = this.#record;
    const entries = founded ? known : Object.fromEntries([...this.#met].map(([peer, { folderId: id }]) => [peer, id]));
    return { folderId, founded, known: Object.entries(entries).map(([peer, id]) => ({ nodeId: Number(peer), folderId: id })) };
  }

  /** Founds a cluster of one. */
  start(): void {
    if (!this.#record.founded && this.#others.length === 0) this.#found();
  }

  onHello({ nodeId: peer, folderId, founded, known }: PeerHello): void {
    const before = this.#met.get(peer)?.folderId ?? this.#record.known[peer];
    if (before !== undefined && before !== folderId) {
      this.#log.error("a peer came back with an empty data folder: it gets copies, but must be replaced to vote again", { peer });
      this.#events.lostData(peer);
    }
    const ownByPeer = known.find(({ nodeId }) => nodeId === this.#record.nodeId)?.folderId;
    this.#met.set(peer, { folderId, agrees: !founded || ownByPeer === this.#record.folderId });
    if (this.#record.founded) return;
    if (founded && ownByPeer !== this.#record.folderId && !this.#strange) {
      this.#strange = true;
      this.#log.error("the cluster knows this node by another data folder: it holds copies, but does not vote. Bring the old folder back, or replace the node", { peer });
    }
    if (this.#others.every((other) => this.#met.get(other)?.agrees === true)) this.#found();
  }

  /** The members on record: nodes are known by them from now on, and found by them after a restart. */
  remember(members: readonly KnownMember[]): void {
    if (!this.#record.founded || JSON.stringify(members) === JSON.stringify(this.#record.members)) return;
    const others = members.filter(({ nodeId }) => nodeId !== this.#record.nodeId);
    this.#record = { ...this.#record, members, known: Object.fromEntries(others.map(({ nodeId, folderId }) => [nodeId, folderId])) };
    this.#write(this.#record, () => undefined);
  }

  /** On disk before it has any effect. */
  #found(): void {
    if (this.#writing) return;
    this.#writing = true;
    const known = Object.fromEntries([...this.#met].map(([peer, { folderId }]) => [peer, folderId]));
    const record = { ...this.#record, founded: true, known };
    this.#write(record, () => {
      this.#record = record;
      this.#log.info("the cluster is founded", { known });
      this.#events.founded();
    });
  }

  #write(record: FolderRecord, done: () => void): void {
    this.#written = this.#written.then(async () => writeRecord(this.#folder, record)).then(done, (error: unknown) => this.#events.failed(error));
  }

  /** Resolves once everything is written down. */
  async settled(): Promise<void> {
    await this.#written;
  }
}
