// Histories of calls, held against what a store promises: linearizable per key, strictly serializable for transactions.
export * from "./operations.ts";
export * from "./history-error.ts";
export * from "./history.ts";
export * from "./history-lines.ts";
export * from "./linearizability.ts";
export { describeCall } from "./counterexample.ts";
export * from "./strict-serializability.ts";
export type { Dependency } from "./dependency-graph.ts";
export * from "./mesh-operations.ts";
