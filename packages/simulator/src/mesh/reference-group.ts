// What the committed log of one group means: every entry, once, in order, as some node was first seen to commit it. All
// replicas are held against it. Besides the production state it keeps a ledger and fences of its own, so that a
// defect of the state machine that all replicas share is found as well.
import { type Bounds, type EntityChange, type LogEntry, Outcome } from "@statemesh/contract";
import { Command, type DecidedOperation } from "@statemesh/contract/log";
import { type Applied, type DirectoryChange, GroupState, type GroupStateOptions } from "@statemesh/replica";
import { formatRegion, overlaps, quantizeBounds } from "@statemesh/world";
import { crc32c } from "@node-rs/crc32";

/** The one decision on an operation id. */
export interface KnownDecision {
  readonly index: number;
  readonly outcome: number;
  readonly winnerOperationId: string;
  readonly transactionId: string;
}

/** One text for an entity. */
export function entityKey({ kind, entityId }: { readonly kind: string; readonly entityId: string }): string {
  return `${kind}/${entityId}`;
}

interface Fence {
  readonly epoch: number;
  readonly ownerServerId: number;
}

export interface CommittedChange {
  readonly index: number;
  readonly change: EntityChange;
}

export class ReferenceGroup {
  readonly state: GroupState;
  /** By index: what was committed. Index 0 is before the log. */
  readonly terms: number[] = [0];
  readonly checksums: number[] = [0];
  /** From index 1 on. */
  readonly entries: LogEntry[] = [];
  readonly digests: string[];
  readonly decisions = new Map<string, KnownDecision>();
  /** In log order, of the whole run. */
  readonly changes: CommittedChange[] = [];
  /** The same by entity: the index of each change, and the version it left; 0: removed. */
  readonly history = new Map<string, { index: number; version: number }[]>();
  readonly #structures = new Map<string, ReturnType<typeof quantizeBounds>>();
  readonly #balances = new Map<string, number>();
  readonly #fences = new Map<string, Fence>();
  readonly #fail: (kind: string, message: string) => void;
  /** Sees what commands of the directory did. */
  watch: (index: number, change: DirectoryChange) => void = () => undefined;

  constructor(options: GroupStateOptions, fail: (kind: string, message: string) => void) {
    this.state = new GroupState(options);
    this.digests = [this.state.digest];
    this.#fail = fail;
  }

  get last(): number {
    return this.terms.length - 1;
  }

  commit(entry: LogEntry): void {
    this.terms.push(entry.term);
    this.checksums.push(crc32c(entry.data));
    this.entries.push(entry);
    const applied = this.#apply(entry);
    if (applied === undefined) return;
    this.digests.push(this.state.digest);
    for (const change of applied.changes) this.#changed(entry.index, change);
    if (applied.directory !== undefined) this.watch(entry.index, applied.directory);
    if (entry.kind !== 0) return;
    const { command } = Command.decode(entry.data);
    if (command?.$case === "operations") this.#decide(entry.index, command.value.operations);
    else if (command?.$case === "fence") this.#fence(entry.index, command.value);
  }

  /** An entry that contradicts what stands was decided by somebody who did not know it. */
  #apply(entry: LogEntry): Applied | undefined {
    try {
      return this.state.apply(entry);
    } catch (error) {
      this.#fail("what is committed can be applied", `entry ${entry.index} of group ${this.state.groupId}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }

  #changed(index: number, change: EntityChange): void {
    this.changes.push({ index, change });
    const { entity, removed } = change;
    if (entity === undefined) return;
    const key = entityKey(entity);
    this.#placed(index, key, entity, removed);
    const row = { index, version: removed ? 0 : entity.version };
    const history = this.history.get(key);
    if (history === undefined) this.history.set(key, [row]);
    else history.push(row);
  }

