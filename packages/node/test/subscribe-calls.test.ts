import { MeshError } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { subscribe } from "../src/subscribe-calls.ts";

type Done = (error: MeshError | undefined) => void;

function world(ahead: readonly { groupId: number; index: number }[]) {
  const waiting: { groupId: number; index: number; deadlineMs: number; done: Done }[] = [];
  const answers: (number | MeshError)[] = [];
  let subscribed = 0;
  const node = {
    subscriptions: { aheadOf: () => [...ahead], subscribe: () => (subscribed += 1) },
    host: { clock: { wallMs: () => 0, monotonicMs: () => 1_000 } },
    group: (groupId: number) => ({ whenApplied: (index: number, deadlineMs: number, done: Done) => void waiting.push({ groupId, index, deadlineMs, done }) }),
  };
  const gone = { is: false };
  subscribe(node, { regions: [], strong: true, eventual: false, causal: false, resumeToken: "t" }, {
    done: (id) => answers.push(id), fail: (error) => answers.push(MeshError.from(error)), isGone: () => gone.is,
  });
  return { waiting, answers, gone, subscribed: () => subscribed };
}

describe("a reader whose token is ahead of the node", () => {
  it("is added at once where the node is not behind", () => {
    expect(world([]).answers).toEqual([1]);
  });

  it("is added once the node stands there in every group, and never a snapshot before it", () => {
    const { waiting, answers, subscribed } = world([{ groupId: 1, index: 7 }, { groupId: 2, index: 9 }]);
    expect(waiting.map(({ groupId, index, deadlineMs }) => [groupId, index, deadlineMs])).toEqual([[1, 7, 6_000], [2, 9, 6_000]]);
    waiting[1]?.done(undefined);
    expect(subscribed()).toBe(0);
    waiting[0]?.done(undefined);
    expect(answers).toEqual([1]);
  });

  it("hears TOKEN_AHEAD once where the node does not get there in time", () => {
    const { waiting, answers, subscribed } = world([{ groupId: 1, index: 7 }, { groupId: 2, index: 9 }]);
    for (const each of waiting) each.done(new MeshError("NO_QUORUM", "late"));
    expect(answers).toEqual([expect.objectContaining({ reason: "TOKEN_AHEAD", metadata: { group_id: "1" } })]);
    expect(subscribed()).toBe(0);
  });

  it("is not added when it has gone meanwhile", () => {
    const { waiting, answers, gone, subscribed } = world([{ groupId: 1, index: 7 }]);
    gone.is = true;
    waiting[0]?.done(undefined);
    expect(answers).toEqual([expect.objectContaining({ reason: "CANCELLED" })]);
    expect(subscribed()).toBe(0);
  });
});
