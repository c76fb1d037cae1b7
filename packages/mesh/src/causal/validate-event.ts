import { violationOf } from "@statemesh/clocks";
import { type CausalEvent, type DeliveredEvent, MeshError, type VectorClock } from "@statemesh/contract";
import { type PublishPolicy, validateClass, validateRegion, validateServerId, withinBytes } from "../eventual/validate-update.ts";
import type { CausalLimits } from "./limits.ts";
import { isOrigin } from "./origin.ts";

/** Refuses a session token that is not of the known form; `path` names its field. */
export function validateToken(token: VectorClock, path: string, maxEntries: number): void {
  const violation = violationOf(token, maxEntries);
  if (violation !== undefined) throw MeshError.field(`${path}.${violation.path}`, violation.rule);
  for (const [index, entry] of token.entries.entries()) {
    if (!isOrigin(entry.origin)) throw MeshError.field(`${path}.entries[${index}].origin`, "node_id << 32 | incarnation");
  }
}

/** Refuses a publish of which any event breaks a rule. */
export function validateEvents(events: readonly CausalEvent[], serverId: number, policy: PublishPolicy, limits: CausalLimits): void {
  validateServerId(serverId);
  if (events.length > limits.maxEvents) throw MeshError.field("events", `at most ${limits.maxEvents}`);
  for (let i = 0; i < events.length; i += 1) {
    const event = events[i] as CausalEvent;
    validateClass(event.type, "causal", policy, () => `events[${i}].type`);
    validateRegion(event.region, () => `events[${i}].region`);
    if (!withinBytes(event.key, limits.maxKeyBytes)) throw MeshError.field(`events[${i}].key`, `1..${limits.maxKeyBytes} bytes`);
    if (event.payload.length > limits.maxPayloadBytes) throw MeshError.field(`events[${i}].payload`, `at most ${limits.maxPayloadBytes} bytes`);
  }
}

/** Whether an event of a peer has everything that an event has. */
export function isWellFormed(event: DeliveredEvent, limits: CausalLimits): boolean {
  const { id, event: content, dependencies } = event;
  if (id === undefined || content?.region === undefined) return false;
  if (!isOrigin(id.origin) || !Number.isSafeInteger(id.sequence) || id.sequence < 1) return false;
  if (content.payload.length > limits.maxPayloadBytes || content.key.length > limits.maxKeyBytes) return false;
  return dependencies === undefined || (violationOf(dependencies, limits.maxDependencies) === undefined && dependencies.entries.every((entry) => isOrigin(entry.origin)));
}
