// Candidates for tests.
import type { Bounds, Candidate, CandidateSet } from "@statemesh/contract";
import type { ArbiterConfiguration } from "../src/options.ts";

export const CONFIG: ArbiterConfiguration = {
  listenAddress: "127.0.0.1:0", metricsAddress: "127.0.0.1:0", logLevel: "error", maxMessageBytes: 4_194_304, maxStreamsPerConnection: 4096,
  keepaliveMs: 20_000, drainDelayMs: 0, shutdownLimitMs: 5_000, policyFile: undefined, watchersMax: 2, watcherQueue: 4,
};

export function box(min: number, max: number): Bounds {
  return { minX: min, minY: 0, minZ: 0, maxX: max, maxY: 10, maxZ: 10 };
}

export function candidate(operationId: string, changes: Partial<Candidate> = {}): Candidate {
  return {
    operationId, type: "structure_placement", serverId: 1, priority: 0, stamp: { physicalMs: 1000, logical: 0 }, keys: [], bounds: box(0, 10),
    mergeClass: "", region: { x: 0, y: 0, z: 0 }, ...changes,
  };
}

export function dig(operationId: string, changes: Partial<Candidate> = {}): Candidate {
  return candidate(operationId, { type: "terrain_modification", mergeClass: "dig", ...changes });
}

export function setOf(candidates: Candidate[], incumbents: Candidate[] = []): CandidateSet {
  return { incumbents, candidates };
}

/** Two structures in one place: the first wins by its id. */
export const PAIR: CandidateSet = setOf([candidate("a"), candidate("b")]);

/** Waits until `probe` gives something; fails after a minute. */
export async function until<T>(probe: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const limitMs = performance.now() + 60_000;
  for (;;) {
    const found = await probe();
    if (found !== undefined) return found;
    if (performance.now() > limitMs) throw new Error("the condition did not come true within a minute");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
