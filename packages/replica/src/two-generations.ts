/**
 * A map that forgets: it holds at least the last `generation` entries and at most twice as many. When the
 * young half is full, the old half is dropped whole. What is dropped depends only on the order of insertions,
 * so replicas that apply the same log forget the same.
 */
export class TwoGenerations<V> {
  readonly #generation: number;
  readonly #onForget: (value: V) => void;
  #young = new Map<string, V>();
  #old = new Map<string, V>();

  constructor(generation: number, onForget: (value: V) => void = () => undefined) {
    this.#generation = generation;
    this.#onForget = onForget;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** The young half was full at least once: something may be forgotten. */
  get hasRotated(): boolean {
    return this.#old.size > 0;
  }

  get(key: string): V | undefined {
    return this.#young.get(key) ?? this.#old.get(key);
  }

  set(key: string, value: V): void {
    this.#old.delete(key);
    this.add(key, value);
  }

  /** `set` for a key that is not there: what `get` has just said. */
  add(key: string, value: V): void {
    this.#young.set(key, value);
    if (this.#young.size < this.#generation) return;
    for (const forgotten of this.#old.values()) this.#onForget(forgotten);
    this.#old = this.#young;
    this.#young = new Map();
  }

  /** Another value for a key that is there. It is forgotten when it would have been. */
  replace(key: string, value: V): void {
    (this.#young.has(key) ? this.#young : this.#old).set(key, value);
  }

  /** Old entries first; `recent` tells the halves apart, so that a restored map forgets at the same insertion. */
  *entries(): Generator<{ key: string; value: V; recent: boolean }> {
    for (const [key, value] of this.#old) yield { key, value, recent: false };
    for (const [key, value] of this.#young) yield { key, value, recent: true };
  }

  restore(key: string, value: V, recent: boolean): void {
    (recent ? this.#young : this.#old).set(key, value);
  }
}
