// Who belongs to the cluster, as group 0 replicates it: the nodes with their folders and addresses, and the changes of
// that, one at a time. What stands here is what shall be; each group's own log says what is, and the leaders bring the two
// together (packages/mesh/src/membership).
import { type Member, type MemberChange, MemberChangeKind, MemberChangeState, MemberState, type Reason } from "@statemesh/contract";
import { type BeginMemberChange, type CancelMemberChange, CommandResult, type MembershipCommand, type MembershipRecord } from "@statemesh/contract/log";
import type { StateHash } from "./state-hash.ts";

/** Nodes of a cluster at most. During a replacement there is one more. */
export const MEMBERS_MAX = 9;
/** Changes that ended and are kept, to answer retries and questions. */
const ENDED_CHANGES = 16;
const NODE_ID_MAX = 2_000_000;
const CHANGE_ID_MAX = 64;

/** Why a change was refused. */
export interface Refusal {
  readonly reason: Reason;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
}

export type ChangeCheck = { readonly ok: true; readonly change: MemberChange; readonly isNew: boolean } | ({ readonly ok: false } & Refusal);

export class Membership {
  readonly #hash: StateHash;
  #version = 1;
  #lastNodeId = 0;
  readonly #members = new Map<number, Member>();
  #sorted: readonly Member[] | undefined;
  /** The oldest first; at most the last one runs. */
  #changes: readonly MemberChange[] = [];

  constructor(hash: StateHash) {
    this.#hash = hash;
  }

  /** The version that every member speaks. */
  get version(): number {
    return this.#version;
  }

  /** The highest node id that was ever used; 0: no members are on record. */
  get lastNodeId(): number {
    return this.#lastNodeId;
  }

  get isOnRecord(): boolean {
    return this.#members.size > 0;
  }

  member(nodeId: number): Member | undefined {
    return this.#members.get(nodeId);
  }

  /** By node id. The same list until it changes: it is looked at with every tick. */
  members(): readonly Member[] {
    return (this.#sorted ??= [...this.#members.values()].sort((a, b) => a.nodeId - b.nodeId));
  }

  /** A member that stays; before any are on record nobody can tell. */
  mayKeep(nodeId: number): boolean {
    const member = this.#members.get(nodeId);
    return !this.isOnRecord || (member !== undefined && member.state !== MemberState.LEAVING);
  }

  /** Whom every group shall have as voters, ascending. */
  voters(): number[] {
    return this.members().filter(({ state }) => state !== MemberState.LEAVING).map(({ nodeId }) => nodeId);
  }

  /** The change that runs, or runs back. */
  get running(): MemberChange | undefined {
    const last = this.#changes.at(-1);
    return last !== undefined && isRunning(last) ? last : undefined;
  }

  change(changeId: string): MemberChange | undefined {
    return this.#changes.find((change) => change.changeId === changeId);
  }

  /** The oldest first. */
  get changes(): readonly MemberChange[] {
    return this.#changes;
  }

  apply(command: MembershipCommand): CommandResult {
    const body = command.command;
    switch (body?.$case) {
      case "raise":
        this.#setHead(Math.max(this.#version, body.value.version), this.#lastNodeId);
        return CommandResult.fromPartial({});
      case "found":
        return this.#found(body.value.members);
      case "begin":
        return this.#begin(body.value, command.nowMs);
      case "cancel":
        return this.#cancel(body.value);
      case "finish":
        return this.#finish(body.value.changeId, command.nowMs);
      case "move": {
        const { nodeId, folderId, address } = body.value;
        const member = this.#members.get(nodeId);
        if (member?.folderId === folderId) this.#put({ ...member, address });
        return CommandResult.fromPartial({});
      }
      default:
        return resultOf(refusal("INVALID_FIELD", "unknown command about members"));
    }
  }

  #found(members: readonly Member[]): CommandResult {
    if (this.isOnRecord) return CommandResult.fromPartial({});
    for (const member of members) this.#put({ ...member, state: MemberState.VOTER });
    this.#setHead(this.#version, Math.max(...members.map(({ nodeId }) => nodeId)));
    return CommandResult.fromPartial({});
  }

