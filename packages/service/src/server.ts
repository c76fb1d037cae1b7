import { MeshError } from "@statemesh/contract";
import { collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { ServiceBinding } from "./binding.ts";
import { CallMetrics } from "./call-metrics.ts";
import { type ChannelOptions, Server, ServerCredentials, setLogger } from "./grpc.ts";
import { Health } from "./health.ts";
import { HttpEndpoint } from "./http-endpoint.ts";
import { createLogger, type Logger } from "./logger.ts";
import { splitAddress } from "./option.ts";
import { OwnedProcess } from "./owned-process.ts";
import { readContractImage, reflectionBindings } from "./reflection.ts";
import type { ServerConfiguration } from "./server-options.ts";
import type { ServerState } from "./server-state.ts";
import { UnreadAnswers } from "./unread-answers.ts";

/** How often watchers of health hear of a changed readiness. */
const HEALTH_REFRESH_MS = 250;

/** Bytes of a message that grpc-js itself takes, so that larger ones than the configured limit get an answer of ours. */
const TRANSPORT_MESSAGE_BYTES_MAX = 16 * 1024 * 1024;

/** How long the answers to calls that were cut may take to leave. */
const LAST_ANSWERS_MS = 500;

export interface ServerSettings {
  /** Of the service: `consensus-node`. A label of the log. */
  readonly name: string;
  readonly config: ServerConfiguration;
  readonly services: readonly ServiceBinding[];
  /** Made with `createLogger` where not given. */
  readonly log?: Logger;
  /** The service's own metrics. */
  readonly registry?: Registry;
  /** Why the server is not ready for calls; empty when it is. Asked often: keep it cheap. Ready by default. */
  readonly readiness?: () => readonly string[];
  /** First step of a shutdown, while calls are still taken: hand over what others can do better. */
  readonly onDrain?: () => Promise<void> | void;
  /** Last step of a shutdown, when no call runs any more: close files and connections. */
  readonly onShutdown?: () => Promise<void> | void;
  /**
   * The process is the server's: it handles signals and uncaught errors, and exits. False in tests. Servers that take turns
   * in one process hand on what owns it.
   */
  readonly ownsProcess?: boolean | OwnedProcess;
}

/** A server that answers calls. */
export interface RunningServer {
  /** The port that gRPC listens on. */
  readonly port: number;
  /** `host:port` of gRPC. */
  readonly address: string;
  readonly metricsPort: number;
  readonly log: Logger;
  readonly registry: Registry;
  /** Goes down gracefully; the same promise for every call. */
  readonly stop: () => Promise<void>;
  /** Resolves when the server is down. */
  readonly stopped: Promise<void>;
}

function channelOptions(config: ServerConfiguration): ChannelOptions {
  return {
    "grpc.max_receive_message_length": TRANSPORT_MESSAGE_BYTES_MAX,
    "grpc.max_send_message_length": TRANSPORT_MESSAGE_BYTES_MAX,
    "grpc.max_concurrent_streams": config.maxStreamsPerConnection,
    "grpc.keepalive_time_ms": config.keepaliveMs,
    "grpc.keepalive_timeout_ms": Math.ceil(config.keepaliveMs / 4),
    "grpc.enable_channelz": 0,
  };
}

/** Starts gRPC with health and reflection, and the HTTP endpoint. Fails where a port is taken. */
export async function startServer(settings: ServerSettings): Promise<RunningServer> {
  const { config } = settings;
  const log = settings.log ?? createLogger({ service: settings.name, level: config.logLevel });
  const registry = settings.registry ?? new Registry();
  const state: ServerState = {
    log,
    metrics: new CallMetrics(registry),
    maxMessageBytes: config.maxMessageBytes,
    unread: new UnreadAnswers(),
    shuttingDown: false,
    shutdownListeners: new Set(),
    activeCalls: new Set(),
  };
  new Gauge({
    name: "statemesh_unread_answer_bytes",
    help: "Bytes of answers that callers have not read yet, about.",
    registers: [registry],
    collect() {
      this.set(state.unread.bytes);
    },
  });
  const notReady = (): readonly string[] => (state.shuttingDown ? ["shutting down"] : (settings.readiness?.() ?? []));
  const health = new Health(
    settings.services.map((service) => service.name),
    () => notReady().length === 0,
  );
  const served = [...settings.services, health.binding()];
  const names = served.map((binding) => binding.name);
  const bindings = [...served, ...reflectionBindings(names, readContractImage())];
  const server = new Server(channelOptions(config));
  for (const binding of bindings) {
    const { definition, implementation } = binding.bind(state);
    server.addService(definition, implementation);
  }
  const http = await HttpEndpoint.listen({
    address: config.metricsAddress,
    registry,
    notReady,
    failed: (error) => log.warn({ err: error }, "HTTP endpoint failed"),
  });
  const port = await listen(server, config.listenAddress).catch(async (error: unknown) => {
    await http.close();
    throw error;
  });
  const refresh = setInterval(() => health.refresh(), HEALTH_REFRESH_MS);

  let stopping: Promise<void> | undefined;
  const { promise: stopped, resolve: resolveStopped } = Promise.withResolvers<void>();
  const stop = (): Promise<void> => {
    stopping ??= shutDown({ settings, state, health, server, http, log }).finally(() => {
      clearInterval(refresh);
      resolveStopped();
    });
    return stopping;
  };
  if (settings.ownsProcess !== false) {
    collectDefaultMetrics({ register: registry });
    const transportLog = log.child({ part: "grpc-js" });
    setLogger({ error: (text: unknown) => transportLog.warn(String(text)), info: (text: unknown) => transportLog.info(String(text)), debug: (text: unknown) => transportLog.debug(String(text)) });
    (settings.ownsProcess instanceof OwnedProcess ? settings.ownsProcess : new OwnedProcess(log)).stopWith(stop);
  }
  const host = splitAddress(config.listenAddress)?.host ?? "127.0.0.1";
  const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  log.info({ address, metricsPort: http.port, services: names }, "serving");
  return { port, address, metricsPort: http.port, log, registry, stop, stopped };
}

async function listen(server: Server, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port);
      else reject(new Error(`cannot listen on ${address}: ${error.message}`, { cause: error }));
    });
  });
}

