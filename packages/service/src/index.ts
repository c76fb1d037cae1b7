// What every gRPC server of StateMesh needs: configuration, logs, metrics, health, reflection, limits, shutdown.
export { bindService, type MethodsOf, type ServiceBinding } from "./binding.ts";
export { CallContext } from "./call-context.ts";
export { CallPlaces, type KindLoad, type PlaceCaller, type Release } from "./call-places.ts";
export { LatencyHistogram, latencySeries, registerLatencies } from "./call-metrics.ts";
export { call, type CallSettings, type ChannelSettings, clientOptions, connect, type UnaryCallDefinition } from "./channel.ts";
export {
  ConfigurationError,
  configurationOfProcess,
  defineProgram,
  describeConfiguration,
  environmentOf,
  HelpRequested,
  loadConfiguration,
  type Program,
  secretsOf,
} from "./configuration.ts";
export { configurationSection } from "./configuration-page.ts";
export { LIVENESS } from "./health.ts";
export { createLogger, type Logger, type LoggerSettings } from "./logger.ts";
export { bidiStream, clientStream, type Respond, serverStream, unary, unaryCallback, type UnaryMethod } from "./methods.ts";
export { address, choice, type ConfigurationOf, flag, integer, OptionRuleError, type OptionTable, parsed, splitAddress, text, type TypedOption } from "./option.ts";
export { OwnedProcess } from "./owned-process.ts";
export type { RequestStream } from "./request-stream.ts";
export type { ResponseStream } from "./response-stream.ts";
export { type RunningServer, type ServerSettings, startServer } from "./server.ts";
export { type ServerConfiguration, serverOptions } from "./server-options.ts";
export { Counter, Gauge, Histogram, Registry } from "prom-client";
