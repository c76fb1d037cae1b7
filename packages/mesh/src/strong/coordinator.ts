// Takes transactions across groups from step to step. What has been reached is in the logs: whoever leads the coordinating group goes on
// from there, and a group that waits too long asks the coordinating group's log. Nothing here has to be remembered.
//
// Groups are prepared one after the other, in the order of their numbers. Whoever holds locks in a group waits only for groups with a
// higher number, so that nobody ever waits in a circle, and nobody has to be aborted for it.
import { ConflictType, type LogPosition, Outcome } from "@statemesh/contract";
import type { Command, CommandResult, DecidedOperation, TransactionCommand } from "@statemesh/contract/log";
import type { Clock } from "@statemesh/ports";
import { commandOf, type CoordinatedRow, type GroupState, type PreparedRow, transactionIdOf, TransactionState } from "@statemesh/replica";
import { type OperationType, type Policy, footprintOf, groupOf } from "@statemesh/world";
import type { Log } from "../host.ts";
import type { GroupTransactions, StepDone } from "./group-transactions.ts";

/** One group on this node, as far as a coordinator needs it. */
export interface CoordinatedGroup {
  readonly groupId: number;
  /** This node leads, and has applied everything that it inherited. */
  readonly serves: boolean;
  readonly state: GroupState;
  readonly transactions: GroupTransactions;
  /** Puts a command into this group's log. */
  command(command: Command, done: StepDone): void;
}

export interface CoordinatingNode {
  readonly groups: readonly CoordinatedGroup[];
  readonly options: { readonly groups: number; readonly policy: Policy };
  readonly host: { readonly clock: Clock; readonly log: Pick<Log, "error"> };
  /** Brings commands to the leaders of their groups, wherever those are. */
  readonly relay: { command(groupId: number, command: Command, deadlineMs: number, done: StepDone): void };
  dirty(): void;
}

/** Milliseconds until a step that failed is tried again. */
const RETRY_MS = 50;
/** Milliseconds for one try of a release. */
const RELEASE_TRY_MS = 5_000;
/** Milliseconds past the deadline after which a prepared group asks how the transaction stands. */
const ORPHAN_MS = 1_000;
/** Orphans that one group asks for at a time. */
const ORPHANS_AT_ONCE = 256;

/** A transaction that this node drives. */
interface Drive {
  readonly beginIndex: number;
  readonly votes: Map<number, readonly DecidedOperation[]>;
  readonly released: Map<number, LogPosition>;
  /** Groups whose footprints of what was removed are gone. */
  readonly cleared: Set<number>;
  /** Groups that were asked and have not answered; with a minus sign those that clear. */
  readonly underWay: Set<number>;
  /** Its callers have heard; who asks from now on asks again. */
  told: boolean;
  /** A decision, or the end, is on its way into the log. */
  proposed: boolean;
  notBeforeMs: number;
}

export class Coordinator {
  readonly #node: CoordinatingNode;
  /** By group, then by key. Only of groups that this node leads. */
  readonly #drives: Map<string, Drive>[];
  readonly #orphans = new Set<string>();

  constructor(node: CoordinatingNode) {
    this.#node = node;
    this.#drives = node.groups.map(() => new Map<string, Drive>());
  }

  /** A step was applied on this node. */
  stepped(groupId: number, key: string): void {
    const group = this.#node.groups[groupId];
    if (group?.serves !== true) return;
    const row = group.state.transactions.coordinated(key);
    if (row === undefined) this.#drives[groupId]?.delete(key);
    else this.#advance(group, row);
  }

  /** Goes on with what stands still: after a change of leader, after an error. */
  tick(): void {
    for (const group of this.#node.groups) {
      const drives = this.#drives[group.groupId];
      const { transactions } = group.state;
      if (drives === undefined || (transactions.isQuiet && drives.size === 0)) continue;
      if (!group.serves) {
        drives.clear();
        continue;
      }
      for (const row of transactions.coordinatedRows()) this.#advance(group, row);
      this.#askForOrphans(group);
    }
  }

  #advance(group: CoordinatedGroup, row: CoordinatedRow): void {
    const drives = this.#drives[group.groupId];
    if (drives === undefined) return;
    let drive = drives.get(row.key);
    if (drive?.beginIndex !== row.beginIndex) {
      drive = { beginIndex: row.beginIndex, votes: new Map(), released: new Map(), cleared: new Set(), underWay: new Set(), told: false, proposed: false, notBeforeMs: 0 };
      drives.set(row.key, drive);
    }
    if (drive.proposed || drive.notBeforeMs > this.#node.host.clock.monotonicMs()) return;
    if (row.state === TransactionState.UNDECIDED) this.#prepareNext(group, row, drive);
    else this.#releaseAll(group, row, drive);
  }

