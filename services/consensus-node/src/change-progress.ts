// How far a change of the members is in each group: what the groups' leaders say, put beside what the change wants.
import { type GetStatusResponse, type GroupChangeProgress, GroupChangeStage, type GroupStatus, type MemberChange, MemberChangeState } from "@statemesh/contract";

export function progressOf(change: MemberChange, groups: number, statuses: readonly GetStatusResponse[]): GroupChangeProgress[] {
  const back = change.state === MemberChangeState.CANCELLING || change.state === MemberChangeState.CANCELLED;
  const wanted = back ? change.votersBefore : change.votersAfter;
  return Array.from({ length: groups + 1 }, (_, groupId) => groupProgress(groupId, wanted, leaderStatus(groupId, statuses)));
}

/** Of those who say that they lead the one of the newest term: the others have not heard of it yet. */
function leaderStatus(groupId: number, statuses: readonly GetStatusResponse[]): { nodeId: number; group: GroupStatus } | undefined {
  let newest: { nodeId: number; group: GroupStatus } | undefined;
  for (const { nodeId, groups } of statuses) {
    const group = groups[groupId];
    if (group?.role === "leader" && group.term > (newest?.group.term ?? 0)) newest = { nodeId, group };
  }
  return newest;
}

function groupProgress(groupId: number, wanted: readonly number[], leader: { nodeId: number; group: GroupStatus } | undefined): GroupChangeProgress {
  if (leader === undefined) return { groupId, stage: GroupChangeStage.WAITING, leaderNodeId: 0, lag: 0, snapshotPercent: 0, waitsFor: "no leader answers" };
  const { nodeId: leaderNodeId, group } = leader;
  const { voters, outgoing, learners, match, lastIndex, snapshotPercent, membershipWaitsFor: waitsFor } = group;
  const comes = wanted.filter((nodeId) => !voters.includes(nodeId) || outgoing.length > 0);
  const lag = Math.max(0, ...comes.map((nodeId) => lastIndex - (match.get(nodeId) ?? 0)));
  const sent = Math.max(0, ...comes.map((nodeId) => snapshotPercent.get(nodeId) ?? 0));
  return { groupId, stage: stageOf(wanted, voters, outgoing, learners), leaderNodeId, lag, snapshotPercent: sent, waitsFor };
}

function stageOf(wanted: readonly number[], voters: readonly number[], outgoing: readonly number[], learners: readonly number[]): GroupChangeStage {
  if (outgoing.length > 0) return GroupChangeStage.JOINT;
  if (learners.length > 0) return GroupChangeStage.LEARNER;
  return voters.join() === wanted.join() ? GroupChangeStage.DONE : GroupChangeStage.WAITING;
}
