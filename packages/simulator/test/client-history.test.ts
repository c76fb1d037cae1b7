import { Decision, Entity, Operation, Outcome, ReadResponse } from "@statemesh/contract";
import { expect, test } from "vitest";
import { MeshRequests } from "../src/mesh/mesh-requests.ts";
import { Recorder, Simulation } from "../src/index.ts";

const GROUP = 1;
const REGION = { x: 0, y: 0, z: 0 };

function claim(operationId: string, resourceId: string): Operation {
  return { ...Operation.fromPartial({ operationId, serverId: 1, homeRegion: REGION, type: "resource_claim" }), body: { $case: "resourceClaim", value: { resourceId, playerId: "p1", release: false } } };
}

function accepted(operationId: string, index: number): Decision {
  return Decision.fromPartial({ operationId, outcome: Outcome.ACCEPTED, version: index, position: { groupId: GROUP, term: 1, index } });
}

function held(resourceId: string, operationId: string, version: number): Entity {
  return Entity.fromPartial({ kind: "claim", entityId: resourceId, region: REGION, version, operationId });
}

function shown(index: number, entities: Entity[]): ReadResponse {
  return ReadResponse.fromPartial({ entities, position: { groupId: GROUP, term: 1, index } });
}

const named = (...ids: string[]): { kind: string; entityId: string }[] => ids.map((entityId) => ({ kind: "claim", entityId }));

function violationOf(tell: (requests: MeshRequests) => void, budget?: number): { kind: string; message: string } | undefined {
  const recorder = new Recorder(new Simulation(1));
  const requests = new MeshRequests(() => 0, 1);
  tell(requests);
  requests.check(recorder, budget);
  return recorder.outcome().violations[0];
}

test("a history that a right mesh gives passes", () => {
  const violation = violationOf((requests) => {
    const first = requests.write("shard 1", GROUP, [claim("o1", "a")], "");
    requests.decided(first, accepted("o1", 3));
    const read = requests.read("shard 2", GROUP, named("a", "b"), ["p1"]);
    requests.answered(read, shown(3, [held("a", "o1", 3)]));
    const refused = requests.write("shard 1", GROUP, [claim("o2", "a")], "");
    requests.refused(refused);
  });
  expect(violation).toBeUndefined();
});

test("a read that lacks what was answered before it began is no linearizable one", () => {
  const violation = violationOf((requests) => {
    const write = requests.write("shard 1", GROUP, [claim("o1", "a")], "");
    requests.decided(write, accepted("o1", 3));
    const read = requests.read("shard 2", GROUP, named("a"), []);
    // It says that it stands behind the write, and is without it.
    requests.answered(read, shown(4, []));
  });
  expect(violation?.kind).toBe("history is linearizable");
  expect(violation?.message).toContain("claim/a");
});

test("a read between the halves of a transaction is found by the order of transactions alone", () => {
  const violation = violationOf((requests) => {
    const before = requests.write("shard 1", GROUP, [claim("o1", "a"), claim("o2", "b")], "t1");
    for (const id of ["o1", "o2"]) requests.decided(before, accepted(id, 3));
    const after = requests.write("shard 1", GROUP, [claim("o3", "a"), claim("o4", "b")], "t2");
    const read = requests.read("shard 2", GROUP, named("a", "b"), []);
    requests.answered(read, shown(5, [held("a", "o3", 5), held("b", "o2", 3)]));
    for (const id of ["o3", "o4"]) requests.decided(after, accepted(id, 5));
  });
  expect(violation?.kind).toBe("history is strictly serializable");
  expect(violation?.message).toContain("t2");
});

test("a read of what was refused is an aborted read", () => {
  const violation = violationOf((requests) => {
    const refused = requests.write("shard 1", GROUP, [claim("o1", "a")], "");
    const read = requests.read("shard 2", GROUP, named("a"), []);
    requests.refused(refused);
    requests.answered(read, shown(5, [held("a", "o1", 5)]));
  });
  expect(violation?.kind).toBe("history is linearizable");
});

test("what cannot be decided within the budget is a violation of its own", () => {
  const violation = violationOf((requests) => {
    for (let n = 1; n <= 4; n++) requests.write("shard 1", GROUP, [claim(`o${n}`, "a")], "");
    const read = requests.read("shard 2", GROUP, named("a"), []);
    requests.answered(read, shown(9, [held("a", "o4", 9)]));
  }, 1);
  expect(violation?.kind).toBe("history is decided");
});
