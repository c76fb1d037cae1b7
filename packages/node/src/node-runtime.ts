// A whole node over its ports: folder, log, founding, peers, beat. A service adds the callers' doors to it.
import { type IdentifyResponse, type InstallSnapshotRequest, type Member, MemberState, MeshError, type PeerHello, type StreamRequest, type TentativeOperation } from "@statemesh/contract";
import { MeshNode, type NodeOptions, type RestoredGroup } from "@statemesh/mesh";
import { type Cancel, DiskError } from "@statemesh/ports";
import { type GroupStateOptions, SNAPSHOT_HELLO_VERSION, VERSIONS, commandOf } from "@statemesh/replica";
import { DIRECTORY_GROUP } from "@statemesh/world";
import type { WalOptions } from "@statemesh/wal";
import type { EscrowLogRecord } from "@statemesh/contract/log";
import { ArbiterPool } from "./arbiter-pool.ts";
import { ArbiterReports } from "./arbiter-reports.ts";
import { EscrowLog } from "./escrow-log.ts";
import { Founding } from "./founding.ts";
import { type FolderRecord, type KnownMember, beginStart, claimFolder, takePlace } from "./identity.ts";
import { NodeHost } from "./node-host.ts";
import type { NodePorts } from "./node-ports.ts";
import { PeerBook } from "./peer-book.ts";
import { PeerDoor } from "./peer-door.ts";
import { PeerLink } from "./peer-link.ts";
import { SnapshotSender } from "./snapshot-sender.ts";
import { receiveSnapshot } from "./snapshot-transfer.ts";
import { Storage } from "./storage.ts";
import { TentativeLog } from "./tentative-log.ts";
import { identityOf } from "./waiting-room.ts";

/** Snapshots that are taken in at a time. Each holds a whole state in memory beside the one that it replaces. */
const RECEIVED_AT_A_TIME = 4;
/** How often the log is looked at for segments that only quiet groups hold. */
const TRIM_PERIOD_MS = 5_000;
/** How often the log's end is sealed, where something was written. */
const SEAL_PERIOD_MS = 1_000;
/** How long a node that goes down waits for others to take over its groups, and how often it looks. */
const HANDOVER_MS = 1_500;
const HANDOVER_LOOK_MS = 20;

/** Groups that are given room in the log for what makes a snapshot due, at most: of many only few are busy at a time. */
const GROUPS_AT_ONCE = 16;
/** Groups that a node that is not ready names, at most. */
const GROUPS_NAMED = 8;

export interface RuntimeOptions extends Omit<NodeOptions, "members" | "materialize"> {
  readonly arbiterTimeoutMs: number;
  /** What snapshots to peers may take of the network. */
  readonly snapshotBytesPerSecond: number;
  /** Where clients reach this node. */
  readonly clientAddress: string;
  /** Segments of the log; absent: the log's own defaults. */
  readonly wal?: WalOptions;
  /** Where other nodes reach it. Default: where clients do. */
  readonly peerAddress?: string;
}

/** What this node finds on its disk. */
interface OnDisk {
  readonly storage: Storage;
  readonly restored: ReadonlyMap<number, RestoredGroup>;
  readonly tentative: TentativeLog;
  /** Operations that it kept during a partition. */
  readonly kept: readonly TentativeOperation[];
  readonly escrows: EscrowLog;
  /** What it knows of the escrows that it keeps. */
  readonly held: readonly EscrowLogRecord[];
}

/** How long a node tries to have its new address put on record before it tries anew. */
const MOVE_MS = 5_000;

