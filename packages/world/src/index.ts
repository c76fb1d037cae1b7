// Regions, boxes, the policy table, and what operations touch. Pure.
export * from "./region.ts";
export * from "./morton.ts";
export * from "./sector.ts";
export * from "./bounds.ts";
export { ballReaches, regionsOfBall } from "./ball.ts";
export * from "./policy.ts";
export { BUILT_IN_TYPES, type BuiltInType } from "./built-in-types.ts";
export { DEFAULT_POLICY_TEXT } from "./default-policy.ts";
export * from "./policy-error.ts";
export { CUSTOM_TYPES_MAX, DEFAULT_POLICY, parsePolicy, POLICY_TEXT_MAX, PRIORITIES_MAX, WINDOW_MAX_MS } from "./policy-file.ts";
export * from "./text.ts";
export * from "./field-check.ts";
export * from "./footprint.ts";
export * from "./validate-operation.ts";
export * from "./validate-body.ts";
export { CONTAINER_DEPTH_MAX, CONTAINER_KINDS_MAX, CONTAINER_TREE_MAX } from "./validate-container.ts";
export * from "./fingerprint.ts";
