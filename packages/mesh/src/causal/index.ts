// Causal events: numbering, delivery in causal order, pulling what is missing, session tokens, the copy in the region store.
export { CausalBehind, type CausalBehindLimits, type CausalBehindStatistics } from "./causal-behind.ts";
export { CausalLog, type CausalLogOptions, type CausalStatistics, type PeerBatch } from "./causal-log.ts";
export { type CausalLimits, DEFAULT_CAUSAL_LIMITS } from "./limits.ts";
export { isOrigin, nodeOfOrigin, originOf } from "./origin.ts";
