/**
 * The faults of a plan without those that a violation does not need, by delta debugging (Zeller and Hildebrandt, 2002): halves, quarters
 * and so on are left out as long as `fails` still holds. Gives positions in the plan, ascending, and how many runs it took.
 *
 * @param count Faults of the plan, of which all together fail.
 * @param budget Runs at most; what is left then may still be more than is needed.
 */
export async function shrink(count: number, fails: (kept: readonly number[]) => Promise<boolean>, budget: number): Promise<{ kept: readonly number[]; runs: number }> {
  let kept = Array.from({ length: count }, (_, at) => at);
  let parts = Math.min(2, kept.length);
  let runs = 0;
  if (kept.length > 0) {
    runs++;
    if (await fails([])) return { kept: [], runs };
  }
  while (kept.length > 1 && runs < budget) {
    const size = Math.ceil(kept.length / parts);
    let smaller: number[] | undefined;
    for (let start = 0; start < kept.length && runs < budget && smaller === undefined; start += size) {
      const rest = [...kept.slice(0, start), ...kept.slice(start + size)];
      runs++;
      if (await fails(rest)) smaller = rest;
    }
    if (smaller !== undefined) {
      kept = smaller;
      parts = Math.max(2, parts - 1);
    } else if (size === 1) break;
    else parts = Math.min(kept.length, parts * 2);
    parts = Math.min(parts, Math.max(1, kept.length));
  }
  return { kept, runs };
}
