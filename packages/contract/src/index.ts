// The public contract: messages and service definitions of statemesh.v1, and the one error class.
export * from "./generated/statemesh/v1/space.ts";
export * from "./generated/statemesh/v1/operation.ts";
export * from "./generated/statemesh/v1/consistency.ts";
export * from "./generated/statemesh/v1/authority.ts";
export * from "./generated/statemesh/v1/arbiter.ts";
export * from "./generated/statemesh/v1/region_store.ts";
export * from "./generated/statemesh/v1/raft.ts";
export * from "./generated/statemesh/v1/admin.ts";
export * from "./generated/statemesh/v1/views.ts";
export * from "./generated/statemesh/v1/partitions.ts";
export * from "./generated/statemesh/v1/healing.ts";
export * from "./generated/statemesh/v1/escrow.ts";
export * from "./grpc-status.ts";
export * from "./mesh-error.ts";
export * from "./reasons.ts";
