// A newer build kept an operation, and this one starts on its folder: it may not understand it, and has to live with it.
import { type Operation, Outcome, type PlayerInventory_Action, type TentativeOperation } from "@statemesh/contract";
import { fingerprintOf } from "@statemesh/world";
import { expect, it } from "vitest";
import { mint, place } from "./operations.ts";
import { isDecision, VirtualCluster } from "./virtual-cluster.ts";

const NEWER_ACTION = 99 as PlayerInventory_Action;

function record(operation: Operation): TentativeOperation {
  const side = { nodeIds: [3], beganMs: 1, endedMs: 0, viewEpoch: 1, decided: false };
  return { operation, stamp: { physicalMs: operation.timestampMs, logical: 0 }, fingerprint: fingerprintOf(operation), groupId: 1, nodeId: 3, side };
}

it.each(["a body", "an action"])("what this build knows is healed; an operation with %s that it does not know stays kept, counted and told, and every node lives", (what) => {
  const cluster = new VirtualCluster({ groups: 1 });
  cluster.settle();
  cluster.register(1, 2);
  const region = cluster.regionIn(1);
  const timestampMs = Math.floor(cluster.nowMs);
  const known = { ...place("known", 1, region, [0, 0, 0]), timestampMs, allowTentative: true };
  const made = { ...mint("newer", 2, region, "ann", "gold", 1), timestampMs, allowTentative: true };
  const body = made.body?.$case === "playerInventory" ? { ...made.body, value: { ...made.body.value, action: NEWER_ACTION } } : undefined;
  const newer: Operation = { ...made, body: what === "a body" ? undefined : body };
  cluster.kill(3);
  cluster.keepOnDisk(3, record(known));
  cluster.keepOnDisk(3, { ...record({ ...newer, body: made.body }), operation: newer });
  cluster.start(3);
  const left = (): number => cluster.node(3).cutOff.tentative.size;
  expect(cluster.runUntil(() => left() === 1)).toBe(true);
  // As often as it is offered.
  cluster.run(5_000);
  expect(cluster.node(3).cutOff.tentative).toMatchObject({ size: 1, notUnderstood: 1 });
  const leader = cluster.leaderOf(1);
  expect(cluster.node(leader).group(1).state.decisions.get("newer")).toBeUndefined();
  expect(cluster.complaints.some(({ message }) => message.includes("does not know"))).toBe(true);
  const again = cluster.execute(leader, [known]).get("known");
  expect(isDecision(again) && again.outcome).toBe(Outcome.ACCEPTED);
  // Also where the node that keeps it leads itself, and after another start.
  cluster.kill(3);
  cluster.start(3);
  cluster.node(leader).group(1).transferLeadership(3);
  cluster.run(5_000);
  expect(cluster.node(3).cutOff.tentative).toMatchObject({ size: 1, notUnderstood: 1 });
  expect(isDecision(cluster.execute(1, [place("later", 1, region, [50, 0, 0])]).get("later"))).toBe(true);
});
