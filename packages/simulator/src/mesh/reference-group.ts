// What the committed log of one group means: every entry, once, in order, as some node was first seen to commit it. All
// replicas are held against it. Besides the production state it keeps a ledger and fences of its own, so that a
// defect of the state machine that all replicas share is found as well.
import { type EntityChange, type LogEntry, Outcome } from "@statemesh/contract";
import { type BeginTransaction, Command, type DecidedOperation, type EscrowStep, type RegionFence, type TransactionCommand } from "@statemesh/contract/log";
import { addModulo, type Applied, type DirectoryChange, GroupState, type GroupStateOptions, heldBy, lyingItems, peerGroupOf } from "@statemesh/replica";
import { formatRegion } from "@statemesh/world";
import { crc32c } from "@node-rs/crc32";
import { ContainerBook } from "./container-book.ts";
import type { EscrowBook, RowBefore } from "./escrow-book.ts";
import type { FootprintBook } from "./footprint-book.ts";
import type { MergeBook } from "./merge-book.ts";
import type { TransactionBook } from "./transaction-book.ts";
import type { TravellerBook } from "./traveller-book.ts";

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

/** Those who look at what all groups do together. */
export interface GroupBooks {
  readonly transactions: TransactionBook;
  readonly footprints: FootprintBook;
  readonly merges: MergeBook;
  readonly travellers: TravellerBook;
  readonly escrows: EscrowBook;
}

export class ReferenceGroup {
  readonly state: GroupState;
  /** By index: what was committed. Index 0 is before the log. */
  readonly terms: number[] = [0];
  /** By index: the term of who was first seen to have committed it; that of who committed it, or a later one. */
  readonly committedIn: number[] = [0];
  readonly checksums: number[] = [0];
  /** From index 1 on. */
  readonly entries: LogEntry[] = [];
  readonly digests: string[];
  readonly decisions = new Map<string, KnownDecision>();
  /** In log order, of the whole run. */
  readonly changes: CommittedChange[] = [];
  /** The same by entity: the index of each change, and the version it left; 0: removed. */
  readonly history = new Map<string, { index: number; version: number }[]>();
  readonly #balances = new Map<string, number>();
  readonly #balanceOf = (account: string, itemKind: string): number => this.#balances.get(`${account} ${itemKind}`) ?? 0;
  readonly #containers = new ContainerBook();
  readonly #fences = new Map<string, Fence>();
  readonly #prepared = new Map<string, { readonly beginIndex: number; readonly decided: readonly DecidedOperation[] }>();
  /** What this group coordinates and has not decided. */
  readonly #begun = new Map<string, BeginTransaction>();
  readonly #transactions: TransactionBook;
  readonly #footprints: FootprintBook;
  readonly #merges: MergeBook;
  readonly #travellers: TravellerBook;
  readonly #escrows: EscrowBook;
  readonly #fail: (kind: string, message: string) => void;
  /** Sees what commands of the directory did. */
  watch: (index: number, change: DirectoryChange) => void = () => undefined;

  constructor(options: GroupStateOptions, { transactions, footprints, merges, travellers, escrows }: GroupBooks, fail: (kind: string, message: string) => void) {
    this.#merges = merges;
    this.#transactions = transactions;
    this.#footprints = footprints;
    this.#travellers = travellers;
    this.#escrows = escrows;
    this.state = new GroupState(options);
    this.digests = [this.state.digest];
    this.#fail = fail;
  }

  get last(): number {
    return this.terms.length - 1;
  }