export class NodeRuntime {
  readonly mesh: MeshNode;
  readonly storage: Storage;
  readonly sender: SnapshotSender;
  readonly founding: Founding;
  readonly peers: PeerBook;
  readonly door: PeerDoor;
  readonly #options: RuntimeOptions;
  readonly #ports: NodePorts;
  readonly #host: NodeHost;
  readonly #tentative: TentativeLog;
  readonly #escrows: EscrowLog;
  readonly #arbiters: ArbiterPool;
  readonly #clientAddresses = new Map<number, string>();
  /** By node, as it said last. */
  readonly #policyDigests = new Map<number, string>();
  #cancels: Cancel[] = [];
  #receiving = 0;
  /** Snapshots that were taken in from peers, for metrics. */
  received = 0;
  /** Why this node is not a member any more; empty while it is. */
  #removed = "";
  #moving = false;
  #placed = false;

  /** Claims the folder and reads what it holds. Nothing is sent before `start`. */
  static async open(options: RuntimeOptions, ports: NodePorts): Promise<NodeRuntime> {
    const { clusterId, nodeId, groups, decisionWindow } = options;
    const founders = [nodeId, ...ports.peers.keys()].sort((one, other) => one - other);
    const claimed = await claimFolder(ports.disks.folder, { clusterId, nodeId, groups, decisionWindow }, founders, ports.random);
    const hasPeers = ports.peers.size > 0 || claimed.members.some((member) => member.nodeId !== claimed.nodeId);
    const { storage, restored } = await Storage.open(ports, (groupId) => stateOptions(options, groupId), hasPeers ? groups : undefined, claimed.founded && !claimed.isUnused, options.wal);
    const { tentative, kept } = await TentativeLog.open(ports.disks.folder, ports.log, (error) => ports.fail(error));
    const { escrows, held } = await EscrowLog.open(ports.disks.folder, ports.log, (error) => ports.fail(error));
    const record = await beginStart(ports.disks.folder, claimed, options.incarnation);
    return new NodeRuntime({ ...options, nodeId: record.nodeId, incarnation: record.incarnation }, ports, record, { storage, restored, tentative, kept, escrows, held });
  }