  /** Whatever the rules were, and whoever decided: two structures never stand in one place. */
  #placed(index: number, key: string, { kind, bounds }: { kind: string; bounds: Bounds | undefined }, removed: boolean): void {
    if (kind !== "structure" || bounds === undefined) return;
    this.#structures.delete(key);
    if (removed) return;
    const box = quantizeBounds(bounds);
    for (const [other, place] of this.#structures) {
      if (overlaps(box, place)) this.#fail("structures do not overlap", `${key} was placed at ${index} of group ${this.state.groupId} where ${other} stands`);
    }
    this.#structures.set(key, box);
  }

  /** The version of an entity right after an index; 0 where it is not there. */
  versionAt(key: string, index: number): number {
    const history = this.history.get(key) ?? [];
    for (let at = history.length - 1; at >= 0; at--) {
      const row = history[at];
      if (row !== undefined && row.index <= index) return row.version;
    }
    return 0;
  }

  #fence(index: number, { region, epoch, ownerServerId }: { region: Parameters<typeof formatRegion>[0] | undefined; epoch: number; ownerServerId: number }): void {
    if (region === undefined) return;
    const text = formatRegion(region);
    const before = this.#fences.get(text);
    const follows = before === undefined || epoch > before.epoch || (epoch === before.epoch && ownerServerId === 0);
    if (follows) this.#fences.set(text, { epoch, ownerServerId });
    const held = this.state.fence(region);
    const now = this.#fences.get(text);
    if (held?.epoch !== now?.epoch || held?.ownerServerId !== now?.ownerServerId) {
      this.#fail("epochs only grow", `group ${this.state.groupId} at ${index}: ${text} stands at epoch ${held?.epoch} of ${held?.ownerServerId}, expected ${now?.epoch} of ${now?.ownerServerId}`);
    }
  }

  #decide(index: number, operations: readonly DecidedOperation[]): void {
    const fenced = new Set(operations.filter((operation) => operation.transactionId !== "" && !this.#admits(operation)).map((operation) => operation.transactionId));
    for (const operation of operations) {
      const { operationId } = operation;
      const known = this.decisions.get(operationId);
      const row = this.state.decisions.get(operationId);
      if (known !== undefined && known.index !== index && row?.index === index) {
        this.#fail("one decision for ever", `${operationId} was decided at ${known.index} and again at ${index} of group ${this.state.groupId}`);
      }
      if (known !== undefined) continue;
      if (operation.outcome === Outcome.REJECTED) this.#checkWinner(index, operation, operations);
      if (fenced.has(operation.transactionId) || !this.#admits(operation)) {
        if (row !== undefined) this.#fail("fencing", `${operationId} at ${index} of group ${this.state.groupId} took effect under epoch ${operation.epoch}, which was fenced`);
        continue;
      }
      this.decisions.set(operationId, { index, outcome: operation.outcome, winnerOperationId: operation.winnerOperationId, transactionId: operation.transactionId });
      for (const { effect } of operation.effects) if (effect?.$case === "post") this.#post(index, effect.value);
    }
  }

  /** Who lost, lost to an operation of the same entry or an earlier one, and not to one that never came into the log. */
  #checkWinner(index: number, { operationId, winnerOperationId }: DecidedOperation, operations: readonly DecidedOperation[]): void {
    if (winnerOperationId === "" || winnerOperationId === operationId || this.decisions.has(winnerOperationId)) return;
    if (operations.some((each) => each.operationId === winnerOperationId && this.#admits(each))) return;
    this.#fail("a winner has won", `${operationId} at ${index} of group ${this.state.groupId} lost to ${winnerOperationId}, which nobody decided`);
  }

  #admits({ region, epoch, serverId }: DecidedOperation): boolean {
    if (region === undefined) return true;
    const fence = this.#fences.get(formatRegion(region));
    if (fence === undefined || fence.ownerServerId === 0) return epoch === 0;
    return epoch === fence.epoch && serverId === fence.ownerServerId;
  }

  #post(index: number, { from, to, itemKind, quantity }: { from: string; to: string; itemKind: string; quantity: number }): void {
    if (from !== "") this.#add(index, from, itemKind, -quantity);
    if (to !== "") this.#add(index, to, itemKind, quantity);
  }

  #add(index: number, account: string, itemKind: string, delta: number): void {
    const key = `${account} ${itemKind}`;
    const now = (this.#balances.get(key) ?? 0) + delta;
    if (now < 0) this.#fail("balances", `${key} stands at ${now} after ${index} of group ${this.state.groupId}`);
    this.#balances.set(key, now);
  }

  /** Σ balances = minted − burned, and every balance is what the postings say. */
  checkLedger(state: GroupState): void {
    const sums = new Map<string, number>();
    let rows = 0;
    for (const row of state.ledger.rows()) {
      rows++;
      sums.set(row.itemKind, (sums.get(row.itemKind) ?? 0) + row.quantity);
      const expected = this.#balances.get(`${row.account} ${row.itemKind}`) ?? 0;
      if (state.appliedIndex === this.last && expected !== row.quantity) {
        this.#fail("balances", `${row.account} holds ${row.quantity} ${row.itemKind}, the postings say ${expected}`);
      }
    }
    if (state.appliedIndex === this.last && rows !== [...this.#balances.values()].filter((quantity) => quantity !== 0).length) {
      this.#fail("balances", `group ${state.groupId}: ${rows} balances are held, the postings say another number`);
    }
    for (const { itemKind, minted, burned } of state.ledger.totalsRows()) {
      const held = sums.get(itemKind) ?? 0;
      if (held !== minted - burned) this.#fail("conservation", `group ${state.groupId}: ${held} ${itemKind} are held, ${minted} were minted and ${burned} burned`);
    }
  }
}
