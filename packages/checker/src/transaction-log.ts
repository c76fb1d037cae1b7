// Who wrote which version: what transactions of a history say about each other.
import type { Call, History } from "./history.ts";
import type { SeenVersion, Transaction, TransactionResult } from "./operations.ts";

/** One transaction that took effect, as far as the history shows. */
export interface Committed {
  /** Undefined: nobody knows which of several open transactions it is. */
  readonly call: Call<Transaction> | undefined;
  readonly reads: SeenVersion[];
  readonly writes: { readonly key: string; readonly version: number }[];
}

/** A read that no order of transactions explains. */
export interface BadRead {
  readonly kind: "G1a aborted read" | "G1b intermediate read" | "unknown write";
  readonly reader: Committed;
  readonly seen: SeenVersion;
  /** The transaction that wrote it, where there is one. */
  readonly writer: Call<Transaction> | undefined;
}

/** Versions of one key in their order, each with who wrote it. Transactions of one log entry share a version. */
export interface KeyVersions {
  readonly key: string;
  readonly versions: { readonly version: number; readonly writers: number[] }[];
  /** Place in `versions`, by version. */
  readonly places: Map<number, number>;
}

export interface TransactionLog {
  readonly committed: Committed[];
  readonly keys: ReadonlyMap<string, KeyVersions>;
  readonly badReads: BadRead[];
}

/** Transactions that are `ok`, and open ones that somebody saw. */
export function transactionLogOf(history: History): TransactionLog {
  return new Reading(history).log();
}

class Reading {
  readonly #calls: Call<Transaction>[];
  readonly #byId = new Map<string, Call<Transaction>>();
  readonly #committed: Committed[] = [];
  readonly #places = new Map<Call<Transaction>, number>();
  /** By key, then version. */
  readonly #writers = new Map<string, Map<number, number[]>>();
  readonly #openWriters = new Map<string, Call<Transaction>[]>();
  readonly #badReads: BadRead[] = [];

  constructor(history: History) {
    this.#calls = history.calls.filter((call): call is Call<Transaction> => call.operation.model === "transaction");
  }

  log(): TransactionLog {
    for (const call of this.#calls) {
      this.#byId.set(call.operation.id, call);
      if (call.outcome === "ok" && call.result !== undefined) this.#commit(call, call.result);
      if (call.outcome === "open") for (const key of call.operation.writes) push(this.#openWriters, key, call);
    }
    const readers = [...this.#committed];
    for (const reader of readers) for (const seen of reader.reads) this.#findWriter(reader, seen);
    const keys = this.#keys();
    for (const reader of readers) for (const seen of reader.reads) this.#refuseIntermediate(reader, seen);
    return { committed: this.#committed, keys, badReads: this.#badReads };
  }

  #commit(call: Call<Transaction> | undefined, result: TransactionResult): number {
    const place = this.#committed.length;
    this.#committed.push({ call, reads: [...result.reads], writes: [...result.writes] });
    if (call !== undefined) this.#places.set(call, place);
    for (const { key, version } of result.writes) this.#write(place, key, version);
    return place;
  }

  #write(place: number, key: string, version: number): void {
    let versions = this.#writers.get(key);
    if (versions === undefined) this.#writers.set(key, (versions = new Map()));
    const writers = versions.get(version);
    if (writers === undefined) versions.set(version, [place]);
    else writers.push(place);
  }

  /** Sees to it that the version has a writer: an open transaction took effect where somebody read from it. */
  #findWriter(reader: Committed, seen: SeenVersion): void {
    const { key, version, writer } = seen;
    if (version === 0) return;
    const named = writer === undefined ? undefined : this.#byId.get(writer);
    const known = this.#writers.get(key)?.get(version) ?? [];
    if (writer === undefined ? known.length > 0 : known.some((place) => this.#committed[place]?.call === named && named !== undefined)) return;
    if (named?.outcome === "fail") return this.#bad("G1a aborted read", reader, seen, named);
    if (named?.outcome === "open" && named.operation.writes.includes(key)) return this.#show(named, key, version);
    const [only, ...others] = writer === undefined ? (this.#openWriters.get(key) ?? []).filter((call) => !this.#hasWritten(call, key)) : [];
    if (only === undefined) return this.#bad("unknown write", reader, seen, named);
    // One of several: it has a place of its own, and nothing else is known of it.
    if (others.length > 0) this.#commit(undefined, { reads: [], writes: [{ key, version }] });
    else this.#show(only, key, version);
  }

  #hasWritten(call: Call<Transaction>, key: string): boolean {
    const place = this.#places.get(call);
    return place !== undefined && this.#committed[place]?.writes.some((write) => write.key === key) === true;
  }

  #show(call: Call<Transaction>, key: string, version: number): void {
    const place = this.#places.get(call) ?? this.#commit(call, { reads: [], writes: [] });
    this.#committed[place]?.writes.push({ key, version });
    this.#write(place, key, version);
  }

  #refuseIntermediate(reader: Committed, seen: SeenVersion): void {
    const writers = this.#writers.get(seen.key)?.get(seen.version) ?? [];
    for (const place of writers) {
      const writer = this.#committed[place];
      if (writer === undefined || writer === reader || (seen.writer !== undefined && writer.call?.operation.id !== seen.writer)) continue;
      if (writer.writes.some((write) => write.key === seen.key && write.version > seen.version)) this.#bad("G1b intermediate read", reader, seen, writer.call);
    }
  }

  #bad(kind: BadRead["kind"], reader: Committed, seen: SeenVersion, writer: Call<Transaction> | undefined): void {
    this.#badReads.push({ kind, reader, seen, writer });
  }

  #keys(): Map<string, KeyVersions> {
    const keys = new Map<string, KeyVersions>();
    for (const [key, byVersion] of this.#writers) {
      const versions = [...byVersion].map(([version, writers]) => ({ version, writers })).sort((a, b) => a.version - b.version);
      keys.set(key, { key, versions, places: new Map(versions.map(({ version }, at) => [version, at])) });
    }
    return keys;
  }
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
