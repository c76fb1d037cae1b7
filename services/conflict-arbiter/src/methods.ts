/** The arbiter's calls over gRPC. */
import { type ArbitrateRequest, type ArbitrateResponse, ConflictArbiterServiceService, MeshError, PartitionServiceService, type VerdictSet } from "@statemesh/contract";
import { bindService, type CallContext, type Respond, serverStream, type ServiceBinding, unary, unaryCallback } from "@statemesh/service";
import type { Arbiter } from "./arbiter.ts";
import type { ClusterWatch } from "./cluster-watch.ts";
import type { ConflictFeed } from "./conflict-feed.ts";
import { checkWatch } from "./validate-request.ts";

/** How long sets are decided in one go, ms. A larger request lets other calls in between, and ends with its caller. */
const TURN_MS = 8;

/** Decides a request's sets from one on. An ordinary request is done within one turn, without a promise. */
function decideFrom(at: number, decided: VerdictSet[], arbiter: Arbiter, request: ArbitrateRequest, context: CallContext, respond: Respond<ArbitrateResponse>): void {
  const turnEndsMs = performance.now() + TURN_MS;
  for (let next = at; next < request.sets.length; next++) {
    const set = request.sets[next];
    if (set !== undefined) decided.push(arbiter.arbitrateSet(set, request.groupId));
    if (next + 1 < request.sets.length && performance.now() > turnEndsMs) {
      setImmediate(() => {
        if (context.cancelled) {
          respond.fail(new MeshError("CANCELLED", "the caller went away"));
          return;
        }
        try {
          decideFrom(next + 1, decided, arbiter, request, context, respond);
        } catch (error) {
          respond.fail(error);
        }
      });
      return;
    }
  }
  respond({ sets: decided });
}

/** The service's binding. */
export function bindArbiter(arbiter: Arbiter, feed: ConflictFeed): ServiceBinding {
  return bindService(ConflictArbiterServiceService, {
    detect: unary((request) => arbiter.detect(request)),
    resolve: unary((request) => arbiter.resolve(request)),
    arbitrate: unaryCallback<ArbitrateRequest, ArbitrateResponse>((request, context, respond) => {
      arbiter.checkArbitrate(request);
      decideFrom(0, [], arbiter, request, context, respond);
    }),
    explain: unary((request) => arbiter.explain(request)),
    watchConflicts: serverStream((request, responses, context) => {
      checkWatch(request);
      const leave = feed.watch(request, responses);
      context.onEnd(leave);
      context.onShutdown(() => responses.fail(new MeshError("SHUTTING_DOWN", "this arbiter goes down: watch another", { retryDelayMs: 1000 })));
    }),
    getStatistics: unary(() => arbiter.statistics.response()),
  });
}

/** The binding of the watch for partitions. */
export function bindPartitions(clusters: ClusterWatch): ServiceBinding {
  return bindService(PartitionServiceService, {
    reportHeartbeats: unary((request) => clusters.report(request)),
    getPartitionVerdict: unary((request) => clusters.verdictFor(request)),
    watchPartitions: serverStream((request, responses, context) => {
      context.onEnd(clusters.watch(request, responses));
      context.onShutdown(() => responses.fail(new MeshError("SHUTTING_DOWN", "this arbiter goes down: watch another", { retryDelayMs: 1000 })));
    }),
  });
}
