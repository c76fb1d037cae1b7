/** The arbiter's calls as plain functions of their requests. */
import { createHash } from "node:crypto";
import {
  type ArbitrateRequest, type CandidateSet, type DetectRequest, type DetectResponse, type ExplainRequest, type ExplainResponse, MeshError, type ResolveRequest, type ResolveResponse, type VerdictSet,
} from "@statemesh/contract";
import { canonicalDecision, decide, detect, explain, resolve } from "@statemesh/conflict";
import type { Clock } from "@statemesh/ports";
import type { Policy } from "@statemesh/world";
import type { ConflictFeed } from "./conflict-feed.ts";
import { Statistics } from "./statistics.ts";
import { checkArbitrate, checkExplain, checkSet } from "./validate-request.ts";

export class Arbiter {
  readonly #policy: Policy;
  readonly #clock: Clock;
  readonly #feed: ConflictFeed;
  readonly statistics: Statistics;

  constructor(policy: Policy, clock: Clock, feed: ConflictFeed) {
    this.#policy = policy;
    this.#clock = clock;
    this.#feed = feed;
    this.statistics = new Statistics(clock.wallMs(), policy.digest);
  }

  /** @throws MeshError INVALID_FIELD, UNKNOWN_TYPE */
  detect({ set }: DetectRequest): DetectResponse {
    checkSet(set, this.#policy, "set");
    return { conflicts: detect(set, this.#policy) };
  }

  /** @throws MeshError INVALID_FIELD, UNKNOWN_TYPE */
  resolve({ set }: ResolveRequest): ResolveResponse {
    checkSet(set, this.#policy, "set");
    const verdicts = resolve(set, this.#policy);
    return { verdicts, digest: createHash("sha256").update(canonicalDecision(verdicts)).digest() };
  }

  /** @throws MeshError INVALID_FIELD, UNKNOWN_TYPE */
  explain(request: ExplainRequest): ExplainResponse {
    return explain(checkExplain(request, this.#policy), request.operationId, this.#policy);
  }

  /**
   * Checks a request whole, so that nothing is counted of one that is refused. The sets are then decided one by one
   * with `arbitrateSet`.
   *
   * @throws MeshError INVALID_FIELD, UNKNOWN_TYPE, POLICY_MISMATCH
   */
  checkArbitrate(request: ArbitrateRequest): void {
    const { digest } = this.#policy;
    // First: of another policy's types and limits nothing can be said here. Who does not say what it goes by is of a build that did not know to.
    if (request.policyDigest !== "" && request.policyDigest !== digest) {
      this.statistics.policyRefusals++;
      throw new MeshError("POLICY_MISMATCH", `this arbiter goes by policy ${digest}, not by ${request.policyDigest}: give both processes the same policy file`, { metadata: { policy_digest: digest, asked_digest: request.policyDigest } });
    }
    checkArbitrate(request, this.#policy);
  }

  /** Decides one checked set, counts it, and tells the watchers. */
  arbitrateSet(set: CandidateSet, groupId: number): VerdictSet {
    const startedMs = this.#clock.monotonicMs();
    const decision = decide(set, this.#policy);
    this.statistics.record(decision, this.#clock.monotonicMs() - startedMs);
    if (decision.conflicts.length > 0) this.#feed.publish(decision, { groupId, decidedAtMs: this.#clock.wallMs() });
    return { verdicts: decision.verdicts };
  }
}
