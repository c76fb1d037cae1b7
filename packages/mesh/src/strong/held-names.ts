// An account that many transactions take from at a time is never quite free, and a linearizable read of it waits until it is. So what was
// held without a pause for a while comes to rest, for as long as it takes those that hold it to end: a few rounds.

/** Milliseconds for which a name may be held without a pause before nobody else may hold it until it was free. About what a reader waits at most. */
export const HELD_WITHOUT_PAUSE_MS = 250;
/** Names that are remembered, about. */
const NAMES = 8_192;

export class HeldNames {
  readonly #sinceMs = new Map<string, number>();

  /** True where one of the names must come free before it is held once more. `isHeld`: by whoever. */
  mustRest(names: readonly string[], isHeld: (name: string) => boolean, nowMs: number): boolean {
    if (this.#sinceMs.size >= NAMES) for (const name of this.#sinceMs.keys()) if (!isHeld(name)) this.#sinceMs.delete(name);
    let rests = false;
    for (const name of names) {
      const sinceMs = this.#sinceMs.get(name);
      if (sinceMs === undefined || !isHeld(name)) this.#sinceMs.set(name, nowMs);
      else if (nowMs - sinceMs > HELD_WITHOUT_PAUSE_MS) rests = true;
    }
    return rests;
  }

  clear(): void {
    this.#sinceMs.clear();
  }
}
