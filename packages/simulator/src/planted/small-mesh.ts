/** A small mesh, with nothing in it that a bug does not need: many seeds in little time. */
export const SMALL_MESH = {
  nodes: 3, groups: 1, safetyMs: 6_000, paceMs: 20, shards: 3, arbiters: 0, spares: 0, oldNodes: 0, hasStore: false, subscribers: 0, walking: 0, leasing: false, handoffs: false, maxRegions: 0, tentative: 0, tickMs: 50, balanceTicks: 0, maxDelayMs: 1,
  maxSyncMs: 1, names: 12, borders: 0, facing: false, plots: 0, mischief: 0.05, ownTypes: 0, travellers: 0, hasRedis: false, escrows: 0, decisionWindow: 65_536, queueCapacity: 16_384, snapshotLogBytes: 67_108_864, segmentBytes: 4_194_304, restartMs: 200, faultEveryMs: 400,
} as const;
