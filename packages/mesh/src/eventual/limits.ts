/** Limits and intervals of a node's eventual state. Sizes in bytes, times in milliseconds. */
export interface EventualLimits {
  /** Registers a node holds, tombstones included. Reached: publishing a new key is answered OVERLOADED; peers' new keys wait for repair. */
  readonly maxRegisters: number;
  /** Memory of all registers, about. Reached: as above. */
  readonly maxBytes: number;
  readonly maxKeyBytes: number;
  readonly maxValueBytes: number;
  /** Updates in one publish. */
  readonly maxUpdates: number;
  /** Values and bytes in a peer's delta of one tick; the rest follows with the next ticks. */
  readonly maxValuesPerTick: number;
  readonly maxBytesPerTick: number;
  /** Keys that may wait for a peer. Reached: the newest are left to digest repair, and counted. */
  readonly maxBacklogKeys: number;
  /** Values and bytes of repair in a peer's delta of one tick, beside the above. */
  readonly maxRepairValuesPerTick: number;
  readonly maxRepairBytesPerTick: number;
  /** Whole regions that a peer may have waiting. Reached: it asks again later. */
  readonly maxRepairRegions: number;
  /** Registers that are gone through for sketches of regions in one tick, about: the last region may be larger. Reached: asked again later. */
  readonly maxSketchedPerTick: number;
  /** Ticks from one exchange of digests to the next. */
  readonly digestEveryTicks: number;
  /** Digests in one delta. */
  readonly maxDigests: number;
  /** A region is compared when it has not changed for this long, and asked for when it differs for this long: what is on its way would show as a difference. */
  readonly settleMs: number;
  /** A region that never settles is compared, and repaired, this often. */
  readonly restlessMs: number;
  /** From one request for a whole region to the next. */
  readonly repairRetryMs: number;
  /** How long a tombstone is kept, from its stamp. */
  readonly tombstoneHorizonMs: number;
  /** A peer's value stamped further ahead of the wall clock than this is refused and counted. */
  readonly maxPeerOffsetMs: number;
  /** What nobody reads on a peer's node waits this long for it, at most; not above `settleMs`, or what waits would be repaired. */
  readonly holdBackMs: number;
  /** What an overloaded publisher is told to wait. */
  readonly retryDelayMs: number;
}

export const DEFAULT_EVENTUAL_LIMITS: EventualLimits = {
  maxRegisters: 500_000,
  maxBytes: 268_435_456,
  maxKeyBytes: 128,
  maxValueBytes: 4_096,
  maxUpdates: 1_024,
  maxValuesPerTick: 8_192,
  maxBytesPerTick: 1_048_576,
  maxBacklogKeys: 65_536,
  maxRepairValuesPerTick: 4_096,
  maxRepairBytesPerTick: 262_144,
  maxRepairRegions: 1_024,
  maxSketchedPerTick: 262_144,
  digestEveryTicks: 4,
  maxDigests: 256,
  settleMs: 500,
  restlessMs: 5_000,
  repairRetryMs: 2_000,
  tombstoneHorizonMs: 600_000,
  maxPeerOffsetMs: 60_000,
  holdBackMs: 500,
  retryDelayMs: 1_000,
};
