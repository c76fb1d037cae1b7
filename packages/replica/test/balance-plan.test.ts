import { HandoffPhase } from "@statemesh/contract";
import type { DirectoryCommand } from "@statemesh/contract/log";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Directory, planBalance } from "@statemesh/replica";
import { StateHash } from "../src/state-hash.ts";

type Body = NonNullable<DirectoryCommand["command"]>;
const NOBODY: ReadonlySet<number> = new Set();

/** Servers with regions of so many players each. */
function world(servers: readonly { readonly takes: number; readonly players: readonly number[] }[]) {
  const directory = new Directory(new StateHash());
  const run = (command: Body) => directory.apply({ command, nowMs: 0 });
  for (const [at, { takes, players }] of servers.entries()) {
    const serverId = at + 1;
    run({ $case: "register", value: { server: { serverId, name: `s${serverId}`, address: "", priority: 0, incarnation: 1, maxRegions: takes }, ttlMs: 1_000 } });
    const regions = players.map((_, z) => ({ x: at, y: 0, z: 2 * z }));
    for (const region of regions) run({ $case: "acquire", value: { serverId, region, durationMs: 3_000 } });
    run({ $case: "renew", value: { serverId, leases: regions.map((region, i) => ({ region, epoch: 1, players: players[i] ?? 0 })), durationMs: 3_000, ttlMs: 1_000, load: undefined } });
  }
  const weights = (moves: ReturnType<typeof planBalance>): number[] =>
    servers.map((_, at) => {
      const rows = [...directory.tables.leases.ownedBy(at + 1)];
      const before = rows.reduce((sum, { players }) => sum + 1 + players, 0);
      return moves.reduce((sum, move) => sum + (move.toServerId === at + 1 ? 1 + move.players : 0) - (move.fromServerId === at + 1 ? 1 + move.players : 0), before);
    });
  return { directory, run, weights, plan: (most = 16, silent = NOBODY) => planBalance(directory.tables, most, silent) };
}

describe("a plan that evens servers out", () => {
  it("moves what evens the fullest and the emptiest out best, and stops once they are even enough", () => {
    const { plan, weights } = world([{ takes: 10, players: [100, 60, 30, 9, 0] }, { takes: 10, players: [] }]);
    const moves = plan();
    expect(moves[0]).toMatchObject({ fromServerId: 1, toServerId: 2, players: 100 });
    const [one = 0, two = 0] = weights(moves);
    expect(Math.abs(one - two)).toBeLessThanOrEqual(0.1 * Math.max(one, two));
    expect(world([{ takes: 10, players: [10, 10] }, { takes: 10, players: [20] }]).plan()).toEqual([]);
  });

  it("never makes the fullest fuller, moves a region once, and keeps to what a server takes", () => {
    const server = fc.record({ takes: fc.integer({ min: 0, max: 6 }), players: fc.array(fc.integer({ min: 0, max: 200 }), { maxLength: 6 }) });
    fc.assert(
      fc.property(fc.array(server, { minLength: 1, maxLength: 5 }), fc.integer({ min: 1, max: 20 }), (servers, most) => {
        const { plan, weights, directory } = world(servers);
        const moves = plan(most);
        expect(moves.length).toBeLessThanOrEqual(most);
        expect(new Set(moves.map(({ region }) => `${region.x} ${region.z}`)).size).toBe(moves.length);
        expect(Math.max(...weights(moves))).toBeLessThanOrEqual(Math.max(...weights([])));
        for (const [at, { takes }] of servers.entries()) {
          const got = moves.filter(({ toServerId }) => toServerId === at + 1).length;
          if (got > 0) expect(directory.tables.leases.ownedCount(at + 1) + got).toBeLessThanOrEqual(takes);
        }
      }),
    );
  });

  it("counts what a server is to give as its own: that handoff may be refused", () => {
    const { plan, directory } = world([{ takes: 2, players: [0] }, { takes: 5, players: [40, 19, 32, 40] }, { takes: 0, players: [12, 0, 91, 0] }]);
    const moves = plan(3);
    expect(moves.some(({ fromServerId }) => fromServerId === 2)).toBe(true);
    expect(directory.tables.leases.ownedCount(2) + moves.filter(({ toServerId }) => toServerId === 2).length).toBeLessThanOrEqual(5);
  });

  it("gives nothing to servers that are silent, that take none or that say they are full, and leaves what is on its way", () => {
    const { plan, run } = world([{ takes: 9, players: [50, 40] }, { takes: 9, players: [] }, { takes: 0, players: [] }]);
    expect(plan(1, new Set([2]))).toEqual([]);
    expect(plan(1)).toMatchObject([{ toServerId: 2, players: 50 }]);
    run({ $case: "prepare", value: { handoff: { handoffId: "h", region: { x: 0, y: 0, z: 0 }, fromServerId: 1, toServerId: 2, epoch: 1, phase: HandoffPhase.PREPARED, reason: "", timeoutMs: 1 } } });
    expect(plan(1)).toMatchObject([{ players: 40 }]);
    run({ $case: "renew", value: { serverId: 2, leases: [], durationMs: 3_000, ttlMs: 1_000, load: { players: 0, tickUs: 0, cpuPermille: 950 } } });
    expect(plan(1)).toEqual([]);
  });
});
