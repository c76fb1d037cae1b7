// What a node does about groups whose logs were damaged, its own and its peers'. The rules are in strong/repair.ts.
import type { Clock } from "@statemesh/ports";
import type { GroupReplica } from "./strong/group-replica.ts";
import type { Relay } from "./strong/relay.ts";

/** How long a leader may take to say what is committed in a damaged group; then it, or the next one, is asked again. */
const ANSWER_MS = 5_000;

export class Repairs {
  readonly #groups: readonly GroupReplica[];
  readonly #relay: Relay;
  readonly #clock: Clock;
  readonly #asked = new Set<number>();

  constructor(groups: readonly GroupReplica[], relay: Relay, clock: Clock) {
    this.#groups = groups;
    this.#relay = relay;
    this.#clock = clock;
  }

  /** Groups whose logs on this node lack something that they once held. */
  get damagedGroups(): number[] {
    return this.#groups.filter((group) => group.isDamaged).map((group) => group.groupId);
  }

  /** What a peer said of its groups: those whose logs lack what they held, and the terms that it is in, by group. */
  peerSaid(peer: number, damaged: readonly number[], terms: readonly number[]): void {
    for (const groupId of damaged) this.#groups[groupId]?.peerLostData(peer);
    for (const { groupId, repair } of this.#groups) {
      const term = terms[groupId];
      // A peer of an earlier version does not say.
      if (term !== undefined) repair?.heardTerm(peer, term);
    }
  }

  /** A log whose end is lost may have held anything that was committed; leaders are asked what that is. */
  tick(): void {
    for (const { groupId, repair } of this.#groups) {
      if (repair?.needsConfirmation !== true || this.#asked.has(groupId)) continue;
      this.#asked.add(groupId);
      this.#relay.readIndex(groupId, this.#clock.monotonicMs() + ANSWER_MS, (index) => {
        this.#asked.delete(groupId);
        if (index !== undefined) repair.confirm(index);
      });
    }
  }
}
