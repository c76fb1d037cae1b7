// A server with the consistency service's methods, answered by whatever a test hands in.
import { ConsistencyServiceClient, ConsistencyServiceService, type ExecuteRequest, type ExecuteResponse, MeshError } from "@statemesh/contract";
import {
  bidiStream,
  bindService,
  connect,
  createLogger,
  type MethodsOf,
  type RunningServer,
  type ServerConfiguration,
  type ServerSettings,
  serverStream,
  startServer,
  unary,
} from "../src/index.ts";

export const CONFIG: ServerConfiguration = {
  listenAddress: "127.0.0.1:0",
  metricsAddress: "127.0.0.1:0",
  logLevel: "info",
  maxMessageBytes: 1024 * 1024,
  maxStreamsPerConnection: 4096,
  keepaliveMs: 20_000,
  drainDelayMs: 0,
  shutdownLimitMs: 5_000,
};

export type Methods = MethodsOf<typeof ConsistencyServiceService>;

export function refusingMethods(): Methods {
  const refuse = (): never => {
    throw new MeshError("NO_QUORUM", "no leader", { retryDelayMs: 1500, metadata: { group: "7" } });
  };
  return {
    execute: unary<ExecuteRequest, ExecuteResponse>(refuse),
    executeStream: bidiStream(refuse),
    transact: unary(refuse),
    publish: unary(refuse),
    subscribe: serverStream(refuse),
    subscribeStream: bidiStream(refuse),
    read: unary(refuse),
    readSnapshot: unary(refuse),
    listContainers: unary(refuse),
  };
}

export interface Echo {
  readonly server: RunningServer;
  readonly client: ConsistencyServiceClient;
  readonly logLines: string[];
  readonly close: () => Promise<void>;
}

export async function startEcho(methods: Partial<Methods>, settings: Partial<ServerSettings> = {}): Promise<Echo> {
  const logLines: string[] = [];
  const log = createLogger({ service: "echo", level: "info", destination: { write: (line: string) => void logLines.push(line) } });
  const server = await startServer({
    name: "echo",
    config: CONFIG,
    services: [bindService(ConsistencyServiceService, { ...refusingMethods(), ...methods })],
    ownsProcess: false,
    log,
    ...settings,
  });
  const client = connect(ConsistencyServiceClient, server.address, { ownConnection: true });
  return {
    server,
    client,
    logLines,
    close: async () => {
      client.close();
      await server.stop();
    },
  };
}

/** Waits until `probe` is true; fails after ten seconds. */
export async function until(probe: () => boolean | Promise<boolean>): Promise<void> {
  const limitMs = performance.now() + 10_000;
  while (!(await probe())) {
    if (performance.now() > limitMs) throw new Error("the condition did not come true within 10 s");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
