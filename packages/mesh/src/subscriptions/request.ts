import { MeshError } from "@statemesh/contract";
import type { SubscriptionRequest } from "./hub-options.ts";
import type { SubscriptionLimits } from "./limits.ts";
import { type Area, areaOf } from "./scope.ts";
import { Wishes } from "./wishes.ts";

/** What a request asks for beside its regions. Throws INVALID_FIELD. */
export function validateRequest(request: SubscriptionRequest, limits: SubscriptionLimits): { readonly area: Area | undefined; readonly wishes: Wishes } {
  const wishes = new Wishes(request);
  const intervalMs = request.eventualIntervalMs ?? 0;
  if (!(intervalMs >= 0 && intervalMs <= limits.maxEventualIntervalMs)) throw MeshError.field("eventual_interval_ms", `0..${limits.maxEventualIntervalMs}`);
  const { area } = request;
  if (area === undefined) return { area, wishes };
  if (request.regions.length > 0) throw MeshError.field("area", "either regions, bounds or an area");
  return { area: areaOf(area, "area"), wishes };
}
