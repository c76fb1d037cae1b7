import { ArbitrateRequest, Outcome } from "@statemesh/contract";
import { expect, test, vi } from "vitest";
import { meshTier, Simulation } from "../src/index.ts";
import { SimArbiter } from "../src/mesh/sim-arbiters.ts";
import { policyOfRun } from "../src/mesh/studio-policy.ts";

vi.setConfig({ testTimeout: 300_000 });

const POLICY = `version: 1
types:
  duel: {consistency: strong, chain: [priority, timestamp], tentative: true}
  garden: {consistency: strong, chain: [timestamp], merge: true}
  bank: {consistency: strong, chain: [timestamp], merge: counter}
  mood: {consistency: eventual, chain: [last_write_wins, server_id]}
  saga: {consistency: causal, chain: [last_write_wins, server_id]}
`;
const SMALL = { nodes: 3, groups: 2, shards: 3, paceMs: 20, safetyMs: 5_000, leasing: false, mischief: 0, faults: "partition" };

test("a policy's own types are among what shards do, and nothing that is no part of it", async () => {
  const outcome = await meshTier.run(3, meshTier.plan(3, { ...SMALL, policy: POLICY }));
  expect(outcome.violations).toEqual([]);
  expect(outcome.types).toMatchObject({ "duel accepted": expect.any(Number) as number, "garden accepted": expect.any(Number) as number, "bank merged": expect.any(Number) as number, "mood published": expect.any(Number) as number, "saga published": expect.any(Number) as number });
  expect(Object.keys(outcome.types).filter((name) => name.startsWith("hero"))).toEqual([]);
});

test("without a policy the simulator's own types are used in the share that is asked for", async () => {
  const all = await meshTier.run(3, meshTier.plan(3, { ...SMALL, ownTypes: 1 }));
  expect(all.violations).toEqual([]);
  for (const type of ["spell", "guild", "growth"]) expect(all.types[`${type} accepted`], type).toBeGreaterThan(0);
  for (const type of ["vault", "bag", "banner", "soil", "rooms", "hero"]) expect(all.types[`${type} merged`], type).toBeGreaterThan(0);
  const none = await meshTier.run(3, meshTier.plan(3, { ...SMALL, ownTypes: 0, travellers: 0 }));
  expect(Object.keys(none.types).some((name) => name.startsWith("spell"))).toBe(false);
});

test("an arbiter of another version refuses types that it does not know, and one that is well decides them", async () => {
  const simulation = new Simulation(1);
  const arbiter = new SimArbiter(simulation, policyOfRun(POLICY));
  const port = arbiter.port("arbiter-0", () => (run) => run());
  const candidate = (operationId: string): object => ({ operationId, type: "duel", serverId: 1, stamp: { physicalMs: 1, logical: 0 }, keys: ["k"], region: { x: 0, y: 0, z: 0 } });
  const ask = async (policyDigest = policyOfRun(POLICY).digest): Promise<string> => {
    let answer = "none";
    const request = ArbitrateRequest.fromPartial({ policyDigest, sets: [{ candidates: [candidate("a"), candidate("b")] }] });
    port.ask(request, 1_000, ({ sets }) => (answer = sets[0]?.verdicts.map(({ outcome }) => outcome).join() ?? ""), (reason) => (answer = reason));
    await simulation.runFor(2_000);
    return answer;
  };
  expect(await ask()).toBe([Outcome.ACCEPTED, Outcome.REJECTED].join());
  arbiter.mood = "other";
  expect(await ask()).toBe("UNKNOWN_TYPE: duel");
  arbiter.mood = "mismatched";
  expect(await ask()).toMatch(/^POLICY_MISMATCH/);
});

test("with an arbiter of another policy a studio's types are decided by the leader's table alone", async () => {
  const plan = meshTier.plan(5, { ...SMALL, policy: POLICY, arbiters: 2, ownTypes: 0.8, faults: "arbiter of another policy" });
  const outcome = await meshTier.run(5, { ...plan, faults: [0, 1].map((arbiter) => ({ atMs: 1_500, kind: "arbiter of another policy", args: { arbiter, ms: 20_000 } })) });
  expect(outcome.violations).toEqual([]);
  expect(outcome.sometimes["arbiter of another policy passed over"]).toBeGreaterThan(0);
  for (const type of ["duel", "garden"]) expect(outcome.types[`${type} accepted`], type).toBeGreaterThan(0);
});
