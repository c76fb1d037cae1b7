// Puts a node together: storage, peers, arbiters, store, services.
import { mkdirSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import type { PeerHello } from "@statemesh/contract";
import { MeshNode, leastLeaseElectionTicks } from "@statemesh/mesh";
import { ConfigurationError, type Logger, Registry, type RunningServer, startServer } from "@statemesh/service";
import { DEFAULT_POLICY, type Policy, parsePolicy } from "@statemesh/world";
import { adminService } from "./admin-service.ts";
import { ArbiterPool } from "./arbiter-pool.ts";
import { authorityService } from "./authority-service.ts";
import { consistencyService } from "./consistency-service.ts";
import { lockFolder } from "./folder-lock.ts";
import { Founding } from "./founding.ts";
import { claimFolder } from "./identity.ts";
import { registerMetrics } from "./metrics.ts";
import { NodeHost } from "./node-host.ts";
import { type NodeConfiguration, program } from "./options.ts";
import { PeerLink } from "./peer-link.ts";
import { PROTOCOL_MAX, PROTOCOL_MIN, peerService } from "./peer-service.ts";
import { receiveSnapshot } from "./snapshot-transfer.ts";
import { Storage } from "./storage.ts";
import { StoreLink } from "./store-link.ts";

/** How often the log is looked at for segments that only quiet groups hold. */
const TRIM_PERIOD_MS = 5_000;
/** How long a node that goes down waits for others to take over its groups. */
const HANDOVER_MS = 1_500;

/** Starts a node and serves. `ownsProcess`: handle signals, and exit where the node cannot go on. */
export async function serveNode(config: NodeConfiguration, log: Logger, ownsProcess: boolean): Promise<RunningServer> {
  const nodeId = nodeIdOf(config);
  const policy = policyOf(config);
  const advertised = config.advertiseAddress ?? config.peers.get(nodeId) ?? config.listenAddress;
  mkdirSync(config.dataDir, { recursive: true, mode: 0o700 });
  const lock = await lockFolder(config.dataDir);
  const record = claimFolder(config.dataDir, { clusterId: config.clusterId, nodeId, groups: config.groups, decisionWindow: config.decisionWindow });
  const stateOptions = (groupId: number) => ({ groupId, decisionWindow: config.decisionWindow, touchCapacity: config.touchCapacity });
  const { storage, restored } = await Storage.open(config.dataDir, stateOptions, log);
  const registry = new Registry();
  const arbiters = new ArbiterPool(addresses(config.arbiterAddress), config.arbiterTimeoutMs, log);
  const store = config.regionStoreAddress === undefined ? undefined : new StoreLink(config.regionStoreAddress, config.clusterId, config.regionStoreTimeoutMs, log);
  const hello = (): PeerHello => ({
    ...founding.hello,
    protocolMin: PROTOCOL_MIN,
    protocolMax: PROTOCOL_MAX,
    nodeId,
    clusterId: config.clusterId,
    clientAddress: advertised,
    groups: config.groups,
    decisionWindow: config.decisionWindow,
    leaseReads: config.leaseReads,
  });
  const links = new Map<number, PeerLink>();
  const clientAddresses = new Map<number, string>([[nodeId, advertised]]);
  const events = { connected: (peer: number) => node.peerConnected(peer), disconnected: (peer: number) => node.peerDisconnected(peer) };
  for (const [peer, address] of config.peers) if (peer !== nodeId) links.set(peer, new PeerLink(peer, address, hello, events, log));
  const fail = (error: unknown): void => {
    log.fatal({ err: error }, "the node cannot go on");
    if (ownsProcess) process.exit(1);
  };
  const host = new NodeHost({ storage, links, arbiters, store, log, fail });
  const node = new MeshNode(
    {
      nodeId,
      members: [...config.peers.keys()].sort((a, b) => a - b),
      groups: config.groups,
      policy,
      electionTicks: config.electionTicks,
      heartbeatTicks: config.heartbeatTicks,
      tickMs: config.tickMs,
      leaseReads: config.leaseReads,
      queueCapacity: config.queueCapacity,
      snapshotLogBytes: config.snapshotLogBytes,
      trailingEntries: config.trailingEntries,
      decisionWindow: config.decisionWindow,
      touchCapacity: config.touchCapacity,
      balanceTicks: config.balanceTicks,
      leaseMs: config.leaseMs,
      registrationTtlMs: config.registrationTtlMs,
      materialize: store !== undefined,
      clusterId: config.clusterId,
      incarnation: incarnation(),
    },
    host,
    restored,
  );
  const others = [...links.keys()];
  const founding = new Founding(config.dataDir, record, others, { founded: () => node.allowVotes(), lostData: (peer) => node.peerLostData(peer) }, log);
  if (founding.isFounded) node.allowVotes();
  founding.start();
  registerMetrics(registry, node, { storage, links, store });
  const clientAddressOf = (id: number): string => clientAddresses.get(id) ?? "";
  const { leaseMs, registrationTtlMs, defaultDeadlineMs } = config;
  const server = await startServer({
    name: program.name,
    config,
    log,
    registry,
    ownsProcess,
    services: [
      consistencyService({ mesh: node, defaultDeadlineMs, isDiskFull: () => storage.isFull }),
      authorityService({ mesh: node, leaseMs, registrationTtlMs, defaultDeadlineMs, clientAddressOf }),
      adminService({
        mesh: node,
        clusterId: config.clusterId,
        version: program.version,
        startedAtMs: Date.now(),
        defaultDeadlineMs,
        peers: config.peers,
        clientAddressOf,
        walBytes: () => storage.sizeBytes,
      }),
      peerService(
        {
          nodeId,
          clusterId: config.clusterId,
          groups: config.groups,
          decisionWindow: config.decisionWindow,
          leaseReads: config.leaseReads,
          members: new Set(config.peers.keys()),
          onHello: (peer) => {
            clientAddresses.set(peer.nodeId, peer.clientAddress);
            founding.onHello(peer);
            node.peerReturned(peer.nodeId);
          },
          onFrame: (peer, frame) => node.onFrame(peer, frame),
          receiveSnapshot: async (chunks) => {
            const { meta, message, state } = await receiveSnapshot(chunks, storage.snapshots, config.groups, stateOptions);
            node.onSnapshot(meta, message, state);
            return true;
          },
        },
        log,
      ),
    ],
    readiness: () => [
      ...(founding.problem === undefined ? [] : [founding.problem]),
      ...node.groups.filter((group) => group.leader === 0).map((group) => `group ${group.groupId} has no leader`),
    ],
    onDrain: async () => handOver(node),
    onShutdown: async () => {
      clearInterval(ticks);
      clearInterval(trimming);
      node.stop();
      for (const link of links.values()) link.close();
      arbiters.close();
      store?.close();
      await storage.close();
      lock.close();
    },
  });
  const ticks = setInterval(() => {
    // A leader goes on without its own disk, as long as others have one; what waits for the disk would grow without end.
    if (storage.isFull) node.stepDown();
    node.tick();
  }, config.tickMs);
  // A group with few writes would keep the busy groups' old segments for ever.
  const trimming = setInterval(() => {
    if (storage.sizeBytes < (config.groups + 2) * config.snapshotLogBytes) return;
    for (const groupId of storage.oldestGroups) node.group(groupId).snapshot();
  }, TRIM_PERIOD_MS);
  for (const link of links.values()) link.open();
  node.dirty();
  return server;
}

function nodeIdOf(config: NodeConfiguration): number {
  const ordinal = /-([0-9]+)$/.exec(hostname())?.[1];
  const id = config.nodeIdFromHostname && ordinal !== undefined ? Number(ordinal) + 1 : config.nodeId;
  if (id === undefined) throw new ConfigurationError("--node-id", config.nodeIdFromHostname ? `the host name ${hostname()} ends with no ordinal` : "is required");
  if (!config.peers.has(id)) throw new ConfigurationError("--peers", `must name this node, ${id}, too`);
  if (config.electionTicks <= config.heartbeatTicks) throw new ConfigurationError("--election-ticks", `must be above --heartbeat-ticks, ${config.heartbeatTicks}`);
  const least = leastLeaseElectionTicks(config.electionTicks, config.heartbeatTicks);
  if (config.leaseReads && config.electionTicks < least) {
    throw new ConfigurationError("--lease-reads", `needs --election-ticks above --heartbeat-ticks and the margin for clocks together, ${least} or more with these`);
  }
  return id;
}

function policyOf(config: NodeConfiguration): Policy {
  return config.policyFile === undefined ? DEFAULT_POLICY : parsePolicy(readFileSync(config.policyFile, "utf8"), config.policyFile);
}

function addresses(list: string | undefined): string[] {
  return (list ?? "").split(",").map((each) => each.trim()).filter((each) => each !== "");
}

/** A number of this start, above that of every earlier one: seconds since 2020. */
function incarnation(): number {
  return Math.floor((Date.now() - Date.UTC(2020, 0, 1)) / 1_000);
}

/** Lets other nodes lead before this one goes, so that callers notice nothing. */
async function handOver(node: MeshNode): Promise<void> {
  node.stepDown();
  const endMs = Date.now() + HANDOVER_MS;
  while (Date.now() < endMs && node.groups.some((group) => group.core.role === "leader")) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
