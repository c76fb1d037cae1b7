import type { DirectoryCommand } from "@statemesh/contract/log";
import { describe, expect, it } from "vitest";
import { Directory } from "@statemesh/replica";
import { StateHash } from "../src/state-hash.ts";

const REGION = { x: 1, y: 0, z: -1 };
type Body = NonNullable<DirectoryCommand["command"]>;

function directory() {
  const target = new Directory(new StateHash());
  const run = (command: Body) => target.apply({ command, nowMs: 0 });
  const register = (serverId: number, name = `s${serverId}`, incarnation = 1, maxRegions = 0) =>
    run({ $case: "register", value: { server: { serverId, name, address: "", priority: 0, incarnation, maxRegions }, ttlMs: 1_000 } });
  const acquire = (serverId: number) => run({ $case: "acquire", value: { serverId, region: REGION, durationMs: 3_000 } });
  return { target, run, register, acquire };
}

describe("the directory", () => {
  it("refuses a live name or id that is registered twice, but not a retry of the same start", () => {
    const { register } = directory();
    expect(register(1).result.reason).toBe("");
    expect(register(1).result.reason).toBe("");
    expect(register(1, "s1", 2).result.reason).toBe("SERVER_ALREADY_REGISTERED");
    expect(register(2, "s1").result.reason).toBe("SERVER_ALREADY_REGISTERED");
    expect(register(2).result.reason).toBe("");
  });

  it("gives a region to one server, and a new epoch with every new owner", () => {
    const { run, register, acquire } = directory();
    register(1);
    register(2);
    expect(acquire(1).result.lease).toMatchObject({ serverId: 1, epoch: 1 });
    expect(acquire(1).result.lease).toMatchObject({ serverId: 1, epoch: 1 });
    expect(acquire(2).result).toMatchObject({ reason: "LEASE_HELD", holder: { epoch: 1 } });
    expect(run({ $case: "release", value: { serverId: 1, region: REGION, epoch: 1 } }).result.released).toBe(true);
    expect(acquire(2).result.lease).toMatchObject({ serverId: 2, epoch: 2 });
    expect(run({ $case: "release", value: { serverId: 1, region: REGION, epoch: 1 } }).result.released).toBe(false);
    expect(run({ $case: "expire", value: { leases: [{ region: REGION, epoch: 1, players: 0 }], servers: [], failover: false, silentServerIds: [], handoffIds: [] } }).fenced).toEqual([]);
    expect(run({ $case: "expire", value: { leases: [{ region: REGION, epoch: 2, players: 0 }], servers: [], failover: false, silentServerIds: [], handoffIds: [] } }).fenced).toMatchObject([{ epoch: 2, serverId: 0 }]);
    expect(acquire(1).result.lease?.epoch).toBe(3);
  });

  it("tells a holder whose lease is gone who has it", () => {
    const { run, register, acquire } = directory();
    register(1);
    register(2);
    acquire(1);
    run({ $case: "expire", value: { leases: [{ region: REGION, epoch: 1, players: 0 }], servers: [], failover: false, silentServerIds: [], handoffIds: [] } });
    acquire(2);
    const renewed = run({ $case: "renew", value: { serverId: 1, leases: [{ region: REGION, epoch: 1, players: 0 }], durationMs: 3_000, ttlMs: 1_000, load: undefined } });
    expect(renewed.result.renewed).toEqual([]);
    expect(renewed.result.lost).toMatchObject([{ epoch: 2, owner: { serverId: 2 } }]);
  });

  it("ends the leases of a server with its registration, and lets its name go", () => {
    const { run, register, acquire } = directory();
    register(1);
    acquire(1);
    expect(run({ $case: "expire", value: { leases: [], servers: [{ serverId: 1, incarnation: 9 }], failover: false, silentServerIds: [], handoffIds: [] } }).fenced).toEqual([]);
    expect(run({ $case: "expire", value: { leases: [], servers: [{ serverId: 1, incarnation: 1 }], failover: false, silentServerIds: [], handoffIds: [] } }).fenced).toMatchObject([{ serverId: 0, epoch: 1, players: 0 }]);
    expect(acquire(1).result.reason).toBe("SERVER_NOT_REGISTERED");
    expect(register(7, "s1").result.reason).toBe("");
  });
});
