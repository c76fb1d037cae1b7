import type { Configuration } from "../configuration.ts";
import { JointQuorum } from "./joint.ts";
import { MajorityQuorum } from "./majority.ts";
import type { Quorum } from "./quorum.ts";
import { WeightedQuorum } from "./weighted.ts";

/**
 * Which sets of voters decide.
 * - `majority`: more than half.
 * - `weighted`: more than half, or exactly half with the lowest id (see WeightedQuorum for what that costs).
 */
export type QuorumRule = "majority" | "weighted";

/** The quorum of a configuration; of a joint one both halves have to agree. */
export function quorumOf(rule: QuorumRule, { voters, outgoing }: Configuration): Quorum {
  const one = (of: readonly number[]): Quorum => (rule === "weighted" ? new WeightedQuorum(of) : new MajorityQuorum(of));
  return outgoing.length === 0 ? one(voters) : new JointQuorum(one(voters), one(outgoing));
}
