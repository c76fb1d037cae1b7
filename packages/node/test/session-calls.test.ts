import { type MeshError, MeshError as MeshErrorClass, PublishRequest } from "@statemesh/contract";
import type { MeshNode } from "@statemesh/mesh";
import { describe, expect, it } from "vitest";
import { publish } from "../src/shard-calls.ts";
import { subscribeInSession } from "../src/session-calls.ts";

/** A node that has not yet what the others had when it started, and one reader that begins there. */
function world(request: { strong?: boolean; eventual?: boolean; causal?: boolean; resumeToken?: string }) {
  const timers: (() => void)[] = [];
  const answers: (number | MeshError)[] = [];
  let nowMs = 0;
  const causal = { isCaughtUp: false, limits: { retryDelayMs: 50 } };
  const mesh = { causal, subscriptions: { aheadOf: () => [], subscribe: () => 1 }, host: { clock: { monotonicMs: () => nowMs } } } as unknown as MeshNode;
  const gone = { is: false };
  const whole = { regions: [], strong: false, eventual: false, causal: false, resumeToken: "", ...request };
  const after = (delayMs: number, run: () => void): (() => void) => {
    timers.push(() => {
      nowMs += delayMs;
      run();
    });
    return () => undefined;
  };
  subscribeInSession(mesh, { after } as never, undefined, whole, { done: (id) => answers.push(id), fail: (error) => answers.push(MeshErrorClass.from(error)), isGone: () => gone.is });
  const pass = (): void => timers.splice(0).forEach((run) => run());
  return { causal, answers, gone, pass, nowMs: () => nowMs };
}

describe("a reader that begins on a node that has just started", () => {
  it.each([{}, { causal: true }, { causal: true, strong: true }])("begins once the node has the events of before: they are no news to it (%o)", (request) => {
    const { causal, answers, pass } = world(request);
    pass();
    expect(answers).toEqual([]);
    causal.isCaughtUp = true;
    pass();
    expect(answers).toEqual([1]);
  });

  it.each([{ strong: true }, { eventual: true }, { causal: true, resumeToken: "t" }])("does not wait where it wants no events, or says which it has (%o)", (request) => {
    expect(world(request).answers).toEqual([1]);
  });

  it("begins after 5 s all the same: nobody may be there to fetch them from", () => {
    const { answers, pass, nowMs } = world({ causal: true });
    for (let polls = 0; answers.length === 0 && polls < 1_000; polls++) pass();
    expect(answers).toEqual([1]);
    expect(nowMs()).toBeGreaterThan(4_900);
    expect(nowMs()).toBeLessThanOrEqual(5_000);
  });

  it("is not added where it has gone meanwhile", () => {
    const { answers, gone, pass } = world({ causal: true });
    gone.is = true;
    pass();
    expect(answers).toEqual([expect.objectContaining({ reason: "CANCELLED" })]);
  });
});

describe("a publish whose token names what has not come yet", () => {
  it.each([[2_000, 1_750], [100, 80], [30_000, 29_750]])("is refused in time for its caller to hear that nothing was done: of %i ms after %i", (timeMs, refusedMs) => {
    let nowMs = 0;
    const timers: (() => void)[] = [];
    const answers: unknown[] = [];
    const mesh = {
      host: { clock: { monotonicMs: () => nowMs, wallMs: () => 0 } }, directory: { directory: { server: () => ({}) } }, options: {}, lateness: { refusal: () => undefined }, quotas: { takeUpdates: () => undefined }, eventual: { admit: () => undefined },
      causal: {
        validateToken: () => undefined, covers: () => false,
        publish: () => {
          throw new MeshErrorClass("TOKEN_AHEAD", "not yet");
        },
      },
    } as unknown as MeshNode;
    const after = (delayMs: number, run: () => void) => timers.push(() => ((nowMs += delayMs), run()));
    const request = PublishRequest.fromPartial({ serverId: 1, causalToken: { entries: [] } });
    publish(mesh, { after } as never, request, timeMs, { done: (done) => answers.push(done), fail: (error) => answers.push(error), isGone: () => false });
    while (timers.length > 0) timers.shift()?.();
    expect(answers).toEqual([expect.objectContaining({ reason: "TOKEN_AHEAD" })]);
    expect(nowMs).toBeGreaterThan(refusedMs - 30);
    expect(nowMs).toBeLessThanOrEqual(refusedMs);
  });
});
