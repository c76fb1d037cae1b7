// Brings what is on record (who shall be a member) and what is (each group's configuration) together. Every leader sees to
// its own groups; the leader of group 0 puts the beginning and the end of a change on record. Nothing here is remembered:
// whoever leads next compares anew and goes on, so a change outlives every restart.
import type { Member, MemberChange, MeshError } from "@statemesh/contract";
import { CommandResult, type MembershipCommand } from "@statemesh/contract/log";
import { isJoint, quorumOf } from "@statemesh/raft";
import { MEMBERSHIP_VERSION, type Membership, resultOf, type VersionRange } from "@statemesh/replica";
import { DIRECTORY_GROUP } from "@statemesh/world";
import { bestSuccessor } from "../leadership.ts";
import type { GroupReplica } from "../strong/group-replica.ts";

/** What the keeper needs of its node. */
export interface KeeperNode {
  readonly nodeId: number;
  readonly groups: readonly GroupReplica[];
  readonly versions: VersionRange;
  membership(): Membership;
  monotonicMs(): number;
  isConnected(peer: number): boolean;
  /** Waits until this node has applied what was committed in a group before the call. */
  barrier(groupId: number, deadlineMs: number, done: (error: MeshError | undefined) => void): void;
  /** Puts a command about members into the log of group 0, which this node leads. */
  propose(command: NonNullable<MembershipCommand["command"]>, done: () => void): void;
}

/** A question to a quorum that takes longer is asked again. */
const ASK_MS = 2_000;
/** Groups of one leader that bring a new member up at the same time: each may send a snapshot. */
const CATCHING_UP = 8;
/** Groups whose end of a change is made sure of at the same time. */
const CONFIRMING = 32;
/** Attempts to hand over leadership before a leader that has to go takes itself out. */
const HANDOVERS = 3;
/** Groups that an answer names; beyond it says how many. */
const GROUPS_NAMED = 8;
/** Ticks between two looks at groups that have nothing to do, as far as anybody knows. */
const IDLE_TICKS = 20;

export class MembershipKeeper {
  readonly #node: KeeperNode;
  /** The highest version that each peer speaks, as it said itself since this process started. */
  readonly #speaks = new Map<number, number>();
  #founders: readonly Member[] = [];
  readonly #waits = new Map<number, string>();
  readonly #handovers = new Map<number, number>();
  #asking = false;
  #proposing = false;
  #ticks = 0;
  /** Groups that surely are where the change wants them, and the change, phase and term that this was asked for. */
  #confirmedFor = "";
  readonly #confirmed = new Set<number>();
  readonly #confirming = new Set<number>();

  constructor(node: KeeperNode) {
    this.#node = node;
  }

  /** A peer said which versions it speaks. */
  introduced(peer: number, versionMax: number): void {
    this.#speaks.set(peer, versionMax);
  }

  /** All who founded the cluster are known, with their folders. */
  foundedBy(members: readonly Member[]): void {
    this.#founders = members;
  }

  /** Why a group that this node leads does not have the members that it shall; empty where it has, or goes on. */
  waitsFor(groupId: number): string {
    return this.#waits.get(groupId) ?? "";
  }