  /** What a change would come to, and whether it is a new one. Changes nothing. */
  check(request: BeginMemberChange, nowMs: number): ChangeCheck {
    const { kind, added, removedNodeId } = request;
    const adds = kind === MemberChangeKind.ADD || kind === MemberChangeKind.REPLACE;
    const removes = kind === MemberChangeKind.REMOVE || kind === MemberChangeKind.REPLACE;
    if ((!adds && !removes) || adds !== (added !== undefined) || removes !== removedNodeId > 0) return refusal("INVALID_FIELD", "kind: says who comes and who goes");
    if (request.changeId.length > CHANGE_ID_MAX) return refusal("INVALID_FIELD", `change_id: at most ${CHANGE_ID_MAX} characters`, { field: "change_id" });
    const known = this.change(request.changeId);
    if (known !== undefined) {
      if (sameTarget(known, request)) return { ok: true, change: known, isNew: false };
      return refusal("REQUEST_ID_REUSED", `change ${request.changeId} is another one: ${describeChange(known)}`, { change_id: request.changeId });
    }
    const twin = request.changeId === "" ? this.#changes.findLast((change) => sameTarget(change, request) && change.state !== MemberChangeState.CANCELLED && this.#stands(change)) : undefined;
    if (twin !== undefined) return { ok: true, change: twin, isNew: false };
    const { running } = this;
    if (running !== undefined) return refusal("CHANGE_PENDING", `change ${running.changeId} is under way (${describeChange(running)}): wait for its end, or cancel it`, { change_id: running.changeId });
    if (removes && !this.#members.has(removedNodeId)) {
      return refusal("UNKNOWN_MEMBER", `node ${removedNodeId} is not a member`, { node_id: String(removedNodeId), members: this.voters().join() });
    }
    const before = this.voters();
    const after = before.filter((nodeId) => nodeId !== removedNodeId);
    let comes: Member | undefined;
    if (added !== undefined) {
      const refused = this.#refuseAdded(added, removedNodeId);
      if (refused !== undefined) return refused;
      comes = { ...added, nodeId: added.nodeId === 0 ? this.#lastNodeId + 1 : added.nodeId, state: MemberState.JOINING };
      after.push(comes.nodeId);
    }
    if (after.length === 0) return refusal("LAST_MEMBER", `node ${removedNodeId} is the last member`, { node_id: String(removedNodeId) });
    if (after.length > MEMBERS_MAX) return refusal("TOO_MANY_MEMBERS", `a cluster has at most ${MEMBERS_MAX} nodes`, { limit: String(MEMBERS_MAX) });
    const changeId = request.changeId === "" ? nameOf(kind, comes?.nodeId ?? 0, removedNodeId) : request.changeId;
    if (request.changeId === "" && this.change(changeId) !== undefined) return refusal("REQUEST_ID_REUSED", `change_id: ${changeId} was used by a caller; choose one`, { change_id: changeId });
    const change: MemberChange = {
      changeId, kind, state: MemberChangeState.RUNNING, added: comes, removedNodeId, votersBefore: before, votersAfter: after, startedAtMs: nowMs, endedAtMs: 0,
    };
    return { ok: true, change, isNew: true };
  }

  #refuseAdded({ nodeId, address, folderId }: Member, removedNodeId: number): ChangeCheck | undefined {
    if (folderId === 0) return refusal("INVALID_FIELD", "folder_id: who comes was asked for its data folder before the members were on record: try again", { field: "folder_id" });
    const holder = this.members().find((member) => member.folderId === folderId);
    if (holder !== undefined) {
      return refusal("MEMBER_EXISTS", `the node at ${address} has the data folder of member ${holder.nodeId}: there is nothing to add`, { node_id: String(holder.nodeId) });
    }
    const neighbour = this.members().find((member) => member.address === address && member.nodeId !== removedNodeId);
    if (neighbour !== undefined) {
      return refusal("MEMBER_EXISTS", `member ${neighbour.nodeId} has the address ${address}: where it lost its data folder, replace it`, { node_id: String(neighbour.nodeId) });
    }
    if (nodeId === 0 || (nodeId > this.#lastNodeId && nodeId <= NODE_ID_MAX)) return undefined;
    const next = String(this.#lastNodeId + 1);
    return refusal("MEMBER_ID_USED", `node id ${nodeId} stands for another data folder, for ever: the next free one is ${next}`, { node_id: String(nodeId), next_node_id: next });
  }

  /** A change that ended still is what a caller asks for while nothing has changed it since. */
  #stands(change: MemberChange): boolean {
    if (isRunning(change)) return true;
    return (change.added === undefined || this.#members.has(change.added.nodeId)) && !this.#members.has(change.removedNodeId);
  }

  #begin(request: BeginMemberChange, nowMs: number): CommandResult {
    if (!this.isOnRecord) return resultOf(refusal("VERSION_TOO_LOW", "the members of this cluster are not on record yet"));
    const checked = this.check(request, nowMs);
    if (!checked.ok) return resultOf(checked);
    const { change } = checked;
    if (!checked.isNew || request.dryRun) return CommandResult.fromPartial({ memberChange: change });
    if (change.added !== undefined) {
      this.#put(change.added);
      this.#setHead(this.#version, Math.max(this.#lastNodeId, change.added.nodeId));
    }
    this.#setState(change.removedNodeId, MemberState.LEAVING);
    this.#setChanges([...this.#changes, change]);
    return CommandResult.fromPartial({ memberChange: change });
  }

  /** What became of a wish to cancel, without doing it. */
  checkCancel(changeId: string): ChangeCheck {
    const change = this.change(changeId);
    if (change === undefined) return refusal("NOT_FOUND", `change ${changeId} is not known`, { change_id: changeId });
    if (change.state !== MemberChangeState.DONE) return { ok: true, change, isNew: change.state === MemberChangeState.RUNNING };
    return refusal("CHANGE_DONE", `change ${changeId} is done: the way back is a new change`, { change_id: changeId });
  }

  #cancel({ changeId, dryRun }: CancelMemberChange): CommandResult {
    const checked = this.checkCancel(changeId);
    if (!checked.ok) return resultOf(checked);
    if (!checked.isNew || dryRun) return CommandResult.fromPartial({ memberChange: checked.change });
    this.#setState(checked.change.added?.nodeId ?? 0, MemberState.LEAVING);
    this.#setState(checked.change.removedNodeId, MemberState.JOINING);
    return CommandResult.fromPartial({ memberChange: this.#replaceChange({ ...checked.change, state: MemberChangeState.CANCELLING }) });
  }

  #finish(changeId: string, nowMs: number): CommandResult {
    const change = this.running;
    if (change?.changeId !== changeId) return CommandResult.fromPartial({});
    const done = change.state === MemberChangeState.RUNNING;
    const [stays, goes] = done ? [change.added?.nodeId ?? 0, change.removedNodeId] : [change.removedNodeId, change.added?.nodeId ?? 0];
    this.#setState(stays, MemberState.VOTER);
    this.#drop(goes);
    return CommandResult.fromPartial({
      memberChange: this.#replaceChange({ ...change, state: done ? MemberChangeState.DONE : MemberChangeState.CANCELLED, endedAtMs: nowMs }),
    });
  }

  #replaceChange(change: MemberChange): MemberChange {
    this.#setChanges(this.#changes.map((each) => (each.changeId === change.changeId ? change : each)));
    return change;
  }

  #setChanges(changes: readonly MemberChange[]): void {
    for (const change of this.#changes) this.#hash.remove(...hashedChange(change));
    this.#changes = changes.slice(-(ENDED_CHANGES + 1));
    for (const change of this.#changes) this.#hash.add(...hashedChange(change));
  }

  #setHead(version: number, lastNodeId: number): void {
    if (this.#version > 1) this.#hash.remove("version", "", this.#version, this.#lastNodeId);
    this.#version = version;
    this.#lastNodeId = lastNodeId;
    if (this.#version > 1) this.#hash.add("version", "", version, lastNodeId);
  }

  #setState(nodeId: number, state: MemberState): void {
    const member = this.#members.get(nodeId);
    if (member !== undefined) this.#put({ ...member, state });
  }

  #put(member: Member): void {
    this.#drop(member.nodeId);
    this.#members.set(member.nodeId, member);
    this.#sorted = undefined;
    this.#hash.add(...hashedMember(member));
  }

  #drop(nodeId: number): void {
    const member = this.#members.get(nodeId);
    if (member === undefined) return;
    this.#members.delete(nodeId);
    this.#sorted = undefined;
    this.#hash.remove(...hashedMember(member));
  }

