import { MeshError } from "@statemesh/contract";
import type { SubscriptionHub, SubscriptionRequest } from "@statemesh/mesh";
import type { Clock } from "@statemesh/ports";
import type { Answer } from "./shard-calls.ts";

/** What adding a reader needs of its node. */
export interface SubscribedNode {
  readonly subscriptions: Pick<SubscriptionHub, "aheadOf" | "subscribe">;
  readonly host: { readonly clock: Clock };
  group(groupId: number): { whenApplied(index: number, deadlineMs: number, done: (error: MeshError | undefined) => void): void };
}

/** How long a reader waits at most for a node that is behind its token, milliseconds. */
const BEHIND_MS = 5_000;

/**
 * Adds a reader; the answer is its id. A node that is behind the reader's token takes it once it stands there, or answers TOKEN_AHEAD after
 * 5 seconds: another node may be further. Throws where the request is not valid.
 */
export function subscribe(mesh: SubscribedNode, request: SubscriptionRequest, answer: Answer<number>): void {
  const ahead = mesh.subscriptions.aheadOf(request);
  let waiting = ahead.length;
  if (waiting === 0) return answer.done(mesh.subscriptions.subscribe(request));
  const deadlineMs = mesh.host.clock.monotonicMs() + BEHIND_MS;
  let isOver = false;
  const arrived = (groupId: number, error: MeshError | undefined): void => {
    if (isOver) return;
    waiting -= 1;
    if (error === undefined && waiting > 0) return;
    isOver = true;
    if (answer.isGone()) return answer.fail(new MeshError("CANCELLED", "the caller went away"));
    if (error !== undefined) {
      return answer.fail(new MeshError("TOKEN_AHEAD", `resume_token: the reader has seen more of group ${groupId} than this node has: try another node`, { retryDelayMs: 50, metadata: { group_id: String(groupId) } }));
    }
    try {
      answer.done(mesh.subscriptions.subscribe(request));
    } catch (refused) {
      answer.fail(refused);
    }
  };
  for (const { groupId, index } of ahead) mesh.group(groupId).whenApplied(index, deadlineMs, (error) => arrived(groupId, error));
}