  tick(): void {
    this.#ticks++;
    const membership = this.#node.membership();
    if (this.#node.groups[DIRECTORY_GROUP]?.serves === true) this.#keepRecord(membership);
    if (!membership.isOnRecord || (membership.running === undefined && this.#ticks % IDLE_TICKS !== 0)) return;
    this.#keepGroups(membership.voters());
  }

  // ---- the record ----

  #keepRecord(membership: Membership): void {
    const { running, version } = membership;
    const spoken = this.#spokenByAll(membership);
    if (spoken !== undefined && spoken > version) return this.#propose({ $case: "raise", value: { version: spoken } });
    if (!membership.isOnRecord && version >= MEMBERSHIP_VERSION) this.#recordFounders();
    if (running === undefined) return;
    if (this.#isEverywhere(nameOf(running), membership.voters())) this.#propose({ $case: "finish", value: { changeId: running.changeId } });
  }

  /** The founders are those whom group 0 began with; each has said which folder is its own. */
  #recordFounders(): void {
    const voters = this.#node.groups[DIRECTORY_GROUP]?.core.configuration.voters ?? [];
    if (voters.join() !== this.#founders.map(({ nodeId }) => nodeId).join()) return;
    this.#propose({ $case: "found", value: { members: [...this.#founders] } });
  }

  #memberIds(membership: Membership): readonly number[] {
    return membership.isOnRecord ? membership.members().map(({ nodeId }) => nodeId) : (this.#node.groups[DIRECTORY_GROUP]?.core.voters ?? []);
  }

  /** The highest version that every member speaks; undefined while one has not said. */
  #spokenByAll(membership: Membership): number | undefined {
    const spoken = Math.min(this.#node.versions.max, ...this.#memberIds(membership).map((nodeId) => this.#versionOf(nodeId)));
    return spoken === 0 ? undefined : spoken;
  }

  /** 0: it has not said. */
  #versionOf(nodeId: number): number {
    return nodeId === this.#node.nodeId ? this.#node.versions.max : (this.#speaks.get(nodeId) ?? 0);
  }

  #propose(command: NonNullable<MembershipCommand["command"]>): void {
    if (this.#proposing) return;
    this.#proposing = true;
    this.#node.propose(command, () => {
      this.#proposing = false;
    });
  }

  /** Whether every group surely has these voters. Copies here may be old, so a quorum is asked too. */
  #isEverywhere(change: string, wanted: readonly number[]): boolean {
    const { groups } = this.#node;
    const key = this.#confirmationOf(change);
    if (this.#confirmedFor !== key) {
      this.#confirmedFor = key;
      this.#confirmed.clear();
    }
    for (const group of groups) {
      if (this.#confirming.size >= CONFIRMING) break;
      const { groupId } = group;
      if (this.#confirmed.has(groupId) || this.#confirming.has(groupId) || !hasExactly(group, wanted)) continue;
      this.#confirming.add(groupId);
      this.#node.barrier(groupId, this.#node.monotonicMs() + ASK_MS, (error) => {
        this.#confirming.delete(groupId);
        if (error === undefined && this.#confirmedFor === key && hasExactly(group, wanted)) this.#confirmed.add(groupId);
      });
    }
    return this.#confirmed.size === groups.length;
  }