interface Parts {
  readonly settings: ServerSettings;
  readonly state: ServerState;
  readonly health: Health;
  readonly server: Server;
  readonly http: HttpEndpoint;
  readonly log: Logger;
}

/** NOT_SERVING; hand over; take no more calls; let those in flight finish, within the limit; close. */
async function shutDown({ settings, state, health, server, http, log }: Parts): Promise<void> {
  const { config } = settings;
  log.info({ active: state.activeCalls.size }, "shutting down");
  state.shuttingDown = true;
  health.refresh();
  if (config.drainDelayMs > 0) await sleep(config.drainDelayMs);
  const limit = sleep(config.shutdownLimitMs).then(() => "limit" as const);
  try {
    if ((await Promise.race([Promise.resolve(settings.onDrain?.()), limit])) === "limit") log.warn("handing over took too long");
  } catch (error) {
    log.error({ err: error }, "handing over failed");
  }
  for (const listener of state.shutdownListeners) listener();
  state.shutdownListeners.clear();
  health.close();
  const finished = new Promise<"finished">((resolve) => {
    server.tryShutdown(() => resolve("finished"));
  });
  if ((await Promise.race([finished, limit])) === "limit") {
    log.warn({ active: state.activeCalls.size }, "calls did not finish in time and are cut");
    const cut = new MeshError("OUTCOME_UNKNOWN", "the server went down before the call was answered");
    for (const fail of state.activeCalls) fail(cut);
    await Promise.race([finished, sleep(LAST_ANSWERS_MS)]);
    server.forceShutdown();
  }
  try {
    await settings.onShutdown?.();
  } finally {
    await http.close();
  }
  log.info("shut down");
}

async function sleep(ms: number): Promise<void> {
  await new Promise<void>((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
