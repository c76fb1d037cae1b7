/** What must hold after a run, each with a name. */

/** One check, done. */
export interface Check {
  /** What must hold, as a sentence. */
  readonly name: string;
  /** What was looked at. */
  readonly detail: string;
  /** What does not hold; empty: all is well. */
  readonly anomalies: readonly string[];
}

/** Asks until `attempt` finds nothing wrong, or the time is over; answers what was wrong last. */
export async function settled(attempt: () => Promise<string[]>, limitMs: number): Promise<string[]> {
  const endMs = performance.now() + limitMs;
  for (;;) {
    const troubles = await attempt();
    if (troubles.length === 0 || performance.now() > endMs) return troubles;
    await new Promise((wake) => setTimeout(wake, 200));
  }
}

export function chunks<T>(list: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, at) => list.slice(at * size, (at + 1) * size));
}
