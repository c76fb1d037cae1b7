import { address, type ConfigurationOf, choice, integer, type OptionTable } from "./option.ts";

/** Options that every server has; spread them into the service's own table. */
export function serverOptions(ports: { readonly grpc: number; readonly metrics: number }) {
  return {
    listenAddress: address({ default: `127.0.0.1:${ports.grpc}`, anyPort: true, doc: "Where the gRPC server listens." }),
    metricsAddress: address({ default: `127.0.0.1:${ports.metrics}`, anyPort: true, doc: "Where HTTP serves `/metrics`, `/healthz` and `/readyz`." }),
    logLevel: choice(["trace", "debug", "info", "warn", "error", "fatal"], { default: "info", doc: "The least severe log lines that are written." }),
    maxMessageBytes: integer({
      default: 4 * 1024 * 1024,
      min: 1024,
      max: 16 * 1024 * 1024,
      unit: "bytes",
      doc: "Requests above this size are answered MESSAGE_TOO_LARGE without being decoded.",
    }),
    maxStreamsPerConnection: integer({ default: 4096, min: 1, max: 1_000_000, doc: "Calls and streams that one connection may have open." }),
    keepaliveMs: integer({ default: 20_000, min: 1000, max: 7_200_000, unit: "ms", doc: "How often a connection is pinged; one that does not answer within a quarter of it is closed." }),
    drainDelayMs: integer({ default: 0, min: 0, max: 60_000, unit: "ms", doc: "How long the server keeps taking calls after it reports NOT_SERVING on a shutdown, so that load balancers notice." }),
    shutdownLimitMs: integer({ default: 10_000, min: 100, max: 600_000, unit: "ms", doc: "How long calls in flight may take to finish on a shutdown before they are cut." }),
  } satisfies OptionTable;
}

export type ServerConfiguration = ConfigurationOf<ReturnType<typeof serverOptions>>;