  #prepareNext(group: CoordinatedGroup, row: CoordinatedRow, drive: Drive): void {
    const nowMs = this.#node.host.clock.wallMs();
    if (nowMs > row.deadlineMs) {
      return this.#propose(group, drive, { $case: "resolve", value: { key: row.key, beginIndex: row.beginIndex } });
    }
    const next = row.groups.find((groupId) => groupId !== group.groupId && !drive.votes.has(groupId));
    if (next === undefined) return this.#decide(group, row, drive, true, homeLast([...drive.votes.values()].flat()));
    if (drive.underWay.has(next)) return;
    const operations = row.operations.filter((stamped) => this.#reaches(stamped.operation, next));
    const step: NonNullable<TransactionCommand["step"]> = {
      $case: "ask", value: { transaction: refOf(group.groupId, row), stamp: row.stamp, deadlineMs: row.deadlineMs, groups: [...row.groups], operations },
    };
    this.#relay(drive, next, step, row.deadlineMs - nowMs, (result) => {
      if (result.transaction?.prepared === true) {
        drive.votes.set(next, result.transaction.decided);
        return this.#again(group, row.key, drive);
      }
      const now = this.#current(group, row.key, drive);
      if (now?.state === TransactionState.UNDECIDED) this.#decide(group, now, drive, false, failureOf(now, operations[0]?.operation?.operationId, result));
    }, () => this.#again(group, row.key, drive));
  }

  #reaches(operation: CoordinatedRow["operations"][number]["operation"], groupId: number): boolean {
    const type: OperationType | undefined = operation === undefined ? undefined : this.#node.options.policy.typeOf(operation.type);
    if (operation === undefined || type === undefined) return false;
    return footprintOf(operation, type).regions.some((region) => groupOf(region, this.#node.options.groups) === groupId);
  }

  #decide(group: CoordinatedGroup, { key, beginIndex }: CoordinatedRow, drive: Drive, commit: boolean, decided: DecidedOperation[]): void {
    if (!drive.proposed) this.#propose(group, drive, { $case: "decide", value: { key, beginIndex, commit, decided } });
  }

  #releaseAll(group: CoordinatedGroup, row: CoordinatedRow, drive: Drive): void {
    const commit = row.state === TransactionState.COMMITTED;
    let isComplete = true;
    for (const groupId of row.groups) {
      if (groupId === group.groupId || drive.released.has(groupId)) continue;
      isComplete = false;
      if (drive.underWay.has(groupId)) continue;
      const step: NonNullable<TransactionCommand["step"]> = { $case: "release", value: { transaction: refOf(group.groupId, row), commit, forget: false } };
      this.#relay(drive, groupId, step, RELEASE_TRY_MS, ({ position, reason }) => {
        if (reason !== "") {
          // Nobody may hear that it is done. It stays on record here, and is said again with every try.
          drive.notBeforeMs = this.#node.host.clock.monotonicMs() + RELEASE_TRY_MS;
          this.#node.host.log.error("a group does not know the transaction that it is to commit: its part is lost", { group: groupId, coordinator: group.groupId, transaction: row.key, reason });
          return;
        }
        if (position !== undefined) drive.released.set(groupId, position);
        this.#again(group, row.key, drive);
      }, () => this.#again(group, row.key, drive));
    }
    if (!this.#clearAll(group, row, drive)) isComplete = false;
    // It is decided. What others have not released yet is prepared there, so that a linearizable read waits for it; only the places of what was done are theirs to tell.
    const isKnown = !commit || row.homeGroups.every((groupId) => groupId === group.groupId || drive.released.has(groupId));
    if (isKnown && row.clears.length === 0) drive.told = group.transactions.conclude(row, drive.released, drive.told);
    if (!isComplete || drive.proposed) return;
    group.transactions.conclude(row, drive.released, drive.told);
    this.#propose(group, drive, { $case: "finish", value: { key: row.key, beginIndex: row.beginIndex, released: [...drive.released.values()] } });
  }

  /** Other groups' footprints of what was removed go; true once all are gone. */
  #clearAll(group: CoordinatedGroup, row: CoordinatedRow, drive: Drive): boolean {
    let isComplete = true;
    for (const groupId of new Set(row.clears.flatMap(({ groups }) => groups))) {
      if (drive.cleared.has(groupId)) continue;
      isComplete = false;
      if (drive.underWay.has(-groupId)) continue;
      const clears = row.clears.filter(({ groups }) => groups.includes(groupId));
      this.#relay(drive, groupId, { $case: "clear", value: { transaction: refOf(group.groupId, row), clears } }, RELEASE_TRY_MS, () => {
        drive.cleared.add(groupId);
        this.#again(group, row.key, drive);
      }, () => this.#again(group, row.key, drive), -groupId);
    }
    return isComplete;
  }

  /** The row, while it is still this drive's business. */
  #current(group: CoordinatedGroup, key: string, drive: Drive): CoordinatedRow | undefined {
    const row = group.state.transactions.coordinated(key);
    return group.serves && row !== undefined && this.#drives[group.groupId]?.get(key) === drive ? row : undefined;
  }

  #again(group: CoordinatedGroup, key: string, drive: Drive): void {
    const row = this.#current(group, key, drive);
    if (row !== undefined) this.#advance(group, row);
  }

  #relay(drive: Drive, groupId: number, step: NonNullable<TransactionCommand["step"]>, limitMs: number, done: (result: CommandResult) => void, failed: () => void, mark = groupId): void {
    drive.underWay.add(mark);
    this.#node.dirty();
    this.#node.relay.command(groupId, this.#stepOf(step), this.#node.host.clock.monotonicMs() + Math.max(1, limitMs), (result, error) => {
      drive.underWay.delete(mark);
      if (result !== undefined) return done(result);
      drive.notBeforeMs = this.#node.host.clock.monotonicMs() + RETRY_MS;
      if (error !== undefined) failed();
    });
  }

  #propose(group: CoordinatedGroup, drive: Drive, step: NonNullable<TransactionCommand["step"]>): void {
    drive.proposed = true;
    group.command(this.#stepOf(step), (_, error) => {
      drive.proposed = false;
      if (error !== undefined) drive.notBeforeMs = this.#node.host.clock.monotonicMs() + RETRY_MS;
    });
  }

  #stepOf(step: NonNullable<TransactionCommand["step"]>): Command {
    return commandOf({ $case: "transaction", value: { step, nowMs: Math.floor(this.#node.host.clock.wallMs()) } });
  }

  /** Groups that wait past the deadline ask the coordinating group's log, which answers for ever the same. */
  #askForOrphans(group: CoordinatedGroup): void {
    const nowMs = this.#node.host.clock.wallMs();
    for (const row of group.state.transactions.preparedRows()) {
      if (row.coordinatorGroup === group.groupId || nowMs < row.deadlineMs + ORPHAN_MS) continue;
      const name = `${group.groupId} ${row.key}`;
      if (this.#orphans.has(name)) continue;
      if (this.#orphans.size >= ORPHANS_AT_ONCE) return;
      this.#orphans.add(name);
      const step = this.#stepOf({ $case: "resolve", value: { key: row.key, beginIndex: row.beginIndex } });
      this.#node.dirty();
      this.#node.relay.command(row.coordinatorGroup, step, this.#node.host.clock.monotonicMs() + RELEASE_TRY_MS, (result) => {
        const state = result?.transaction?.state;
        if (state === undefined || state === TransactionState.UNDECIDED || !group.serves) this.#orphans.delete(name);
        else this.#releaseOrphan(group, row, state, () => this.#orphans.delete(name));
      });
    }
  }

  /**
   * What is not on record was finished before this group, late, came to prepare it once more: a coordinating group forgets nothing
   * that somebody who was asked in time may still wait for.
   */
  #releaseOrphan(group: CoordinatedGroup, { key, coordinatorGroup, beginIndex }: PreparedRow, state: number, done: () => void): void {
    const transaction = { key, coordinatorGroup, beginIndex };
    const value = { transaction, commit: state === TransactionState.COMMITTED, forget: state === TransactionState.NOT_ON_RECORD };
    group.command(this.#stepOf({ $case: "release", value }), done);
  }
}

/** Of several verdicts on an operation that of its home counts, which is the last one. */
function homeLast(votes: readonly DecidedOperation[]): DecidedOperation[] {
  return [...votes.filter(({ region }) => region === undefined), ...votes.filter(({ region }) => region !== undefined)];
}

function refOf(coordinatorGroup: number, { key, beginIndex }: CoordinatedRow): { key: string; coordinatorGroup: number; beginIndex: number } {
  return { key, coordinatorGroup, beginIndex };
}

/** Why a group did not prepare, as decisions: the first of them gives the rule for all. */
function failureOf({ key, operations }: CoordinatedRow, first: string | undefined, { reason, transaction }: CommandResult): DecidedOperation[] {
  const refused = transaction?.decided.filter(({ outcome }) => outcome === Outcome.REJECTED) ?? [];
  if (refused.length > 0) return refused;
  const stamped = operations.find(({ operation }) => operation?.operationId === first);
  const operation = stamped?.operation;
  if (operation === undefined) return [];
  return [{
    operationId: operation.operationId, fingerprint: stamped?.fingerprint ?? 0, outcome: Outcome.REJECTED, rule: "transaction", winnerOperationId: "", conflict: ConflictType.UNSPECIFIED, reason,
    stamp: stamped?.stamp, serverId: operation.serverId, region: undefined, epoch: operation.authorityEpoch, effects: [], transactionId: transactionIdOf(key), claimedMs: operation.timestampMs, clears: [], currentVersion: 0,
  }];
}
