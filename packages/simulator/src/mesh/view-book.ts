// The views that group 0 committed, against what the members said: each follows the one before, and is made by the votes of
// members who could decide, each of whom said so.
import type { StreamRequest } from "@statemesh/contract";
import type { AgreedView, Membership } from "@statemesh/replica";
import type { Recorder } from "../recorder.ts";

export class ViewBook {
  readonly #recorder: Recorder;
  /** What each member said with its heartbeats: node, epoch of the view that it knows, and whom it votes for. */
  readonly #said = new Set<string>();
  #before: AgreedView | undefined;

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
  }

  /** Every frame on its way. */
  sent(from: number, { heartbeats }: StreamRequest): void {
    for (const { nodeId, viewEpoch, vote } of heartbeats) if (nodeId === from && vote.length > 0) this.#said.add(`${nodeId} ${viewEpoch} ${vote.join()}`);
  }

  /** Group 0 committed something. */
  committed(index: number, view: AgreedView, membership: Membership): void {
    const before = this.#before;
    if (view === before) return;
    this.#before = view;
    const { epoch, alive, removed, votedBy } = view;
    if (epoch === 0) return;
    const fail = (message: string): void => this.#recorder.violation("views are agreed on", `view ${epoch} (${alive.join()}) at ${index} of group 0: ${message}`);
    if (epoch !== (before?.epoch ?? 0) + 1) fail(`it follows view ${before?.epoch ?? 0}`);
    const { running } = membership;
    const electorates = running === undefined ? [membership.voters()] : [running.votersBefore, running.votersAfter];
    if (!electorates.some((voters) => decides(voters, votedBy))) fail(`nodes ${votedBy.join()} cannot decide among ${electorates.map((voters) => voters.join()).join(" or ")}`);
    // Who proposes counts its own vote, and may have told nobody.
    const silent = votedBy.filter((nodeId) => !this.#said.has(`${nodeId} ${epoch - 1} ${alive.join()}`));
    if (silent.length > 1) fail(`nodes ${silent.join()} never voted for it`);
    this.#recorder.note("view", epoch, alive.join(), removed.join());
    if (alive.length < membership.members().length) this.#recorder.sometimes("view without a member");
    if (removed.length > 0) this.#recorder.sometimes("member removed from the view");
    if (before !== undefined && before.alive.some((nodeId) => !alive.includes(nodeId)) && alive.some((nodeId) => !before.alive.includes(nodeId))) this.#recorder.sometimes("view that some enter and some leave");
  }
}

/** More than half of the voters, or half of them with the lowest id. */
function decides(voters: readonly number[], votedBy: readonly number[]): boolean {
  const votes = voters.filter((voter) => votedBy.includes(voter));
  return 2 * votes.length > voters.length || (2 * votes.length === voters.length && votes.includes(Math.min(...voters)));
}
