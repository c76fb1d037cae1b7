import { type Decision, Decision as DecisionMessage, DeliveredEvent, type LogPosition, Operation, PublishResponse, ReadResponse, type SessionToken } from "@statemesh/contract";
import { expect, test } from "vitest";
import { MeshSession, type SessionCalls } from "../src/mesh-session.ts";

const at = (groupId: number, index: number): LogPosition => ({ groupId, term: 1, index });
const origin = (node: number, start: number): number => node * 2 ** 32 + start;
const token = (fields: Partial<SessionToken>): SessionToken => ({ positions: [], causal: undefined, eventual: [], ...fields });

function calls(answers: { decision?: Decision; session?: SessionToken }) {
  const asked: (SessionToken | undefined)[] = [];
  const made: SessionCalls = {
    execute: async () => answers.decision ?? DecisionMessage.fromPartial({}),
    transact: async () => ({ committed: true, decisions: [DecisionMessage.fromPartial({ position: at(4, 9) }), DecisionMessage.fromPartial({ position: at(2, 1) })] }),
    publish: async ({ session }) => {
      asked.push(session);
      return { ...PublishResponse.fromPartial({}), session: answers.session };
    },
    subscribe: () => {
      throw new Error("nobody subscribes here");
    },
    readSnapshot: async () => ({ parts: [], positions: [at(3, 12), at(4, 2)] }),
    read: async ({ session }) => {
      asked.push(session);
      return { ...ReadResponse.fromPartial({}), session: answers.session };
    },
  };
  return { made, asked };
}

test("a session hands what it has seen to every call, and takes in what comes back, the highest of each", async () => {
  const { made, asked } = calls({
    decision: DecisionMessage.fromPartial({ position: at(2, 7) }),
    session: token({ positions: [at(1, 3), at(2, 5)], causal: { entries: [{ origin: origin(1, 5), sequence: 4 }], collapsed: true }, eventual: [{ origin: origin(1, 6), sequence: 2 }] }),
  });
  const session = new MeshSession(made, token({ eventual: [{ origin: origin(1, 5), sequence: 90 }, { origin: origin(2, 1), sequence: 3 }] }));
  await session.execute(Operation.fromPartial({}));
  await session.transact([]);
  await session.publish({});
  await session.read({ region: undefined });
  expect(asked).toEqual([
    token({ positions: [at(2, 7), at(4, 9)], eventual: [{ origin: origin(1, 5), sequence: 90 }, { origin: origin(2, 1), sequence: 3 }] }),
    token({
      positions: [at(1, 3), at(2, 7), at(4, 9)], causal: { entries: [{ origin: origin(1, 5), sequence: 4 }], collapsed: true },
      // Of node 1 its newer start counts.
      eventual: [{ origin: origin(1, 6), sequence: 2 }, { origin: origin(2, 1), sequence: 3 }],
    }),
  ]);
});

test("answers of calls that ran side by side take nothing back, and delivered events count", async () => {
  const session = new MeshSession(calls({}).made);
  session.saw(token({ positions: [at(1, 9)], causal: { entries: [{ origin: origin(3, 1), sequence: 7 }] } }));
  session.saw(token({ positions: [at(1, 4)], causal: { entries: [{ origin: origin(3, 1), sequence: 2 }] } }));
  session.saw(undefined);
  session.delivered(DeliveredEvent.fromPartial({ id: { origin: origin(1, 1), sequence: 1 } }));
  expect(session.token).toEqual(token({ positions: [at(1, 9)], causal: { entries: [{ origin: origin(1, 1), sequence: 1 }, { origin: origin(3, 1), sequence: 7 }] } }));
});

test("a session has seen the places at which its snapshots stand", async () => {
  const session = new MeshSession(calls({}).made, token({ positions: [at(3, 5), at(4, 9)] }));
  await session.readSnapshot([]);
  expect(session.token.positions).toEqual([at(3, 12), at(4, 9)]);
});
