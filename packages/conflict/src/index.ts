// Detection and resolution of conflicts between operations. Pure: a function of the candidates and the policy.
export { canonicalDecision } from "./canonical-decision.ts";
export { decide, type DecidedConflict, type Decision } from "./decide.ts";
export { CONFLICTS_MAX, detect } from "./detect.ts";
export { explain } from "./explain.ts";
export { INCUMBENT, OPERATION_ID_REUSED, resolve, UNCONTESTED } from "./resolve.ts";
