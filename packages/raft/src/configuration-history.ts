import type { LogEntry } from "@statemesh/contract";
import type { Configuration } from "./configuration.ts";
import { decodeConfiguration, isJoint } from "./configuration.ts";
import { invariant } from "./invariant.ts";
import { EntryKind } from "./status.ts";

interface Placed {
  /** Index of the entry; of the first, where the configuration is known to hold from. */
  index: number;
  configuration: Configuration;
}

/**
 * The configurations that the log holds, beside the one that held before its first entry. The latest stands from the moment
 * that its entry is in the log, committed or not, and falls back to the one before when the entry is cut off.
 */
export class ConfigurationHistory {
  /** Never empty, ascending. */
  #placed: Placed[];

  constructor(index: number, configuration: Configuration) {
    this.#placed = [{ index, configuration }];
  }

  get current(): Configuration {
    return this.#placed.at(-1)!.configuration;
  }

  /** Where the current configuration stands in the log. */
  get index(): number {
    return this.#placed.at(-1)!.index;
  }

  /** The one before the current. */
  get previous(): Configuration | undefined {
    return this.#placed.at(-2)?.configuration;
  }

  /** The configuration at `index`; undefined where that is not known any more. */
  at(index: number): Configuration | undefined {
    return this.#placed.findLast((placed) => placed.index <= index)?.configuration;
  }

  /** Entries that are new in the log, from `first` on; what the log held from there was cut off. True where the current configuration is another. */
  replaceFrom(first: number, entries: readonly LogEntry[]): boolean {
    const before = this.#placed.at(-1);
    while (this.#placed.at(-1)!.index >= first) {
      invariant(this.#placed.length > 1, "a configuration that is known is never cut off");
      this.#placed.pop();
    }
    for (const entry of entries) if (entry.kind === EntryKind.CONFIGURATION && entry.index >= first) this.#add(entry);
    return this.#placed.at(-1) !== before;
  }

  /** A snapshot replaced the log. */
  reset(index: number, configuration: Configuration): void {
    this.#placed = [{ index, configuration }];
  }

  /** Entries up to `index` are forgotten. */
  compact(index: number): void {
    const keepFrom = this.#placed.findLastIndex((placed) => placed.index <= index);
    if (keepFrom > 0) this.#placed.splice(0, keepFrom);
  }

  /** The configuration that a snapshot at `index` carries; undefined where it is joint or not known: then there is none to be taken there. */
  forSnapshot(index: number): Configuration | undefined {
    const configuration = this.at(index);
    return configuration === undefined || isJoint(configuration) || configuration.voters.length === 0 ? undefined : configuration;
  }

  #add(entry: LogEntry): void {
    const configuration = decodeConfiguration(entry.data);
    invariant(configuration !== undefined, "a configuration entry can be read");
    this.#placed.push({ index: entry.index, configuration });
  }
}

/** Whether this version understands every configuration among the entries. */
export function areReadableConfigurations(entries: readonly LogEntry[]): boolean {
  for (const entry of entries) if (entry.kind === EntryKind.CONFIGURATION && decodeConfiguration(entry.data) === undefined) return false;
  return true;
}
