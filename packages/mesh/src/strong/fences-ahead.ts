// The fences as they will stand where the next entry is applied: what is in the log of this leadership counts, and so does what had to wait.
import type { Region } from "@statemesh/contract";
import type { RegionFence } from "@statemesh/contract/log";
import { admits, fenceFollows, type FenceRow, type PendingOperation } from "@statemesh/replica";
import { formatRegion, groupOf } from "@statemesh/world";
import type { DecidingGroup } from "./decider.ts";

/** Milliseconds for which a fence that had to wait is taken for in force: it is tried again much sooner. */
const FENCE_WANTED_MS = 500;

export class FencesAhead {
  readonly #group: DecidingGroup;
  readonly #groups: number;
  readonly #monotonicMs: () => number;
  /** Fences of this leadership that are in the log and not applied, by region; the last of a region counts. */
  readonly #inFlight = new Map<string, { index: number; row: FenceRow }>();
  /** Fences that wait for a transaction to end, by region. */
  readonly #wanted = new Map<string, { untilMs: number; row: FenceRow }>();

  constructor(group: DecidingGroup, groups: number, monotonicMs: () => number) {
    this.#group = group;
    this.#groups = groups;
    this.#monotonicMs = monotonicMs;
  }

  admits({ operation }: PendingOperation): boolean {
    const region = operation.homeRegion;
    if (region === undefined || groupOf(region, this.#groups) !== this.#group.groupId) return true;
    return admits(this.of(region), operation.authorityEpoch, operation.serverId);
  }

  of(region: Region): FenceRow | undefined {
    const text = this.#inFlight.size + this.#wanted.size === 0 ? "" : formatRegion(region);
    const ahead = text === "" ? undefined : (this.#inFlight.get(text) ?? this.#wantedFor(text));
    return ahead?.row ?? this.#group.state.fence(region);
  }

  #wantedFor(text: string): { readonly row: FenceRow } | undefined {
    const wanted = this.#wanted.get(text);
    if (wanted === undefined || wanted.untilMs > this.#monotonicMs()) return wanted;
    this.#wanted.delete(text);
    return undefined;
  }

  /**
   * A transaction is prepared under the fence that stands: the next one has to wait for its end. What comes from now on is held against
   * the fence that is wanted, so that the wait is short. A late fence of an earlier owner waits for nothing: it changes nothing.
   */
  isHeld({ region, epoch, ownerServerId }: RegionFence): boolean {
    if (region === undefined) return false;
    const text = formatRegion(region);
    const row: FenceRow = { region, epoch, ownerServerId };
    if (!this.#group.state.transactions.holdsRegion(text) || !fenceFollows(this.#inLog(region, text), row)) return false;
    if (epoch >= (this.#wantedFor(text)?.row.epoch ?? 0)) this.#wanted.set(text, { untilMs: this.#monotonicMs() + FENCE_WANTED_MS, row });
    return true;
  }

  /** What stands once all fences in the log are applied, whatever else is wanted. */
  #inLog(region: Region, text: string): FenceRow | undefined {
    return this.#inFlight.get(text)?.row ?? this.#group.state.fence(region);
  }

  /** A fence went into the log: it counts for what follows it there. */
  note({ region, epoch, ownerServerId }: RegionFence, index: number): void {
    if (region === undefined) return;
    const row: FenceRow = { region, epoch, ownerServerId };
    const text = formatRegion(region);
    // Not against the fence that is wanted: that may be this very one, after its wait.
    if (!fenceFollows(this.#inLog(region, text), row)) return;
    // In order of their indexes, so that those applied are the first.
    this.#inFlight.delete(text);
    this.#inFlight.set(text, { index, row });
  }

  applied(entryIndex: number): void {
    for (const [region, { index }] of this.#inFlight) {
      if (index > entryIndex) return;
      this.#inFlight.delete(region);
    }
  }

  clear(): void {
    this.#inFlight.clear();
    this.#wanted.clear();
  }
}