  /** What a snapshot holds; undefined where nothing is on record. */
  capture(): MembershipRecord | undefined {
    if (this.#version === 1) return undefined;
    return { version: this.#version, members: [...this.members()], changes: [...this.#changes], lastNodeId: this.#lastNodeId };
  }

  restore({ version, members, changes, lastNodeId }: MembershipRecord): void {
    this.#setHead(version, lastNodeId);
    for (const member of members) this.#put(member);
    this.#setChanges(changes);
  }
}

export function isRunning({ state }: MemberChange): boolean {
  return state === MemberChangeState.RUNNING || state === MemberChangeState.CANCELLING;
}

/** Whether a change is what a request asks for. */
function sameTarget(change: MemberChange, { kind, added, removedNodeId }: BeginMemberChange): boolean {
  return change.kind === kind && change.removedNodeId === removedNodeId && change.added?.folderId === added?.folderId;
}

/** In the words of an operator. */
function describeChange({ kind, added, removedNodeId }: MemberChange): string {
  if (kind === MemberChangeKind.REMOVE) return `removing node ${removedNodeId}`;
  return kind === MemberChangeKind.ADD ? `adding node ${added?.nodeId ?? 0}` : `replacing node ${removedNodeId} by ${added?.nodeId ?? 0}`;
}

/** Node ids are never used twice, so neither is this. */
function nameOf(kind: MemberChangeKind, addedNodeId: number, removedNodeId: number): string {
  if (kind === MemberChangeKind.REMOVE) return `remove-${removedNodeId}`;
  return kind === MemberChangeKind.ADD ? `add-${addedNodeId}` : `replace-${removedNodeId}-by-${addedNodeId}`;
}

function hashedMember({ nodeId, address, folderId, state }: Member): [string, string, number, number] {
  return [`member ${state}`, address, nodeId, folderId];
}

function hashedChange({ changeId, kind, state, added, removedNodeId }: MemberChange): [string, string, number, number] {
  return [`change ${kind} ${state}`, changeId, added?.nodeId ?? 0, removedNodeId];
}

function refusal(reason: Reason, message: string, metadata: Readonly<Record<string, string>> = {}): { ok: false } & Refusal {
  return { ok: false, reason, message, metadata };
}

/** A refusal as the result of a command. */
export function resultOf({ reason, message, metadata }: Refusal): CommandResult {
  return CommandResult.fromPartial({ reason, message, metadata: new Map(Object.entries(metadata)) });
}
