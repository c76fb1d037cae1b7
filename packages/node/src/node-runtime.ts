// A whole node over its ports: folder, log, founding, peers, beat. A service adds the callers' doors to it.
import { type InstallSnapshotRequest, MeshError, type PeerHello } from "@statemesh/contract";
import { MeshNode, type NodeOptions, type RestoredGroup } from "@statemesh/mesh";
import { type Cancel, DiskError } from "@statemesh/ports";
import type { GroupStateOptions } from "@statemesh/replica";
import type { WalOptions } from "@statemesh/wal";
import { ArbiterPool } from "./arbiter-pool.ts";
import { Founding } from "./founding.ts";
import { type FolderRecord, claimFolder } from "./identity.ts";
import { NodeHost } from "./node-host.ts";
import type { NodePorts } from "./node-ports.ts";
import { PROTOCOL_MAX, PROTOCOL_MIN, PeerDoor } from "./peer-door.ts";
import { PeerLink } from "./peer-link.ts";
import { SnapshotSender } from "./snapshot-sender.ts";
import { receiveSnapshot } from "./snapshot-transfer.ts";
import { Storage } from "./storage.ts";

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
}

export class NodeRuntime {
  readonly mesh: MeshNode;
  readonly storage: Storage;
  readonly sender: SnapshotSender;
  readonly founding: Founding;
  readonly links: ReadonlyMap<number, PeerLink>;
  readonly door: PeerDoor;
  readonly #options: RuntimeOptions;
  readonly #ports: NodePorts;
  readonly #arbiters: ArbiterPool;
  readonly #clientAddresses = new Map<number, string>();
  #cancels: Cancel[] = [];
  #receiving = 0;
  /** Snapshots that were taken in from peers, for metrics. */
  received = 0;

  /** Claims the folder and reads what it holds. Nothing is sent before `start`. */
  static async open(options: RuntimeOptions, ports: NodePorts): Promise<NodeRuntime> {
    const { clusterId, nodeId, groups, decisionWindow } = options;
    const record = await claimFolder(ports.disks.folder, { clusterId, nodeId, groups, decisionWindow }, ports.random);
    const { storage, restored } = await Storage.open(ports, (groupId) => stateOptions(options, groupId), ports.peers.size === 0 ? undefined : groups, options.wal);
    return new NodeRuntime(options, ports, record, storage, restored);
  }

  private constructor(options: RuntimeOptions, ports: NodePorts, record: FolderRecord, storage: Storage, restored: ReadonlyMap<number, RestoredGroup>) {
    this.#options = options;
    this.#ports = ports;
    this.storage = storage;
    this.#clientAddresses.set(options.nodeId, options.clientAddress);
    this.#arbiters = new ArbiterPool(ports.arbiters, options.arbiterTimeoutMs, ports.clock, (task) => ports.defer(task), ports.log);
    const events = { connected: (peer: number) => this.mesh.peerConnected(peer), disconnected: (peer: number) => this.mesh.peerDisconnected(peer) };
    const links = new Map<number, PeerLink>();
    for (const [peer, transport] of ports.peers) links.set(peer, new PeerLink(peer, transport, () => this.hello, events, ports.timers, ports.log));
    this.links = links;
    const members = [options.nodeId, ...ports.peers.keys()].sort((a, b) => a - b);
    this.sender = new SnapshotSender({ ...ports, snapshots: storage.snapshots }, options.snapshotBytesPerSecond);
    const host = new NodeHost({ storage, sender: this.sender, links, arbiters: this.#arbiters, ports });
    this.mesh = new MeshNode({ ...options, members, materialize: ports.store !== undefined }, host, restored);
    this.founding = new Founding(
      ports.disks.folder,
      record,
      [...ports.peers.keys()],
      { founded: () => this.mesh.allowVotes(), lostData: (peer) => this.mesh.peerLostData(peer), failed: (error) => ports.fail(error) },
      ports.log,
    );
    this.door = new PeerDoor(
      { ...options, members: new Set(members) },
      { hello: (hello) => this.#onHello(hello), frame: (peer, frame) => this.mesh.onFrame(peer, frame) },
    );
  }

  /** What this node says of itself. */
  get hello(): PeerHello {
    const { nodeId, clusterId, clientAddress, groups, decisionWindow, leaseReads } = this.#options;
    const own = { damagedGroups: this.mesh.repairs.damagedGroups, terms: this.mesh.groups.map((group) => group.core.term) };
    return { ...this.founding.hello, ...own, protocolMin: PROTOCOL_MIN, protocolMax: PROTOCOL_MAX, nodeId, clusterId, clientAddress, groups, decisionWindow, leaseReads };
  }

  #onHello(hello: PeerHello): void {
    this.#clientAddresses.set(hello.nodeId, hello.clientAddress);
    this.founding.onHello(hello);
    // Before anything that the peer sends on this stream: what it asks is answered on the ground of what it has.
    this.mesh.repairs.peerSaid(hello.nodeId, hello.damagedGroups, hello.terms);
    this.mesh.peerReturned(hello.nodeId);
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
      const { meta, message, state } = await receiveSnapshot(parts, this.storage.snapshots, this.#options.groups, (groupId) => stateOptions(this.#options, groupId));
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
    if (this.founding.isFounded) this.mesh.allowVotes();
    this.founding.start();
    const { timers } = this.#ports;
    this.#cancels = [timers.every(this.#options.tickMs, () => this.#tick()), timers.every(TRIM_PERIOD_MS, () => this.#trim()), timers.every(SEAL_PERIOD_MS, () => this.storage.seal())];
    for (const link of this.links.values()) link.open();
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

  async close(): Promise<void> {
    for (const cancel of this.#cancels) cancel();
    this.mesh.stop();
    for (const link of this.links.values()) link.close();
    this.#arbiters.close();
    this.#ports.store?.close();
    await this.storage.close();
  }
}

function stateOptions({ decisionWindow, touchCapacity }: RuntimeOptions, groupId: number): GroupStateOptions {
  return { groupId, decisionWindow, touchCapacity };
}
