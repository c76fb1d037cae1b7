import { mkdirSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { MeshError } from "@statemesh/contract";
import { type Log, leastLeaseElectionTicks, VERSIONS, type VersionRange } from "@statemesh/mesh";
import { type FolderRecord, NodeRuntime, WaitingRoom, claimFolder } from "@statemesh/node";
import { FolderDisk, SystemClock, SystemRandom, SystemTimers } from "@statemesh/ports";
import { ConfigurationError, type Logger, OwnedProcess, Registry, type RunningServer, startServer } from "@statemesh/service";
import { DEFAULT_POLICY, type Policy, parsePolicy } from "@statemesh/world";
import { adminService } from "./admin-service.ts";
import { ArbiterLink } from "./arbiter-link.ts";
import { authorityService } from "./authority-service.ts";
import { BulkCalls } from "./bulk-calls.ts";
import { consistencyService } from "./consistency-service.ts";
import { escrowService } from "./escrow-service.ts";
import { healingService } from "./healing-service.ts";
import { lockFolder } from "./folder-lock.ts";
import { JoinRequest } from "./join-request.ts";
import { Lives } from "./lives.ts";
import { registerMetrics } from "./metrics.ts";
import { type NodeConfiguration, program } from "./options.ts";
import { peerService } from "./peer-service.ts";
import { GrpcPeer } from "./peer-transport.ts";
import { StoreLink } from "./store-link.ts";
import { viewService } from "./view-service.ts";

/**
 * Starts a node and serves. `ownsProcess`: handle signals, and exit where the node cannot go on. A node that has no place in
 * a cluster waits for one, and starts as what it was told to be; so does one that is given another place.
 */
export async function serveNode(config: NodeConfiguration, log: Logger, ownsProcess: boolean, versions: VersionRange = VERSIONS): Promise<RunningServer> {
  const wished = wishedNodeId(config);
  checkTimes(config);
  const policy = policyOf(config);
  mkdirSync(config.dataDir, { recursive: true, mode: 0o700 });
  const lock = await lockFolder(config.dataDir);
  const owner = ownsProcess ? new OwnedProcess(log) : undefined;
  const lives = new Lives(owner, () => lock.close());
  const begin = async (): Promise<RunningServer> => {
    const folder = await FolderDisk.open(config.dataDir);
    const { clusterId, groups, decisionWindow } = config;
    const founders = config.peers?.has(wished ?? 0) === true ? [...config.peers.keys()].sort((a, b) => a - b) : [];
    const nodeId = founders.length === 0 ? 0 : (wished ?? 0);
    const record = await claimFolder(folder, { clusterId, nodeId, groups, decisionWindow }, founders, new SystemRandom());
    const life: Life = { config, log, versions, owner, again: () => lives.again(begin) };
    return record.nodeId === 0 ? waitForPlace(life, folder, record) : serveMember(life, folder, policy, record.nodeId);
  };
  try {
    return await lives.first(begin);
  } catch (error) {
    lock.close();
    throw error;
  }
}

/** What the lives of one process have in common. */
interface Life {
  readonly config: NodeConfiguration;
  readonly log: Logger;
  readonly versions: VersionRange;
  readonly owner: OwnedProcess | undefined;
  /** The folder says something else than before: end this life and begin the next. */
  again(): void;
}

/** The node is nobody yet: it answers who it is, and asks to be taken in where it was told whom. */
async function waitForPlace({ config, log, versions, owner, again }: Life, folder: FolderDisk, record: FolderRecord): Promise<RunningServer> {
  const address = config.advertiseAddress ?? config.listenAddress;
  const failed = (error: unknown): void => {
    log.fatal({ err: error }, "the node cannot go on");
    if (owner !== undefined) process.exit(1);
  };
  const room = new WaitingRoom(folder, record, { leaseReads: config.leaseReads, versions }, { placed: again, failed });
  const asking = new JoinRequest(config.join ?? [], address, config.nodeId ?? 0, log);
  const server = await startServer({
    name: program.name,
    // There are no callers to be drained.
    config: { ...config, drainDelayMs: 0 },
    log,
    ownsProcess: owner ?? false,
    services: [
      peerService(
        {
          stream: () => room.stream(),
          identify: () => room.identify(),
          receiveSnapshot: () => Promise.reject(new MeshError("PEER_REFUSED", "this node has no place in the cluster yet")),
        },
        log,
      ),
    ],
    readiness: () => [`this node has no place in the cluster yet: AddMember or ReplaceMember with the address ${address} gives it one`],
    onShutdown: () => asking.end(),
  });
  log.info({ address, folderId: record.folderId }, "waiting for a place in the cluster");
  asking.begin();
  return server;
}

async function serveMember({ config, log, versions, owner, again }: Life, folder: FolderDisk, policy: Policy, nodeId: number): Promise<RunningServer> {
  const registry = new Registry();
  const store = config.regionStoreAddress === undefined ? undefined : new StoreLink(config.regionStoreAddress, config.clusterId, config.regionStoreTimeoutMs, log);
  const named = [...(config.peers ?? [])].filter(([peer]) => peer !== nodeId);
  const peerAddress = config.peers?.get(nodeId) ?? config.advertiseAddress ?? config.listenAddress;
  const node = await NodeRuntime.open(
    { ...config, quotas: { inFlight: config.serverInFlight, operationsPerSecond: config.serverOperationsPerSecond, updatesPerSecond: config.serverUpdatesPerSecond }, nodeId, policy, versions, incarnation: incarnation(), clientAddress: config.advertiseAddress ?? peerAddress, peerAddress },
    {
      clock: new SystemClock(),
      timers: new SystemTimers(),
      random: new SystemRandom(),
      log: logPort(log),
      disks: { folder, wal: await FolderDisk.open(join(config.dataDir, "wal")), snapshots: await FolderDisk.open(join(config.dataDir, "snapshots")) },
      defer: (task) => setImmediate(task),
      peers: new Map(named.map(([peer, address]) => [peer, new GrpcPeer(address)])),
      connect: (address) => new GrpcPeer(address),
      placed: again,
      arbiters: addresses(config.arbiterAddress).map((address) => new ArbiterLink(address)),
      store,
      fail: (error) => {
        log.fatal({ err: error }, "the node cannot go on");
        if (owner !== undefined) process.exit(1);
      },
    },
  );
  const { mesh, storage } = node;
  const bulk = new BulkCalls({
    calls: config.bulkCalls, waiting: config.bulkCallsWaiting, waitMaxMs: config.bulkWaitMs, clock: new SystemClock(), timers: new SystemTimers(), defer: (task) => setImmediate(task),
  });
  registerMetrics(registry, mesh, { storage, runtime: node, store, bulk });
  const clientAddressOf = (id: number): string => node.clientAddressOf(id);
  const { leaseMs, registrationTtlMs, grantsWithoutStore, defaultDeadlineMs } = config;
  const server = await startServer({
    name: program.name,
    config,
    log,
    registry,
    ownsProcess: owner ?? false,
    services: [
      consistencyService({ mesh, bulk, defaultDeadlineMs, isDiskFull: () => storage.isFull }),
      authorityService({ mesh, leaseMs, registrationTtlMs, timers: new SystemTimers(), grantsNeedStore: !grantsWithoutStore, clientAddressOf }, defaultDeadlineMs),
      adminService({
        mesh,
        bulk,
        runtime: node,
        clusterId: config.clusterId,
        version: program.version,
        startedAtMs: Date.now(),
        defaultDeadlineMs,
        clientAddressOf,
        walBytes: () => storage.sizeBytes,
      }),
      viewService(mesh),
      healingService(mesh, bulk, defaultDeadlineMs),
      escrowService(mesh, clientAddressOf, bulk, defaultDeadlineMs),
      peerService(node, log),
    ],
    readiness: () => node.problems,
    onDrain: async () => node.handOver(),
    onShutdown: async () => node.close(),
  });
  node.start();
  return server;
}

function logPort(log: Logger): Log {
  return {
    debug: (message, fields = {}) => log.debug(fields, message),
    info: (message, fields = {}) => log.info(fields, message),
    warn: (message, fields = {}) => log.warn(fields, message),
    error: (message, fields = {}) => log.error(fields, message),
  };
}

/** The id that the operator gives this node; undefined where the cluster shall give it one. */
function wishedNodeId(config: NodeConfiguration): number | undefined {
  const ordinal = /-([0-9]+)$/.exec(hostname())?.[1];
  const id = config.nodeIdFromHostname && ordinal !== undefined ? Number(ordinal) + 1 : config.nodeId;
  if (config.join !== undefined) return id;
  if (config.peers === undefined) throw new ConfigurationError("--peers", "is required, unless the node joins a running cluster with --join");
  if (id === undefined) throw new ConfigurationError("--node-id", config.nodeIdFromHostname ? `the host name ${hostname()} ends with no ordinal` : "is required");
  if (!config.peers.has(id)) throw new ConfigurationError("--peers", `must name this node, ${id}, too, unless it joins a running cluster with --join`);
  return id;
}

function checkTimes(config: NodeConfiguration): void {
  if (config.electionTicks <= config.heartbeatTicks) throw new ConfigurationError("--election-ticks", `must be above --heartbeat-ticks, ${config.heartbeatTicks}`);
  if (config.suspicionMs < 3 * config.beatMs) throw new ConfigurationError("--suspicion-ms", `must be at least three times --beat-ms, ${config.beatMs}`);
  if (config.removalMs < 2 * config.suspicionMs) throw new ConfigurationError("--removal-ms", `must be at least twice --suspicion-ms, ${config.suspicionMs}`);
  const least = leastLeaseElectionTicks(config.electionTicks, config.heartbeatTicks);
  if (config.leaseReads && config.electionTicks < least) {
    throw new ConfigurationError("--lease-reads", `needs --election-ticks above --heartbeat-ticks and the margin for clocks together, ${least} or more with these`);
  }
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
