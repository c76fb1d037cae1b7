// Sessions: a call that brings one is answered by a node that has all that the session has seen, and the answer carries what it has seen
// then.
import { MeshError, type PublishRequest, type PublishResponse, type ReadRequest, type ReadResponse, type SessionToken } from "@statemesh/contract";
import { checkSession, isReached, type MeshNode, mergedTokens, sessionAfter, type SubscriptionRequest } from "@statemesh/mesh";
import type { Timers } from "@statemesh/ports";
import { groupOf } from "@statemesh/world";
import { type Answer, publish, readFrom, type Turn, waitsUntilMs } from "./shard-calls.ts";
import { subscribe } from "./subscribe-calls.ts";

/** How often a call looks whether what its session has seen has come, milliseconds. */
const POLL_MS = 10;

/** `publish` in the request's session. Throws where the request is not valid. */
export function publishInSession(mesh: MeshNode, timers: Timers, request: PublishRequest, deadlineMs: number, answer: Answer<PublishResponse>): void {
  const { session } = request;
  if (session === undefined) return publish(mesh, timers, request, deadlineMs, answer);
  checkSession(mesh, session);
  const { causalToken } = request;
  if (causalToken !== undefined) mesh.causal.validateToken(causalToken, "causal_token");
  const own = { ...request, causalToken: mergedTokens(session.causal, causalToken) };
  whenReached(mesh, timers, session, undefined, deadlineMs, answer, () =>
    publish(mesh, timers, own, deadlineMs, { ...answer, isGone: () => answer.isGone(), done: (response) => answer.done({ ...response, session: sessionAfter(mesh, { ...session, causal: response.causalToken }) }) }),
  );
}

/** `readFrom` in the request's session, at any level. Throws where the request is not valid. */
export function readInSession(mesh: MeshNode, timers: Timers, request: ReadRequest, deadlineMs: number, answer: Answer<ReadResponse>, turn?: Turn): void {
  const { session, region } = request;
  if (session === undefined || region === undefined) return readFrom(mesh, request, deadlineMs, answer, turn);
  checkSession(mesh, session);
  whenReached(mesh, timers, session, groupOf(region, mesh.options.groups), deadlineMs, answer, () =>
    readFrom(mesh, request, deadlineMs, { ...answer, isGone: () => answer.isGone(), done: (response) => answer.done({ ...response, session: sessionAfter(mesh, session, response.position) }) }, turn),
  );
}

/** How long a subscription waits at most for what its session has seen, and for a node that has just started to catch up, milliseconds. */
const SUBSCRIBE_MS = 5_000;

/**
 * `subscribe` in a session: what it begins with is not older than what the session has seen, of any group. Answers TOKEN_AHEAD after
 * 5 seconds: another node may be further. Throws where the request is not valid.
 */
export function subscribeInSession(mesh: MeshNode, timers: Timers, session: SessionToken | undefined, request: SubscriptionRequest, answer: Answer<number>): void {
  const deadlineMs = mesh.host.clock.monotonicMs() + SUBSCRIBE_MS;
  const last = (): void => whenCaughtUp(mesh, timers, request, deadlineMs, answer, () => subscribe(mesh, request, answer));
  if (session === undefined) return last();
  checkSession(mesh, session);
  const [first, ...groups] = [...new Set(session.positions.map(({ groupId }) => groupId))];
  const then = [...groups].reduceRight((next: () => void, groupId) => () => whenReached(mesh, timers, session, groupId, deadlineMs, answer, next), last);
  whenReached(mesh, timers, session, first, deadlineMs, answer, then);
}

/**
 * A node that has just started fetches the events that the others had. To a reader that begins there they are past: it begins behind them. With
 * nobody to fetch them from it begins at the deadline.
 */
function whenCaughtUp(mesh: MeshNode, timers: Timers, request: SubscriptionRequest, deadlineMs: number, answer: Answer<never>, then: () => void): void {
  const { strong, eventual, causal, resumeToken } = request;
  // A token says which events the reader has.
  const wantsNews = resumeToken === "" && (causal || (!strong && !eventual));
  const look = (): void => {
    if (wantsNews && !mesh.causal.isCaughtUp && mesh.host.clock.monotonicMs() + POLL_MS < deadlineMs) {
      if (answer.isGone()) return answer.fail(new MeshError("CANCELLED", "the caller went away"));
      timers.after(POLL_MS, look);
      return;
    }
    try {
      then();
    } catch (refused) {
      answer.fail(refused);
    }
  };
  look();
}

/** Runs `then` once this node has what the session has seen; of groups' logs only `groupId`'s counts. TOKEN_AHEAD shortly before the deadline. */
function whenReached(mesh: MeshNode, timers: Timers, session: SessionToken, groupId: number | undefined, deadlineMs: number, answer: Answer<never>, then: () => void): void {
  const untilMs = waitsUntilMs(mesh.host.clock.monotonicMs(), deadlineMs);
  const look = (): void => {
    if (answer.isGone()) return answer.fail(new MeshError("CANCELLED", "the caller went away"));
    if (!isReached(mesh, session, groupId)) {
      if (mesh.host.clock.monotonicMs() + POLL_MS < untilMs) timers.after(POLL_MS, look);
      else answer.fail(new MeshError("TOKEN_AHEAD", "session: it has seen what this node does not have yet", { retryDelayMs: mesh.causal.limits.retryDelayMs }));
      return;
    }
    try {
      then();
    } catch (refused) {
      answer.fail(refused);
    }
  };
  look();
}
