// The view that the cluster agreed on, as group 0 replicates it: who is alive, who is removed, by whose votes.
import type { View as ViewRecord } from "@statemesh/contract";
import { CommandResult } from "@statemesh/contract/log";
import { WeightedQuorum } from "@statemesh/raft";
import { NO_VIEW, refuseView, type View } from "@statemesh/views";
import type { Membership } from "./membership.ts";
import type { StateHash } from "./state-hash.ts";

/** A view with the time at which it was proposed. Replaced, never changed. */
export interface AgreedView extends View {
  /** Milliseconds since the Unix epoch, by the proposer's clock. */
  readonly atMs: number;
}

export class Views {
  readonly #hash: StateHash;
  #view: AgreedView = { ...NO_VIEW, atMs: 0 };

  constructor(hash: StateHash) {
    this.#hash = hash;
  }

  /** The view in force; epoch 0: none yet. */
  get view(): AgreedView {
    return this.#view;
  }

  /** Takes the next view, or says why it cannot follow. Of two that were proposed for an epoch the first in the log counts. */
  apply(record: ViewRecord, membership: Membership): CommandResult {
    const next = viewOf(record);
    const members = membership.members().map(({ nodeId }) => nodeId);
    const refusal = membership.isOnRecord ? refuseView(next, this.#view, electorates(membership), members) : "no members are on record";
    if (refusal !== undefined) return CommandResult.fromPartial({ reason: "INVALID_FIELD", message: `view: ${refusal}` });
    this.#set(next);
    return CommandResult.fromPartial({});
  }

  #set(view: AgreedView): void {
    if (this.#view.epoch > 0) this.#hash.remove(...hashed(this.#view));
    this.#view = view;
    if (view.epoch > 0) this.#hash.add(...hashed(view));
  }

  /** What a snapshot holds; undefined where there was no view. */
  capture(): ViewRecord | undefined {
    return this.#view.epoch === 0 ? undefined : recordOf(this.#view);
  }

  restore(record: ViewRecord): void {
    this.#set(viewOf(record));
  }
}

/** Who decides: the voters on record; while members change, those before or those after. The log needs its own quorum besides. */
function electorates(membership: Membership): WeightedQuorum[] {
  const { running } = membership;
  const electorates = running === undefined ? [membership.voters()] : [running.votersBefore, running.votersAfter];
  return electorates.filter((voters) => voters.length > 0).map((voters) => new WeightedQuorum(voters));
}

export function recordOf({ epoch, alive, removed, votedBy, atMs }: AgreedView): ViewRecord {
  return { epoch, alive: [...alive], removed: [...removed], votedBy: [...votedBy], atMs };
}

function viewOf({ epoch, alive, removed, votedBy, atMs }: ViewRecord): AgreedView {
  return { epoch, alive, removed, votedBy, atMs };
}

function hashed({ epoch, alive, removed, votedBy, atMs }: AgreedView): [string, string, number, number] {
  return [`view ${alive.join()} without ${removed.join()}`, votedBy.join(), epoch, atMs];
}