  private constructor(options: RuntimeOptions, ports: NodePorts, record: FolderRecord, { storage, restored, tentative, kept, escrows, held }: OnDisk) {
    this.#options = options;
    this.#ports = ports;
    this.storage = storage;
    this.#tentative = tentative;
    this.#escrows = escrows;
    this.#clientAddresses.set(options.nodeId, options.clientAddress);
    this.#arbiters = new ArbiterPool(ports.arbiters, options.arbiterTimeoutMs, ports.clock, (task) => ports.defer(task), ports.log);
    const events = {
      connected: (peer: number) => this.mesh.peerConnected(peer),
      disconnected: (peer: number) => this.mesh.peerDisconnected(peer),
      removed: (reason: string) => this.#retire(reason),
    };
    this.peers = new PeerBook({
      nodeId: options.nodeId,
      mesh: () => this.mesh,
      founding: () => this.founding,
      ports,
      makeLink: (peer, transport) => new PeerLink(peer, transport, () => this.#helloFor(peer), events, ports.timers, ports.log),
    });
    this.sender = new SnapshotSender({ ...ports, snapshots: storage.snapshots }, options.snapshotBytesPerSecond);
    const hello = (peer: number): PeerHello | undefined => (this.mesh.versions.max < SNAPSHOT_HELLO_VERSION ? undefined : this.#helloFor(peer));
    this.#host = new NodeHost({ storage, tentative, escrows, sender: this.sender, hello, links: this.peers.links, arbiters: this.#arbiters, ports });
    this.mesh = new MeshNode({ ...options, members: record.founders, materialize: ports.store !== undefined }, this.#host, restored, kept, held);
    const reports = new ArbiterReports(ports.arbiters, this.mesh, options.clusterId);
    this.mesh.views.onBeat = (heartbeats) => reports.send(heartbeats);
    this.mesh.onMembers = () => ports.defer(() => this.#membersChanged());
    this.founding = new Founding(
      ports.disks.folder,
      record,
      record.founders.filter((nodeId) => nodeId !== options.nodeId),
      { founded: () => this.#founded(), lostData: (peer) => this.mesh.peerLostData(peer), failed: (error) => ports.fail(error) },
      ports.log,
    );
    this.door = new PeerDoor(
      { ...options, versions: this.mesh.versions },
      {
        clusterVersion: () => this.mesh.membership.version,
        refuses: (nodeId) => this.peers.refuses(nodeId),
        hello: (hello) => this.#onHello(hello),
        frame: (peer, frame) => this.mesh.onFrame(peer, frame),
      },
    );
    this.peers.sync();
  }

  get links(): ReadonlyMap<number, PeerLink> {
    return this.peers.links;
  }

  get #peerAddress(): string {
    return this.#options.peerAddress ?? this.#options.clientAddress;
  }

  /** What this node says of itself to a peer. */
  #helloFor(peer: number): PeerHello {
    const { nodeId, clusterId, clientAddress, groups, decisionWindow, leaseReads } = this.#options;
    const { min: protocolMin, max: protocolMax } = this.mesh.versions;
    const clusterVersion = this.mesh.membership.version;
    const place = { address: this.#peerAddress, members: this.peers.known(), toNodeId: peer, clusterVersion };
    const own = { damagedGroups: this.mesh.repairs.damagedGroups, terms: this.mesh.groups.map((group) => group.core.term) };
    return { ...this.founding.hello, ...place, ...own, protocolMin, protocolMax, nodeId, clusterId, clientAddress, groups, decisionWindow, leaseReads, policyDigest: this.mesh.options.policy.digest };
  }

  /** How much of a group's snapshot has left for each node that gets one, in percent. */
  snapshotPercent(groupId: number): ReadonlyMap<number, number> {
    return this.#host.snapshotPercent.get(groupId) ?? new Map();
  }

  identify(): IdentifyResponse {
    return identityOf(this.founding.record, { leaseReads: this.#options.leaseReads, versions: this.mesh.versions });
  }

  /** A stream that a peer opened. A hello that gives this folder another place in the cluster is for nobody else to read. */
  stream(): (frame: StreamRequest) => number | undefined {
    const take = this.door.stream();
    return (frame) => {
      if (frame.hello?.clusterId === this.#options.clusterId && frame.hello.founded) {
        this.#seePlace(frame.hello.members);
        this.#seeMembers(frame.hello.members);
      }
      return take(frame);
    };
  }

  #founded(): void {
    this.mesh.allowVotes();
    this.#nameFounders();
  }

  /** What the first record of members will say. */
  #nameFounders(): void {
    const { founders, known, folderId } = this.founding.record;
    const { nodeId: own } = this.#options;
    const members = founders.map((nodeId): Member => ({
      nodeId,
      address: nodeId === own ? this.#peerAddress : (this.#ports.peers.get(nodeId)?.address ?? ""),
      folderId: nodeId === own ? folderId : (known[nodeId] ?? 0),
      state: MemberState.VOTER,
    }));
    if (members.every((member) => member.address !== "" && member.folderId !== 0)) this.mesh.members.foundedBy(members);
  }

  /** A node that lost its data was replaced, by itself under another id. */
  #seePlace(members: readonly KnownMember[]): void {
    const { record } = this.founding;
    const place = record.founded || this.#placed ? undefined : members.find(({ folderId, nodeId }) => folderId === record.folderId && nodeId !== record.nodeId);
    if (place === undefined) return;
    this.#placed = true;
    const { disks, log, placed, fail } = this.#ports;
    this.founding
      .settled()
      .then(async () => takePlace(disks.folder, record, place.nodeId, members))
      .then(
        () => {
          log.info("the cluster gave this node a new place: it starts anew", { before: record.nodeId, nodeId: place.nodeId });
          placed?.(place.nodeId);
        },
        (error: unknown) => fail(error),
      );
  }

  /**
   * Members who came while this node was away: one of them may lead the group that would tell it of them, and must be let in for that.
   * Only who knows this folder as a member is believed, and only until the record here is as new.
   */
  #seeMembers(members: readonly KnownMember[]): void {
    const { record } = this.founding;
    if (!record.founded || !members.some(({ nodeId, folderId }) => nodeId === record.nodeId && folderId === record.folderId)) return;
    const { membership } = this.mesh;
    const highest = Math.max(membership.lastNodeId, ...this.peers.known().map(({ nodeId }) => nodeId));
    if (members.every(({ nodeId }) => nodeId <= highest)) return;
    this.founding.remember([...membership.members(), ...members.filter(({ nodeId }) => nodeId > membership.lastNodeId)].map(({ nodeId, address, folderId }) => ({ nodeId, address, folderId })));
    this.peers.sync();
  }

  /** The members on record may have changed. */
  #membersChanged(): void {
    if (this.#isClosed) return;
    const known = this.peers.known();
    const { membership } = this.mesh;
    this.#seePlace(known);
    this.founding.remember(known);
    this.peers.sync();
    const own = membership.member(this.#options.nodeId);
    if (own === undefined) {
      if (membership.isOnRecord && this.#options.nodeId <= membership.lastNodeId) this.#retire(`node ${this.#options.nodeId} was removed from the cluster`);
    } else if (own.address !== this.#peerAddress && own.folderId === this.founding.record.folderId) this.#move(own.folderId);
  }

  /** This node is reached elsewhere than the record says. */
  #move(folderId: number): void {
    if (this.#moving) return;
    this.#moving = true;
    const address = this.#peerAddress;
    const command = commandOf({ $case: "membership", value: { command: { $case: "move", value: { nodeId: this.#options.nodeId, folderId, address } }, nowMs: 0 } });
    this.mesh.relay.command(DIRECTORY_GROUP, command, this.#ports.clock.monotonicMs() + MOVE_MS, (_, error) => {
      this.#moving = false;
      if (error === undefined) return this.#ports.log.info("the address of this node is on record", { address });
      this.#membersChanged();
    });
    this.mesh.dirty();
  }

  #retire(reason: string): void {
    if (this.#removed !== "") return;
    this.#removed = reason;
    this.#ports.log.error("this node is not a member any more: it does nothing, stop it", { reason });
    this.mesh.retire();
  }

  #onHello(hello: PeerHello): void {
    this.#clientAddresses.set(hello.nodeId, hello.clientAddress);
    this.#seePolicy(hello);
    this.mesh.members.introduced(hello.nodeId, hello.protocolMax);
    this.founding.onHello(hello);
    // Before anything that the peer sends on this stream: what it asks is answered on the ground of what it has.
    this.mesh.repairs.peerSaid(hello.nodeId, hello.damagedGroups, hello.terms);
    this.mesh.peerReturned(hello.nodeId);
  }

  /** Both go on: leaders decide, each by its own policy, and which one that is should not depend on who leads. */
  #seePolicy({ nodeId, policyDigest }: PeerHello): void {
    const own = this.mesh.options.policy.digest;
    const isNews = this.#policyDigests.get(nodeId) !== policyDigest;
    this.#policyDigests.set(nodeId, policyDigest);
    if (isNews && policyDigest !== "" && policyDigest !== own) this.#ports.log.warn("a node goes by another policy: operations are decided by that of whoever leads", { node: nodeId, its: policyDigest, own });
  }

  /** Digest of the policy that a peer goes by; empty where it never said. */
  policyDigestOf(nodeId: number): string {
    return this.#policyDigests.get(nodeId) ?? "";
  }

  /** Peers of this node that go by another policy than it does. */
  get peersOfOtherPolicy(): number[] {
    const own = this.mesh.options.policy.digest;
    return [...this.links.keys()].filter((peer) => !["", own].includes(this.policyDigestOf(peer)));
  }

  /** Addresses of arbiters that go by another policy, and are not asked. */
  get arbitersOfOtherPolicy(): string[] {
    return this.#arbiters.ofOtherPolicy;
  }

  /** Where clients reach a node; empty where it never said. */
  clientAddressOf(nodeId: number): string {
    return this.#clientAddresses.get(nodeId) ?? "";
  }

  /** Takes a snapshot from a peer in; resolves once it is durable and in force. */
  async receiveSnapshot(parts: AsyncIterable<InstallSnapshotRequest>): Promise<void> {
    if (this.#receiving >= RECEIVED_AT_A_TIME) throw new MeshError("OVERLOADED", `this node takes ${RECEIVED_AT_A_TIME} snapshots at a time`, { retryDelayMs: 1_000 });
    this.#receiving++;
    try {
      const { meta, message, state } = await receiveSnapshot(parts, (first) => this.door.checkSender(first), this.storage.snapshots, this.#options.groups, (groupId) => stateOptions(this.#options, groupId));
      this.received++;
      this.mesh.onSnapshot(meta, message, state);
    } catch (error) {
      // A full disk is tried again later; after any other failed write nobody knows what the disk holds.
      if (error instanceof DiskError && !error.isNoSpace) this.#ports.fail(error);
      throw error;
    } finally {
      this.#receiving--;
    }
  }

  start(): void {
    if (this.founding.isFounded) this.#founded();
    this.founding.start();
    const { timers } = this.#ports;
    this.#cancels = [timers.every(this.#options.tickMs, () => this.#tick()), timers.every(TRIM_PERIOD_MS, () => this.#trim()), timers.every(SEAL_PERIOD_MS, () => this.storage.seal())];
    this.peers.open();
    this.mesh.dirty();
  }

  #tick(): void {
    // A leader goes on without its own disk, as long as others have one; what waits for the disk would grow without end.
    if (this.storage.isFull) this.mesh.leadership.stepDown();
    this.mesh.tick();
  }

  /** A group with few writes would keep the busy groups' old segments for ever. */
  #trim(): void {
    const { groups, snapshotLogBytes } = this.#options;
    if (this.storage.sizeBytes < (Math.min(groups, GROUPS_AT_ONCE) + 2) * snapshotLogBytes) return;
    for (const groupId of this.storage.oldestGroups) this.mesh.group(groupId).snapshot();
  }

  /** What keeps this node from serving. */
  get problems(): string[] {
    const { problem } = this.founding;
    if (this.#removed !== "") return [this.#removed];
    const leaderless = this.mesh.groups.filter((group) => group.leader === 0);
    const named = leaderless.slice(0, GROUPS_NAMED).map((group) => `group ${group.groupId} has no leader`);
    const more = leaderless.length - named.length;
    const damaged = this.mesh.repairs.damagedGroups.slice(0, GROUPS_NAMED).map((groupId) => `group ${groupId} was damaged on this disk and is being repaired from the other nodes`);
    return [...(problem === undefined ? [] : [problem]), ...damaged, ...named, ...(more === 0 ? [] : [`${more} more groups have no leader`])];
  }

  /** Lets other nodes lead before this one goes, so that callers notice nothing. */
  async handOver(): Promise<void> {
    const { clock, timers } = this.#ports;
    this.mesh.leadership.stepDown();
    const endMs = clock.monotonicMs() + HANDOVER_MS;
    while (clock.monotonicMs() < endMs && this.mesh.groups.some((group) => group.core.role === "leader")) {
      await new Promise<void>((resolve) => timers.after(HANDOVER_LOOK_MS, resolve));
    }
  }

  #isClosed = false;

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const cancel of this.#cancels) cancel();
    this.mesh.stop();
    this.peers.close();
    await this.founding.settled();
    this.#arbiters.close();
    this.#ports.store?.close();
    await this.#tentative.close();
    await this.#escrows.close();
    await this.storage.close();
  }
}

function stateOptions({ decisionWindow, touchCapacity, versions = VERSIONS }: RuntimeOptions, groupId: number): GroupStateOptions {
  return { groupId, decisionWindow, touchCapacity, versions };
}
