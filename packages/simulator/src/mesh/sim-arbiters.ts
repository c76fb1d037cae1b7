// Arbiters: the rules of the shared package behind a network. They may be away, slow, or of another version.
import { ArbitrateRequest, ArbitrateResponse } from "@statemesh/contract";
import { resolve } from "@statemesh/conflict";
import type { ArbiterPort } from "@statemesh/node";
import { DEFAULT_POLICY_TEXT, type Policy, parsePolicy } from "@statemesh/world";
import type { SimRandom } from "../sim-random.ts";
import type { Simulation } from "../simulation.ts";

/**
 * How an arbiter is: `other` decides by a table of another version, which has no types of a studio's own and refuses them, and is of a
 * build that does not compare its policy with the leader's. `mismatched` has that table too, compares, and decides nothing.
 */
export type ArbiterMood = "well" | "away" | "silent" | "slow" | "other" | "mismatched";

/** A slow arbiter takes up to this much longer for every second answer, so that later questions overtake earlier ones. */
const SLOW_MS = 400;
/** A later version of the table: whoever has the lower server id wins, whatever the time. */
const OTHER_POLICY: Policy = parsePolicy(
  DEFAULT_POLICY_TEXT.replaceAll("[priority, timestamp, server_id, operation_id]", "[server_id, timestamp, operation_id]").replaceAll("[timestamp, server_id, operation_id]", "[server_id, timestamp, operation_id]"),
  "other version",
);

export class SimArbiter {
  readonly #simulation: Simulation;
  readonly #random: SimRandom;
  readonly #policy: Policy;
  mood: ArbiterMood = "well";

  constructor(simulation: Simulation, policy: Policy) {
    this.#policy = policy;
    this.#simulation = simulation;
    this.#random = simulation.random.fork();
  }

  /** The way to it from one node; `deliver` enters that node's process. */
  port(address: string, deliver: () => (run: () => void) => void): ArbiterPort {
    return {
      address,
      close: () => undefined,
      ask: (request, timeoutMs, answered, failed) => {
        const enter = deliver();
        let open = true;
        const once = (run: () => void): void =>
          enter(() => {
            if (!open) return;
            open = false;
            run();
          });
        this.#simulation.after(timeoutMs, () => once(() => failed("deadline exceeded")));
        if (this.mood === "away") {
          this.#simulation.after(1, () => once(() => failed("unreachable")));
          return;
        }
        if (this.mood === "silent") return;
        const bytes = ArbitrateRequest.encode(request).finish();
        const policy = this.mood === "other" || this.mood === "mismatched" ? OTHER_POLICY : this.#policy;
        const delayMs = 0.5 + this.#random.next() + (this.mood === "slow" && this.#random.chance(0.5) ? this.#random.next() * SLOW_MS : 0);
        this.#simulation.after(delayMs, () => {
          const { sets, policyDigest } = ArbitrateRequest.decode(bytes);
          // One that does not say which policy it goes by is answered, as the arbiter does.
          if (this.mood !== "other" && policyDigest !== "" && policyDigest !== policy.digest) return once(() => failed(`POLICY_MISMATCH: ${policy.digest}`, true));
          const unknown = sets.flatMap(({ candidates, incumbents }) => [...candidates, ...incumbents]).find(({ type }) => policy.typeOf(type) === undefined);
          // As the arbiter does: all of the request.
          if (unknown !== undefined) return once(() => failed(`UNKNOWN_TYPE: ${unknown.type}`));
          const response = ArbitrateResponse.encode({ sets: sets.map((set) => ({ verdicts: resolve(set, policy) })) }).finish();
          once(() => answered(ArbitrateResponse.decode(response)));
        });
      },
    };
  }
}
