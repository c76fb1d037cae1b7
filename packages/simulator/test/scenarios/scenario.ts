import { expect, vi } from "vitest";
import { type Fault, type MeshSettings, type Outcome, type PlainRecord, meshTier } from "../../src/index.ts";

// Virtual time, but real work: a busy machine is no failure.
vi.setConfig({ testTimeout: 300_000 });

/** A mesh of three nodes with small limits, so that a few seconds show what takes hours elsewhere. */
const BASE: MeshSettings = {
  nodes: 3, groups: 1, arbiters: 1, hasStore: false, shards: 2, subscribers: 1, regionsPerGroup: 2,
  tickMs: 50, electionTicks: 10, heartbeatTicks: 2, balanceTicks: 0, leaseReads: false,
  snapshotLogBytes: 67_108_864, trailingEntries: 8, segmentBytes: 131_072, decisionWindow: 65_536, touchCapacity: 4_096, queueCapacity: 256,
  leaseMs: 1_500, registrationTtlMs: 10_000, arbiterTimeoutMs: 50, safetyMs: 7_000, paceMs: 60, mischief: 0, leasing: false, handoffs: false, maxRegions: 0, tentative: 0, names: 4, borders: 0,
  slowReaderMs: 1, keepaliveMs: 500, restartMs: 300, maxDelayMs: 2, maxSyncMs: 3, faults: "", faultClasses: 0, faultEveryMs: 1_000, spares: 0, oldNodes: 0, plots: 0, containers: 0, walking: 0, facing: false, policy: "", ownTypes: 0, travellers: 0, hasRedis: false, escrows: 0,
};

export function settingsOf(settings: Partial<MeshSettings>): MeshSettings {
  return { ...BASE, ...settings };
}

/** A fault at a moment, in milliseconds; the mesh works from about its first second on. */
export function at(atMs: number, kind: string, args: PlainRecord = {}): Fault {
  return { atMs, kind, args };
}

/**
 * Runs a mesh through faults, to its healing and to rest, under every invariant of the simulator. `seen`: what must have come about, or
 * the scenario showed nothing.
 */
export async function scenario(settings: Partial<MeshSettings>, faults: readonly Fault[], seen: readonly string[] = [], seeds: readonly number[] = [1]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const fault of faults) expect(meshTier.faultKinds).toContain(fault.kind);
  for (const seed of seeds) outcomes.push(await meshTier.run(seed, { settings: settingsOf(settings), faults }));
  for (const { seed, violations, operations } of outcomes) {
    expect({ seed, violations }).toEqual({ seed, violations: [] });
    expect(operations).toBeGreaterThan(20);
  }
  for (const name of seen) expect(outcomes.map(({ sometimes, faults: done }) => sometimes[name] ?? done[name] ?? 0).reduce((sum, each) => sum + each, 0), name).toBeGreaterThan(0);
  return outcomes;
}
