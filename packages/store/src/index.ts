// The region store's protocols over ports: the service and the simulator run the same.
export * from "./causal-history.ts";
export * from "./causal-store.ts";
export * from "./circuit-breaker.ts";
export * from "./eventual-values.ts";
export * from "./field-rules.ts";
export * from "./limits.ts";
export * from "./materialization-store.ts";
export * from "./materializer.ts";
export * from "./memory-cache.ts";
export * from "./redis-port.ts";
export * from "./region-cache.ts";
export * from "./shared-cache.ts";
export * from "./sql-error.ts";
export * from "./tiered-cache.ts";
export * from "./work-runner.ts";