  /** @param term Of the node that is seen to have committed it. */
  commit(entry: LogEntry, term: number): void {
    this.terms.push(entry.term);
    this.committedIn.push(term);
    this.checksums.push(crc32c(entry.data));
    this.entries.push(entry);
    const step = entry.kind === 0 ? Command.decode(entry.data).command : undefined;
    const before = step?.$case === "escrow" ? this.#escrows.before(this.state, step.value) : undefined;
    const applied = this.#apply(entry);
    if (applied === undefined) return;
    this.digests.push(this.state.digest);
    for (const change of applied.changes) this.#changed(entry.index, change);
    if (applied.directory !== undefined) this.watch(entry.index, applied.directory);
    if (entry.kind !== 0) return;
    const { command } = Command.decode(entry.data);
    if (command?.$case === "operations") {
      for (const operation of this.#decide(entry.index, command.value.operations)) this.#transactions.touched(this.state.groupId, operation, this.#balanceOf);
    } else if (command?.$case === "heal") this.#decide(entry.index, command.value.operations.flatMap(({ decided, decidedBefore }) => (decided === undefined || decidedBefore ? [] : [decided])), true);
    else if (command?.$case === "escrow") this.#escrowStep(entry.index, command.value, before, applied);
    else if (command?.$case === "transaction") this.#step(entry.index, command.value, applied);
    else if (command?.$case === "fence" && !this.#isHeld(command.value, applied)) this.#fence(entry.index, command.value);
    const problem = this.#containers.problem();
    if (problem !== undefined) this.#fail("containers", `group ${this.state.groupId} at ${entry.index}: ${problem}`);
    this.#footprints.check(this.state, entry.index);
  }

  #escrowStep(index: number, step: EscrowStep, before: RowBefore, { operations }: Applied): void {
    for (const posting of this.#escrows.stepped(this.state, step, before)) this.#post(index, posting);
    // Under whose id it stands from now on.
    for (const { operationId, decision } of operations) if (decision !== undefined) this.decisions.set(operationId, { index, outcome: decision.outcome, winnerOperationId: decision.winnerOperationId, transactionId: "" });
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
    this.#footprints.placed(this.state.groupId, index, entity, removed);
    this.#containers.changed(entity, removed);
    const row = { index, version: removed ? 0 : entity.version };
    const history = this.history.get(key);
    if (history === undefined) this.history.set(key, [row]);
    else history.push(row);
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

  /** A fence waits for what is prepared under the one before. */
  #isHeld({ region }: RegionFence, { commandResult }: Applied): boolean {
    if (region === undefined || commandResult?.reason !== "TRANSACTION_PENDING") return false;
    const text = formatRegion(region);
    const isPrepared = [...this.#prepared.values()].some(({ decided }) => decided.some((operation) => operation.region !== undefined && formatRegion(operation.region) === text));
    if (!isPrepared) this.#fail("fencing", `a fence of ${text} was put off in group ${this.state.groupId}, where nothing is prepared`);
    return isPrepared;
  }

  /** Whether a step found things so that it does something is the state's word; what it then may do is not. */
  #step(index: number, { step }: TransactionCommand, { transaction }: Applied): void {
    const { groupId } = this.state;
    if (step === undefined || transaction?.tookEffect !== true) return;
    const { key, beginIndex } = transaction;
    const held = this.#prepared.get(key);
    switch (step.$case) {
      case "begin":
        this.#transactions.begun(groupId, key, beginIndex, step.value.groups, step.value.decided, this.#balanceOf);
        this.#prepared.set(key, { beginIndex, decided: step.value.decided });
        this.#begun.set(key, step.value);
        return;
      case "prepare":
        this.#transactions.prepared(groupId, key, beginIndex, step.value.decided, this.#balanceOf);
        this.#prepared.set(key, { beginIndex, decided: step.value.decided });
        return;
      case "decide":
      case "resolve": {
        const commit = step.$case === "decide" && step.value.commit;
        this.#transactions.decided(key, beginIndex, commit, held?.decided ?? []);
        this.#prepared.delete(key);
        if (commit) this.#decide(index, held?.decided ?? []);
        else for (const { operation } of this.#begun.get(key)?.operations ?? []) this.#reject(index, operation?.operationId ?? "", key);
        this.#begun.delete(key);
        return;
      }
      case "release": {
        const { commit, forget } = step.value;
        if (held === undefined) return this.#fail("transactions", `${key} was released by group ${groupId} at ${index}, which was not prepared`);
        this.#transactions.released(groupId, key, beginIndex, { commit, forget }, held.decided);
        this.#prepared.delete(key);
        if (commit) this.#decide(index, held.decided);
        else if (!forget) for (const { operationId } of held.decided) this.#reject(index, operationId, key);
        return;
      }
      case "clear":
        return this.#footprints.cleared(groupId, step.value.clears);
      default:
        return;
    }
  }

  #reject(index: number, operationId: string, transactionId: string): void {
    if (this.decisions.has(operationId)) return this.#fail("one decision for ever", `${operationId} was decided before it was rejected at ${index} of group ${this.state.groupId}`);
    this.decisions.set(operationId, { index, outcome: Outcome.REJECTED, winnerOperationId: this.state.decisions.get(operationId)?.winnerOperationId ?? "", transactionId });
  }

  /** Answers those that took effect. `healed`: they were kept while their node was cut off, and are decided by the rules alone, whatever the epochs are. */
  #decide(index: number, operations: readonly DecidedOperation[], healed = false): DecidedOperation[] {
    const done: DecidedOperation[] = [];
    const fenced = new Set(operations.filter((operation) => operation.transactionId !== "" && !this.#admits(operation)).map((operation) => operation.transactionId));
    for (const operation of operations) {
      const { operationId } = operation;
      const known = this.decisions.get(operationId);
      const row = this.state.decisions.get(operationId);
      // It was decided at `known`, and the group knows that no more: the answer says that it may have been, and changes nothing.
      if (known !== undefined && healed && operation.rule === "forgotten" && operation.effects.length === 0) continue;
      if (known !== undefined && known.index !== index && row?.index === index) {
        this.#fail("one decision for ever", `${operationId} was decided at ${known.index} and again at ${index} of group ${this.state.groupId}`);
      }
      if (known !== undefined) continue;
      if (operation.outcome === Outcome.REJECTED) this.#checkWinner(index, operation, operations, healed);
      if (!healed && (fenced.has(operation.transactionId) || !this.#admits(operation))) {
        if (row !== undefined) this.#fail("fencing", `${operationId} at ${index} of group ${this.state.groupId} took effect under epoch ${operation.epoch}, which was fenced`);
        continue;
      }
      this.decisions.set(operationId, { index, outcome: operation.outcome, winnerOperationId: operation.winnerOperationId, transactionId: operation.transactionId });
      for (const { effect } of operation.effects) {
        if (effect?.$case === "post") this.#post(index, effect.value);
        else if (effect?.$case === "escrow") this.#escrows.opened(this.state.groupId, index, effect.value);
        else if (effect?.$case === "footprint") this.#footprints.left(this.state.groupId, operationId, effect.value);
      }
      this.#merges.decided(this.state.groupId, index, operation);
      this.#travellers.decided(this.state, index, operation);
      done.push(operation);
    }
    return done;
  }

  /** Who lost, lost to an operation of the same entry or an earlier one, and not to one that never came into the log. */
  #checkWinner(index: number, { operationId, winnerOperationId }: DecidedOperation, operations: readonly DecidedOperation[], healed: boolean): void {
    this.#footprints.lost(this.state.groupId, winnerOperationId);
    if (winnerOperationId === "" || winnerOperationId === operationId || this.decisions.has(winnerOperationId)) return;
    if (operations.some((each) => each.operationId === winnerOperationId && (healed || this.#admits(each)))) return;
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
    if (now < 0 && peerGroupOf(account) === 0) this.#fail("balances", `${key} stands at ${now} after ${index} of group ${this.state.groupId}`);
    this.#balances.set(key, now);
    this.#containers.balance(account, itemKind, now);
  }

  /** What is counted for a region lies there. */
  #checkLying({ entities, ledger, groupId }: GroupState): void {
    if (ledger.flowsSince === 0) return;
    const lying = new Map<string, number>();
    for (const { region, itemKind, quantity } of lyingItems(entities)) lying.set(`${region} ${itemKind}`, (lying.get(`${region} ${itemKind}`) ?? 0) + quantity);
    let rows = 0;
    for (const { region, itemKind, quantity, flow } of ledger.lyingRows()) {
      rows++;
      if (lying.get(`${region} ${itemKind}`) !== quantity || heldBy(flow) !== quantity) this.#fail("conservation", `group ${groupId} counts ${quantity} ${itemKind} on the ground of ${region}, there are ${lying.get(`${region} ${itemKind}`) ?? 0}, and ${heldBy(flow)} came and did not go`);
    }
    if (rows !== lying.size) this.#fail("conservation", `group ${groupId} counts ${rows} kinds on the ground of regions, there are ${lying.size}`);
  }

  /** Σ balances = minted − burned, and every balance is what the postings say. */
  checkLedger(state: GroupState): void {
    const sums = new Map<string, number>();
    let rows = 0;
    for (const row of state.ledger.rows()) {
      rows++;
      sums.set(row.itemKind, (sums.get(row.itemKind) ?? 0) + row.quantity);
      if (row.flow !== undefined && heldBy(row.flow) !== row.quantity) this.#fail("conservation", `${row.account} holds ${row.quantity} ${row.itemKind} in group ${state.groupId}, by what came and went it would be ${heldBy(row.flow)}`);
      const expected = this.#balances.get(`${row.account} ${row.itemKind}`) ?? 0;
      if (state.appliedIndex === this.last && expected !== row.quantity) {
        this.#fail("balances", `${row.account} holds ${row.quantity} ${row.itemKind}, the postings say ${expected}`);
      }
    }
    if (state.appliedIndex === this.last && rows !== [...this.#balances].filter(([key, quantity]) => quantity !== 0 && !key.startsWith("group:")).length) {
      this.#fail("balances", `group ${state.groupId}: ${rows} balances are held, the postings say another number`);
    }
    this.#checkLying(state);
    for (const { itemKind, minted, burned } of state.ledger.totalsRows()) {
      const away = [...state.ledger.transitRows()].filter((row) => row.itemKind === itemKind).reduce((sum, { sent, received }) => addModulo(addModulo(sum, sent), -received), 0);
      const held = addModulo(away, sums.get(itemKind) ?? 0);
      if (held !== minted - burned) this.#fail("conservation", `group ${state.groupId}: ${held} ${itemKind} are held, ${minted} were minted and ${burned} burned`);
    }
  }
}
