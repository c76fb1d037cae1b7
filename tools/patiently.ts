import { MeshError } from "@statemesh/contract";

const AGAIN_MS = 250;

/** Asks again for what an earlier run may still hold for a while, or a store that is starting may not know yet; as long as `limitMs` lasts. */
export async function patiently<T>(limitMs: number, attempt: () => Promise<T>): Promise<T> {
  const endMs = performance.now() + limitMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const { reason } = MeshError.from(error);
      const passes = reason === "LEASE_HELD" || reason === "STORE_UNAVAILABLE" || reason === "OUTCOME_UNKNOWN" || reason === "SERVER_ALREADY_REGISTERED";
      if (!passes || performance.now() > endMs) throw error;
      await new Promise((wake) => setTimeout(wake, AGAIN_MS));
    }
  }
}
