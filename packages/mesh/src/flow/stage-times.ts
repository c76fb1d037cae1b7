// Where operations spend their time on a node: one histogram a stage, in plain arrays, since every operation passes through all of them.

/**
 * `edge`: from the caller's message until it is handed to the leader; `leader`: from then until the answer is back, on the leader's node or
 * from there; `whole`: both. On the leader's node besides: `queue`: until it is its turn; `decide`: until its decision goes into the log;
 * `log`: until that is applied.
 */
export const STAGES = ["edge", "leader", "whole", "queue", "decide", "log"] as const;
export type Stage = (typeof STAGES)[number];

/** Upper bounds of the buckets, milliseconds. */
export const STAGE_BUCKETS_MS: readonly number[] = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];

/** Durations of one stage. */
export class StageTime {
  /** Durations in each bucket, those of other buckets not included; the last has no upper bound. */
  readonly counts: Float64Array = new Float64Array(STAGE_BUCKETS_MS.length + 1);
  /** Of all durations together. */
  sumMs = 0;

  observe(durationMs: number, times = 1): void {
    let bucket = 0;
    while (durationMs > (STAGE_BUCKETS_MS[bucket] ?? Number.POSITIVE_INFINITY)) bucket++;
    this.counts[bucket] = (this.counts[bucket] ?? 0) + times;
    this.sumMs += durationMs * times;
  }
}

export type StageTimes = Readonly<Record<Stage, StageTime>>;

export function stageTimes(): StageTimes {
  return { edge: new StageTime(), leader: new StageTime(), whole: new StageTime(), queue: new StageTime(), decide: new StageTime(), log: new StageTime() };
}
