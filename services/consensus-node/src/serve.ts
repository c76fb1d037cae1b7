import { mkdirSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { type Log, leastLeaseElectionTicks } from "@statemesh/mesh";
import { NodeRuntime } from "@statemesh/node";
import { FolderDisk, SystemClock, SystemRandom, SystemTimers } from "@statemesh/ports";
import { ConfigurationError, type Logger, Registry, type RunningServer, startServer } from "@statemesh/service";
import { DEFAULT_POLICY, type Policy, parsePolicy } from "@statemesh/world";
import { adminService } from "./admin-service.ts";
import { ArbiterLink } from "./arbiter-link.ts";
import { authorityService } from "./authority-service.ts";
import { consistencyService } from "./consistency-service.ts";
import { lockFolder } from "./folder-lock.ts";
import { registerMetrics } from "./metrics.ts";
import { type NodeConfiguration, program } from "./options.ts";
import { peerService } from "./peer-service.ts";
import { GrpcPeer } from "./peer-transport.ts";
import { StoreLink } from "./store-link.ts";

/** Starts a node and serves. `ownsProcess`: handle signals, and exit where the node cannot go on. */
export async function serveNode(config: NodeConfiguration, log: Logger, ownsProcess: boolean): Promise<RunningServer> {
  const nodeId = nodeIdOf(config);
  const policy = policyOf(config);
  mkdirSync(config.dataDir, { recursive: true, mode: 0o700 });
  const lock = await lockFolder(config.dataDir);
  const registry = new Registry();
  const store = config.regionStoreAddress === undefined ? undefined : new StoreLink(config.regionStoreAddress, config.clusterId, config.regionStoreTimeoutMs, log);
  const node = await NodeRuntime.open(
    {
      ...config,
      nodeId,
      policy,
      incarnation: incarnation(),
      clientAddress: config.advertiseAddress ?? config.peers.get(nodeId) ?? config.listenAddress,
    },
    {
      clock: new SystemClock(),
      timers: new SystemTimers(),
      random: new SystemRandom(),
      log: logPort(log),
      disks: {
        folder: await FolderDisk.open(config.dataDir),
        wal: await FolderDisk.open(join(config.dataDir, "wal")),
        snapshots: await FolderDisk.open(join(config.dataDir, "snapshots")),
      },
      defer: (task) => setImmediate(task),
      peers: new Map([...config.peers].filter(([peer]) => peer !== nodeId).map(([peer, address]) => [peer, new GrpcPeer(address)])),
      arbiters: addresses(config.arbiterAddress).map((address) => new ArbiterLink(address)),
      store,
      fail: (error) => {
        log.fatal({ err: error }, "the node cannot go on");
        if (ownsProcess) process.exit(1);
      },
    },
  );
  const { mesh, storage, links } = node;
  registerMetrics(registry, mesh, { storage, links, store, sender: node.sender, received: () => node.received });
  const clientAddressOf = (id: number): string => node.clientAddressOf(id);
  const { leaseMs, registrationTtlMs, defaultDeadlineMs } = config;
  const server = await startServer({
    name: program.name,
    config,
    log,
    registry,
    ownsProcess,
    services: [
      consistencyService({ mesh, defaultDeadlineMs, isDiskFull: () => storage.isFull }),
      authorityService({ mesh, leaseMs, registrationTtlMs, clientAddressOf }, defaultDeadlineMs),
      adminService({
        mesh,
        clusterId: config.clusterId,
        version: program.version,
        startedAtMs: Date.now(),
        defaultDeadlineMs,
        peers: config.peers,
        clientAddressOf,
        walBytes: () => storage.sizeBytes,
      }),
      peerService(node, log),
    ],
    readiness: () => node.problems,
    onDrain: async () => node.handOver(),
    onShutdown: async () => {
      await node.close();
      lock.close();
    },
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