  #confirmationOf(change: string): string {
    return `${change} ${this.#node.groups[DIRECTORY_GROUP]?.core.term ?? 0}`;
  }

  // ---- the groups ----

  #keepGroups(wanted: readonly number[]): void {
    const astray: { group: GroupReplica; term: number }[] = [];
    for (const group of this.#node.groups) {
      if (!group.serves || hasExactly(group, wanted)) {
        this.#waits.delete(group.groupId);
        this.#handovers.delete(group.groupId);
      } else if (isSettled(group)) astray.push({ group, term: group.core.term });
    }
    if (astray.length === 0 || this.#asking) return;
    // The record here may be older than what an earlier leader of the group went by: it is made sure of first.
    this.#asking = true;
    this.#node.barrier(DIRECTORY_GROUP, this.#node.monotonicMs() + ASK_MS, (error) => {
      this.#asking = false;
      if (error !== undefined) {
        for (const { group } of astray) this.#waits.set(group.groupId, "the directory, group 0, does not answer");
        return;
      }
      const now = this.#node.membership().voters();
      for (const { group, term } of astray) if (group.serves && group.core.term === term && isSettled(group) && !hasExactly(group, now)) this.#step(group, now);
    });
  }

  /** The next step of one group towards its voters. */
  #step(group: GroupReplica, wanted: readonly number[]): void {
    const { core } = group;
    const { voters, learners } = core.configuration;
    const missing = wanted.filter((nodeId) => !voters.includes(nodeId));
    const waits = this.#waits;
    if (missing.join() !== learners.join()) {
      const grows = missing.some((nodeId) => !learners.includes(nodeId));
      if (grows && this.#catchingUp() >= CATCHING_UP) return void waits.set(group.groupId, "other groups get the new member up first");
      return this.#configure(group, voters, missing);
    }
    const behind = missing.filter((nodeId) => !core.learnerCaughtUp(nodeId));
    if (behind.length > 0) return void waits.set(group.groupId, `node ${behind.join()} has not caught up`);
    if (!core.couldDecide({ voters: wanted, learners: [] })) return void waits.set(group.groupId, `too few of the voters to be (${wanted.join()}) are up to decide`);
    if (!wanted.includes(this.#node.nodeId) && this.#handOver(group, wanted)) return void waits.set(group.groupId, "leadership goes to a node that stays");
    if (this.#isNeeded(group, wanted)) return void waits.set(group.groupId, "the directory lets go of a node after all other groups have");
    const keeper = voters.find((nodeId) => !wanted.includes(nodeId) && group.state.escrows.count("node", nodeId) > 0 && (nodeId === this.#node.nodeId || this.#node.isConnected(nodeId)));
    // It closes them as it hears that it goes. Of one that does not answer nothing more comes.
    if (keeper !== undefined) return void waits.set(group.groupId, `node ${keeper} puts into the log first what it has promised of escrows`);
    this.#configure(group, wanted, []);
  }

  /**
   * Who leads a group changes it by what the directory says. A node that is out of the directory hears nothing of it any more,
   * maybe not even that it is out, and would never hand over what it still leads. So the directory lets go of it last.
   */
  #isNeeded({ groupId, core }: GroupReplica, wanted: readonly number[]): boolean {
    if (groupId !== DIRECTORY_GROUP || core.configuration.voters.every((nodeId) => wanted.includes(nodeId))) return false;
    const { groups, nodeId: own } = this.#node;
    // Nobody takes over from the one that goes: it may be out of others already, and has no way to make sure of them.
    if (!wanted.includes(own)) return groups.some((other) => other.groupId !== DIRECTORY_GROUP && other.core.role === "leader");
    const { running } = this.#node.membership();
    if (running === undefined) return false;
    if (this.#confirmedFor !== this.#confirmationOf(nameOf(running))) return true;
    return groups.some((other) => other.groupId !== DIRECTORY_GROUP && !this.#confirmed.has(other.groupId));
  }

  #configure(group: GroupReplica, voters: readonly number[], learners: readonly number[]): void {
    const result = group.core.proposeConfiguration({ voters, learners });
    if (result.ok) this.#waits.delete(group.groupId);
    else this.#waits.set(group.groupId, `the group does not take the change yet: ${result.reason}`);
    group.dirty();
  }

  #catchingUp(): number {
    let count = 0;
    for (const { core } of this.#node.groups) {
      if (core.role === "leader" && core.configuration.learners.some((nodeId) => !core.learnerCaughtUp(nodeId))) count++;
    }
    return count;
  }

  /** A leader that goes lets one that stays lead first, so that callers notice nothing. False: nobody can, or it was tried enough. */
  #handOver(group: GroupReplica, wanted: readonly number[]): boolean {
    if (group.core.status().transferee !== 0) return true;
    const tried = this.#handovers.get(group.groupId) ?? 0;
    const target = bestSuccessor(group, (nodeId) => wanted.includes(nodeId));
    if (target === 0 || tried >= HANDOVERS) return false;
    this.#handovers.set(group.groupId, tried + 1);
    group.transferLeadership(target);
    return true;
  }

  // ---- questions before a command enters the log ----

  /** On the leader of group 0: what to answer instead of proposing the command; undefined: propose it. */
  answerFor({ command, nowMs }: MembershipCommand): CommandResult | undefined {
    const membership = this.#node.membership();
    if (command?.$case === "cancel") {
      const checked = membership.checkCancel(command.value.changeId);
      if (!checked.ok) return resultOf(checked);
      const { change } = checked;
      if (!checked.isNew) return CommandResult.fromPartial({ memberChange: change });
      const refused = this.#refuseLoss(change.votersAfter, change.votersBefore, 0) ?? this.#refuseReturn(change);
      return refused ?? (command.value.dryRun ? CommandResult.fromPartial({ memberChange: change }) : undefined);
    }
    if (command?.$case !== "begin") return undefined;
    if (!membership.isOnRecord) return this.#refuseVersion(membership);
    const checked = membership.check(command.value, nowMs);
    if (!checked.ok) return resultOf(checked);
    const { change, isNew } = checked;
    if (!isNew) return CommandResult.fromPartial({ memberChange: change });
    // Who comes was asked who it is just now.
    const lost = this.#refuseLoss(change.votersBefore, change.votersAfter, change.added?.nodeId ?? 0);
    return lost ?? (command.value.dryRun ? CommandResult.fromPartial({ memberChange: change }) : undefined);
  }

  #refuseVersion(membership: Membership): CommandResult {
    const behind = this.#memberIds(membership).filter((nodeId) => this.#versionOf(nodeId) < MEMBERSHIP_VERSION);
    const metadata = { cluster_version: String(membership.version), needed_version: String(MEMBERSHIP_VERSION), node_ids: behind.join() };
    const why = behind.length === 0 ? "it is being raised: try again" : `node ${behind.join(", ")} did not say that it speaks version ${MEMBERSHIP_VERSION}: start it, with a newer build where it needs one`;
    return resultOf({ reason: "VERSION_TOO_LOW", message: `the cluster works at version ${membership.version} and keeps no members on record: ${why}`, metadata });
  }

  /**
   * A group that has let go of a node takes it back only as one that answers and catches up. Of a node whose folder is gone that would be
   * waited for without end, and no other change could begin; while the change stands, either of the two nodes may yet bring it to an end.
   */
  #refuseReturn({ changeId, removedNodeId }: MemberChange): CommandResult | undefined {
    if (removedNodeId === 0 || removedNodeId === this.#node.nodeId || this.#node.isConnected(removedNodeId)) return undefined;
    const without = this.#node.groups.filter(({ core }) => !core.configuration.voters.includes(removedNodeId)).map(({ groupId }) => groupId);
    if (without.length === 0) return undefined;
    return resultOf({
      reason: "MEMBER_GONE",
      message: `node ${removedNodeId} does not answer, and group ${without.slice(0, GROUPS_NAMED).join(", ")} has let go of it: let change ${changeId} come to its end, or start the node first`,
      metadata: { change_id: changeId, node_id: String(removedNodeId), groups: String(without.length) },
    });
  }

  /** Both those who decide now and those who shall must be able to without the nodes that are silent. */
  #refuseLoss(before: readonly number[], after: readonly number[], present: number): CommandResult | undefined {
    const isUp = (nodeId: number): boolean => nodeId === this.#node.nodeId || nodeId === present || this.#node.isConnected(nodeId);
    for (const voters of [before, after]) {
      if (quorumOf("weighted", { voters, outgoing: [], learners: [] }).decides(isUp)) continue;
      const silent = voters.filter((nodeId) => !isUp(nodeId));
      return resultOf({
        reason: "WOULD_LOSE_QUORUM",
        message: `of the voters ${voters.join(", ")} node ${silent.join(", ")} does not answer, and the others could not decide without: bring it back first, or remove it first`,
        metadata: { voters_before: before.join(), voters_after: after.join(), silent: silent.join() },
      });
    }
    return undefined;
  }
}

/** A change and where it stands: what was made sure of before it was cancelled does not count after. */
function nameOf({ changeId, state }: MemberChange): string {
  return `${changeId} ${state}`;
}

/** The group's configuration is committed, not joint, and exactly these voters. */
function hasExactly(group: GroupReplica, wanted: readonly number[]): boolean {
  const { voters, learners } = group.core.configuration;
  return isSettled(group) && learners.length === 0 && voters.length === wanted.length && voters.every((nodeId, at) => nodeId === wanted[at]);
}

/** No change of the group's configuration is on its way. */
function isSettled({ core }: GroupReplica): boolean {
  return !isJoint(core.configuration) && core.configurationIndex <= core.commitIndex;
}
