import { dominates, merge } from "@statemesh/clocks";
import type { VectorClock } from "@statemesh/contract";
import type { ChangeRing } from "./change-ring.ts";
import type { Crowd } from "./crowd.ts";
import { encodeResumeToken, type GroupCursor } from "./resume-token.ts";
import { unfinished } from "./scope.ts";
import type { Subscriber } from "./subscriber.ts";

/** A token may say that it is older than it is by so much: it counts as too old a little sooner, no more. Milliseconds. */
const SHARED_MS = 1_000;

/** What tokens are made of, beside the reader. */
interface TokenParts {
  readonly cluster: number;
  ringOf(groupId: number): ChangeRing;
  /** What has been delivered here. The same object while it is the same. */
  causalFrontier(): VectorClock;
  nowMs(): number;
}

/** Says where readers stand. */
export class TokenWriter {
  readonly #parts: TokenParts;

  constructor(parts: TokenParts) {
    this.#parts = parts;
  }

  /** The token after a message. In the middle of a snapshot its scope is nobody's: the reader gets another one, as new as the cursors say at least. */
  write(subscriber: Subscriber, stands: boolean): string {
    if (subscriber.events.length === 0 && stands && (!subscriber.wishes.causal || subscriber.phase === "live")) this.#follow(subscriber);
    const { crowd } = subscriber;
    if (stands && crowd !== undefined && this.#hasAll(subscriber)) return this.#shared(subscriber, crowd);
    const cursors: GroupCursor[] = [];
    for (const groupId of subscriber.groups) {
      const cursor = subscriber.cursors.get(groupId) as GroupCursor;
      const ring = this.#parts.ringOf(groupId);
      const passed = stands && subscriber.changes.length === 0 && ring.index >= cursor.index;
      cursors.push(passed ? { groupId, term: ring.term, index: ring.index, partial: 0 } : cursor);
    }
    const regions = subscriber.area === undefined ? undefined : stands ? subscriber.told : [];
    return this.#encode(subscriber, stands, cursors, this.#parts.nowMs(), regions);
  }

  #encode(subscriber: Subscriber, stands: boolean, cursors: GroupCursor[], issuedMs: number, regions: Subscriber["regions"] | undefined): string {
    // Says that the values stand, where no group does.
    if (stands && subscriber.groups.length === 0) cursors.push({ groupId: 0, term: 0, index: 0, partial: 0 });
    const scope = stands ? subscriber.scope : unfinished(subscriber.scope);
    return encodeResumeToken({ scope, issuedMs, cursors, causal: subscriber.clock, regions, partial: stands ? subscriber.partial : [] }, this.#parts.cluster);
  }

  /** It has all causal events that were delivered here, or wants none. */
  #follow(subscriber: Subscriber): void {
    const frontier = this.#parts.causalFrontier();
    if (subscriber.clock === frontier) return;
    subscriber.clock = dominates(frontier, subscriber.clock) ? frontier : merge(subscriber.clock, frontier);
  }

  /** No change of its groups is missing. */
  #hasAll({ changes, groups, cursors }: Subscriber): boolean {
    return changes.length === 0 && groups.every((groupId) => this.#parts.ringOf(groupId).index >= (cursors.get(groupId)?.index ?? 0));
  }

  /** The token of all of a crowd that have everything: made anew where one of the groups has gone on. */
  #shared(subscriber: Subscriber, crowd: Crowd): string {
    const rings = crowd.groups.map((groupId) => this.#parts.ringOf(groupId));
    const nowMs = this.#parts.nowMs();
    const known = crowd.token;
    const isCurrent =
      known !== undefined && known.clock === subscriber.clock && nowMs - known.issuedMs < SHARED_MS && nowMs >= known.issuedMs &&
      rings.every((ring, at) => ring.index === known.indices[at] && ring.term === known.terms[at]);
    if (isCurrent) return known.token;
    const cursors = rings.map((ring, at): GroupCursor => ({ groupId: crowd.groups[at] ?? 0, term: ring.term, index: ring.index, partial: 0 }));
    const token = this.#encode(subscriber, true, cursors, nowMs, undefined);
    crowd.token = { indices: rings.map(({ index }) => index), terms: rings.map(({ term }) => term), clock: subscriber.clock, issuedMs: nowMs, token };
    return token;
  }
}
