// What game servers should not do.
import type { Operation } from "@statemesh/contract";
import type { SimRandom } from "../sim-random.ts";

/** Bytes of a key that no rule lets pass. Megabytes would be refused for the same reason, and cost half of a run. */
const KEY_TOO_LONG = 10_000;

/** An operation that must be refused, or gains nothing by what is wrong with it. */
export function asNobodyShould(operation: Operation, random: SimRandom): Operation {
  switch (random.between(0, 4)) {
    case 0:
      return { ...operation, authorityEpoch: Math.max(0, operation.authorityEpoch + random.between(-2, 1)) };
    case 1:
      return { ...operation, priority: 99 };
    case 2:
      return { ...operation, timestampMs: operation.timestampMs + random.between(-60_000, 400) };
    case 3:
      return { ...operation, timestampMs: operation.timestampMs + 60_000 };
    default:
      return { ...operation, footprint: { keys: ["k".repeat(KEY_TOO_LONG)], regions: [], bounds: undefined } };
  }
}
