// Who is a member, by what group 0 committed, and which node ids can never vote again. Also the atlas of good copies: faults
// and operators may only take what leaves a majority of undamaged voters, in every set of voters that may decide.
import { type Member, MemberChangeState, MemberState } from "@statemesh/contract";
import { MEMBERSHIP_VERSION, type Membership } from "@statemesh/replica";
import type { Recorder } from "../recorder.ts";
import type { ReferenceGroup } from "./reference-group.ts";

export class MemberBook {
  readonly #recorder: Recorder;
  readonly #directory: ReferenceGroup;
  readonly #founders: readonly number[];
  /** Node ids whose data folder is gone: they never vote again. */
  readonly lost = new Set<number>();
  /** Node ids with lost or damaged data. */
  readonly damaged = new Set<number>();
  /** Node ids that a change took out of the cluster, for ever. */
  readonly removed = new Set<number>();
  /** Node ids that operators asked to have removed; some of these wishes may still come true. */
  readonly leaving = new Set<number>();
  readonly #states = new Map<string, MemberChangeState>();
  #version = 1;
  #lastNodeId = 0;

  constructor(recorder: Recorder, directory: ReferenceGroup, founders: readonly number[]) {
    this.#recorder = recorder;
    this.#directory = directory;
    this.#founders = founders;
  }

  get record(): Membership {
    return this.#directory.state.membership;
  }

  /** Who counts as a node of the cluster now; during a change also who comes and who goes. */
  get nodeIds(): readonly number[] {
    return this.record.isOnRecord ? this.record.members().map(({ nodeId }) => nodeId) : this.#founders;
  }

  isMember(nodeId: number): boolean {
    return this.nodeIds.includes(nodeId);
  }

  isJoining(nodeId: number): boolean {
    return this.record.member(nodeId)?.state === MemberState.JOINING;
  }

  /** Members whose folder is gone: they have to be replaced. */
  get lostMembers(): Member[] {
    return this.record.members().filter(({ nodeId }) => this.lost.has(nodeId));
  }

  /** Group 0 committed something. */
  committed(index: number): void {
    const { version, lastNodeId, changes } = this.record;
    const fail = (message: string): void => this.#recorder.violation("members on record", `group 0 at ${index}: ${message}`);
    if (version < this.#version) fail(`the version went from ${this.#version} back to ${version}`);
    if (lastNodeId < this.#lastNodeId) fail(`the highest node id went from ${this.#lastNodeId} back to ${lastNodeId}`);
    if (version > this.#version && version >= MEMBERSHIP_VERSION) this.#recorder.sometimes("version raised");
    this.#version = version;
    this.#lastNodeId = lastNodeId;
    for (const change of changes) {
      const before = this.#states.get(change.changeId);
      if (before === change.state) continue;
      this.#states.set(change.changeId, change.state);
      this.#recorder.note("member change", change.changeId, change.state, change.votersAfter.join());
      if (before === MemberChangeState.DONE || before === MemberChangeState.CANCELLED) fail(`change ${change.changeId} had ended, and goes on`);
      if (change.state === MemberChangeState.DONE) this.#ended(change.removedNodeId, "member change done");
      if (change.state === MemberChangeState.CANCELLED) this.#ended(change.added?.nodeId ?? 0, "member change cancelled");
      if (change.state === MemberChangeState.DONE && this.lost.has(change.removedNodeId) && change.added !== undefined) this.#recorder.sometimes("wiped node replaced");
    }
    const running = changes.filter(({ state }) => state === MemberChangeState.RUNNING || state === MemberChangeState.CANCELLING);
    if (running.length > 1) fail(`${running.length} changes of the members run at a time`);
    for (const nodeId of this.nodeIds) if (this.removed.has(nodeId)) fail(`node ${nodeId} was removed, and is a member`);
  }

  #ended(gone: number, name: string): void {
    this.#recorder.sometimes(name);
    if (gone !== 0) this.removed.add(gone);
  }

  /** Every set of voters that may decide now. */
  get #voterSets(): (readonly number[])[] {
    const { running, isOnRecord } = this.record;
    if (!isOnRecord) return [this.#founders];
    return running === undefined ? [this.record.voters()] : [running.votersBefore, running.votersAfter];
  }

  /** Whether most voters stay good, whichever wishes to remove some come true. */
  #staysGood(damaged: (nodeId: number) => boolean, leaves: (nodeId: number) => boolean): boolean {
    return this.#voterSets.every((voters) => {
      const staying = voters.filter((nodeId) => damaged(nodeId) || !leaves(nodeId));
      return staying.filter(damaged).length <= Math.floor((staying.length - 1) / 2);
    });
  }

  mayDamage(nodeId: number): boolean {
    return this.damaged.has(nodeId) || this.#staysGood((each) => each === nodeId || this.damaged.has(each), (each) => this.leaving.has(each));
  }

  /** A cluster keeps two nodes at least. */
  mayRemove(nodeId: number): boolean {
    const leaves = (each: number): boolean => each === nodeId || this.leaving.has(each);
    if (this.#voterSets.some((voters) => voters.filter((each) => !leaves(each)).length < 2)) return false;
    return this.#staysGood((each) => each !== nodeId && this.damaged.has(each), leaves);
  }
}
