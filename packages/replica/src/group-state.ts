// The state that the replicas of one Raft group hold. `apply` is a pure function of the state and the entry:
// it runs no conflict rule and reads no clock, so replicas that apply the same log hold the same state,
// whatever their version of the rules.
import type {
  Decision} from "@statemesh/contract";
import {
  type ConflictType,
  type Entity,
  type EntityChange,
  type Handoff,
  type HybridTimestamp,
  type LogEntry,
  type LogPosition,
  Outcome,
  type Region,
  type ServerLoad,
  type View,
} from "@statemesh/contract";
import { Command, CommandResult, type DecidedOperation, type Effect, type Footprint, type ForgottenMark, type MembershipRecord, type Posting, type RegionFence } from "@statemesh/contract/log";
import { sameRegion } from "@statemesh/world";
import { Directory } from "./directory.ts";
import { EntityTable, entityKey, lyingItems } from "./entity-table.ts";
import { applyEscrow } from "./escrow-steps.ts";
import { type EscrowRow, escrowRow, EscrowTable } from "./escrow-table.ts";
import { footprintRow, FootprintTable } from "./footprint-table.ts";
import { ForgottenMarks } from "./forgotten-marks.ts";
import { type HealReportRow, HealReports } from "./heal-reports.ts";
import { type BalanceRow, Ledger, peerGroupOf, type RegionItemsRow, type TotalsRow, type TransitRow } from "./ledger.ts";
import { shared, slim } from "./kept-words.ts";
import type { LeaseRow } from "./lease-table.ts";
import { Membership } from "./membership.ts";
import type { Applied, AppliedOperation } from "./applied.ts";
import { applyHeal } from "./apply-heal.ts";
import { applyDecided } from "./clearing.ts";
import { tellsVersion } from "./conditions.ts";
import { regionText } from "./region-text.ts";
import { StateHash } from "./state-hash.ts";
import { TouchLog } from "./touch-log.ts";
import { TransactionContents } from "./transaction-contents.ts";
import { applyStep } from "./transaction-steps.ts";
import { type CoordinatedRow, type FinishedRow, type PreparedRow, TransactionTable } from "./transaction-table.ts";
import { TwoGenerations } from "./two-generations.ts";
import { NewerVersionError, VERSIONS, type VersionRange } from "./versions.ts";
import { Views } from "./views.ts";

/** The one decision on an operation id, kept to answer retries. */
export interface DecisionRow {
  readonly operationId: string;
  readonly fingerprint: number;
  readonly outcome: Outcome;
  readonly rule: string;
  readonly winnerOperationId: string;
  readonly conflict: ConflictType;
  readonly reason: string;
  readonly stamp: HybridTimestamp;
  readonly index: number;
  readonly term: number;
  readonly transactionId: string;
  /** The time that the caller claimed; 0: none. */
  readonly claimedMs: number;
  /** 0: not known. */
  readonly serverId: number;
  /** Where it took effect, if that is another group: of a transaction that this group coordinated. */
  readonly elsewhere?: LogPosition;
  /** With the reason `VERSION_MISMATCH`: the version that the entity had, where known. */
  readonly currentVersion?: number;
}

/** An entity that went, and the operation that took it. */
export interface GoneRow {
  readonly kind: string;
  readonly entityId: string;
  readonly operationId: string;
  readonly serverId: number;
  readonly stamp: HybridTimestamp;
}

/** Epoch and owner of a region, in the group that holds the region. */
export interface FenceRow {
  readonly region: Region;
  readonly epoch: number;
  /** 0: nobody; then only epoch 0 writes. */
  readonly ownerServerId: number;
}

export interface GroupStateOptions {
  readonly groupId: number;
  /** Decisions kept to answer retries: at least this many, at most twice as many. */
  readonly decisionWindow: number;
  /** Touches kept for materialisation. */
  readonly touchCapacity: number;
  /** What this replica can read. Default: what this code can. */
  readonly versions?: VersionRange;
}

const NOTHING: Applied = { decided: [], operations: [], changes: [], directory: undefined, membership: false, commandResult: undefined };
const NO_STAMP: HybridTimestamp = { physicalMs: 0, logical: 0 };

export class GroupState {
  readonly groupId: number;
  readonly #hash: StateHash = new StateHash();
  readonly entities: EntityTable = new EntityTable(this.#hash);
  /** What entities of other groups take up here. */
  readonly footprints: FootprintTable = new FootprintTable(this.#hash);
  readonly ledger: Ledger = new Ledger(this.#hash);
  readonly escrows: EscrowTable = new EscrowTable(this.#hash);
  readonly directory: Directory = new Directory(this.#hash);
  readonly membership: Membership = new Membership(this.#hash);
  readonly views: Views = new Views(this.#hash);
  /** What became of operations that were kept on losing sides of partitions. */
  readonly heals: HealReports = new HealReports(this.#hash);
  readonly forgotten: ForgottenMarks = new ForgottenMarks();
  readonly decisions: TwoGenerations<DecisionRow>;
  readonly gone: TwoGenerations<GoneRow>;
  readonly transactions: TransactionTable;
  /** What transactions held whose decisions are kept. */
  readonly contents: TransactionContents = new TransactionContents();
  readonly #fences = new Map<string, FenceRow>();
  /** Where each fence came into the log; for one of a snapshot, the snapshot's place. Not part of what replicas compare. */
  readonly #fenceIndexes = new Map<string, number>();
  #touches: TouchLog;
  #appliedIndex = 0;
  #appliedTerm = 0;
  #forgottenThroughMs = 0;
  readonly #touchCapacity: number;
  readonly versions: VersionRange;

  constructor(options: GroupStateOptions) {
    this.groupId = options.groupId;
    this.versions = options.versions ?? VERSIONS;
    this.decisions = new TwoGenerations(options.decisionWindow, (row) => {
      // By the caller's word where there is one: a stamp is as wrong as the clock of the node that gave it, and one far ahead
      // would have every later operation refused as forgotten.
      const atMs = row.claimedMs === 0 ? row.stamp.physicalMs : row.claimedMs;
      if (atMs > this.#forgottenThroughMs) this.#forgottenThroughMs = atMs;
      this.contents.forget(row);
      this.forgotten.note(row.serverId, atMs);
    });
    this.gone = new TwoGenerations(options.decisionWindow);
    this.transactions = new TransactionTable(options.groupId, this.#hash, this.ledger, options.decisionWindow);
    this.#touchCapacity = options.touchCapacity;
    this.#touches = new TouchLog(options.touchCapacity, 0);
  }

  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  get appliedTerm(): number {
    return this.#appliedTerm;
  }

  /** An operation with a claimed time at or below this one may have been decided and forgotten. */
  get forgottenThroughMs(): number {
    return this.#forgottenThroughMs;
  }

  get touches(): TouchLog {
    return this.#touches;
  }

  /** Digest of entities, ledger, fences and directory: equal on all replicas that have applied the same index. */
  get digest(): string {
    return this.#hash.toString();
  }

  position(): LogPosition {
    return { groupId: this.groupId, term: this.#appliedTerm, index: this.#appliedIndex };
  }

  fence(region: Region): FenceRow | undefined {
    return this.#fences.size === 0 ? undefined : this.#fences.get(regionText(region));
  }

  /** A region store that stands at this index knows the region's fence; 0: there is none. */
  fenceIndex(region: Region): number {
    return this.#fenceIndexes.get(regionText(region)) ?? 0;
  }

  /** By canonical region text. */
  fenceOf(regionText: string): FenceRow | undefined {
    return this.#fences.get(regionText);
  }

  /** True where a write of this server under this epoch is good now. */
  admits(region: Region, epoch: number, serverId: number): boolean {
    return admits(this.fence(region), epoch, serverId);
  }

  /**
   * Applies the next committed entry. Throws where the log has a hole or an entry contradicts the state: replicas have
   * diverged. `decided`: the entry's operations, where the caller still has them from encoding it; the state keeps them.
   * `report`: whether anybody waits for `Applied.operations`; a follower saves them.
   */
  apply(entry: LogEntry, decided?: readonly DecidedOperation[], report = true): Applied {
    if (entry.index !== this.#appliedIndex + 1) {
      throw new Error(`group ${this.groupId}: entry ${entry.index} applied after ${this.#appliedIndex}`);
    }
    if (entry.kind !== 0 || decided !== undefined) {
      this.#appliedIndex = entry.index;
      this.#appliedTerm = entry.term;
      return decided === undefined ? NOTHING : applyDecided(this, decided, entry, report);
    }
    const { command, format } = Command.decode(entry.data);
    if (format > this.versions.max) throw new NewerVersionError(`entry ${entry.index} of group ${this.groupId}`, format, this.versions);
    this.#appliedIndex = entry.index;
    this.#appliedTerm = entry.term;
    switch (command?.$case) {
      case "operations":
        return applyDecided(this, command.value.operations, entry, report);
      case "directory": {
        const change = this.directory.apply(command.value);
        change.result.position = this.position();
        return { ...NOTHING, directory: change, commandResult: change.result };
      }
      case "fence":
        return this.#applyFence(command.value, entry);
      case "countFlows":
        this.ledger.countFlows(entry.index, lyingItems(this.entities));
        return NOTHING;
      case "heal":
        return applyHeal(this, command.value, entry, report);
      case "escrow":
        return applyEscrow(this, command.value, entry, report);
      case "membership": {
        const commandResult = this.membership.apply(command.value);
        commandResult.position = this.position();
        return { ...NOTHING, membership: true, commandResult };
      }
      case "view":
        return { ...NOTHING, commandResult: { ...this.views.apply(command.value, this.membership), position: this.position() } };
      case "transaction":
        return applyStep(this, command.value, entry);
      default:
        throw new Error(`group ${this.groupId}: entry ${entry.index} holds a command of a newer version`);
    }
  }

  /** For the entry at hand only. */
  applyOperations(operations: readonly DecidedOperation[], entry: LogEntry, report = true, healed = false): Applied {
    const applied: AppliedOperation[] = [];
    const changes: EntityChange[] = [];
    const position = this.position();
    const fencedTransactions = healed ? NO_FENCES : this.#fencedTransactions(operations);
    for (const operation of operations) {
      const known = this.decisions.get(operation.operationId);
      if (known !== undefined) {
        if (report) applied.push({ operationId: operation.operationId, decision: this.decisionOf(known, true), fence: undefined });
        continue;
      }
      const fence = fencedTransactions.get(operation.transactionId) ?? (healed ? undefined : this.fenceAgainst(operation));
      if (fence !== undefined) {
        if (report) applied.push({ operationId: operation.operationId, decision: undefined, fence });
        continue;
      }
      for (const effect of operation.effects) this.#applyEffect(effect, operation, position, changes);
      const row: DecisionRow = {
        operationId: operation.operationId,
        fingerprint: operation.fingerprint,
        outcome: operation.outcome,
        rule: shared(operation.rule),
        winnerOperationId: operation.winnerOperationId === operation.operationId ? operation.operationId : operation.winnerOperationId,
        conflict: operation.conflict,
        reason: shared(operation.reason),
        stamp: operation.stamp ?? NO_STAMP,
        index: entry.index,
        term: entry.term,
        transactionId: operation.transactionId,
        claimedMs: operation.claimedMs,
        serverId: operation.serverId,
        ...(tellsVersion(operation) && { currentVersion: operation.currentVersion }),
      };
      this.contents.add(row);
      this.decisions.add(row.operationId, row);
      if (report) applied.push({ operationId: row.operationId, decision: this.decisionOf(row, false), fence: undefined });
    }
    return { decided: operations, operations: applied, changes, directory: undefined, membership: false, commandResult: undefined };
  }

  /** A transaction is fenced whole where one of its operations is. */
  #fencedTransactions(operations: readonly DecidedOperation[]): ReadonlyMap<string, FenceRow> {
    let fenced: Map<string, FenceRow> | undefined;
    for (const operation of operations) {
      if (operation.transactionId === "") continue;
      const fence = this.fenceAgainst(operation);
      if (fence !== undefined) (fenced ??= new Map()).set(operation.transactionId, fence);
    }
    return fenced ?? NO_FENCES;
  }

  /** The fence that stands against an operation, if one does. */
  fenceAgainst(operation: DecidedOperation): FenceRow | undefined {
    if (operation.region === undefined) return undefined;
    const fence = this.fence(operation.region);
    if (admits(fence, operation.epoch, operation.serverId)) return undefined;
    return fence ?? { region: operation.region, epoch: 0, ownerServerId: 0 };
  }

  #applyEffect(effect: Effect, operation: DecidedOperation, position: LogPosition, changes: EntityChange[]): void {
    const { index } = position;
    const body = effect.effect;
    switch (body?.$case) {
      case "put": {
        const entity = slim(body.value);
        entity.version = index;
        entity.operationId = operation.operationId;
        // A creature's server is its owner; for everything else it is who asked.
        if (entity.serverId === 0) entity.serverId = operation.serverId;
        entity.stamp = operation.stamp;
        entity.epoch = operation.epoch;
        entity.region ??= operation.region;
        const before = this.entities.put(entity);
        // Who watches the region that it left sees it go.
        const left = before?.region !== undefined && entity.region !== undefined && !sameRegion(before.region, entity.region);
        if (left) changes.push({ entity: before, removed: true, position });
        this.#touches.record(index, { kind: "entity", entityKind: entity.kind, entityId: entity.entityId, region: entity.region });
        changes.push({ entity, removed: false, position });
        return;
      }
      case "remove": {
        const { kind, entityId } = body.value;
        const entity = this.entities.remove(kind, entityId);
        if (entity === undefined) throw new Error(`group ${this.groupId}: entry ${index} removes ${kind} ${entityId}, which is not there`);
        this.gone.set(entityKey(kind, entityId), {
          kind,
          entityId,
          operationId: operation.operationId,
          serverId: operation.serverId,
          stamp: operation.stamp ?? NO_STAMP,
        });
        this.#touches.record(index, { kind: "entity", entityKind: kind, entityId, region: entity.region });
        changes.push({ entity, removed: true, position });
        return;
      }
      case "post":
        return this.applyPosting(body.value, operation.region);
      case "escrow":
        return this.escrows.put(escrowRow({ ...body.value, region: operation.region, openedIndex: index }));
      case "footprint":
        return this.footprints.put(footprintRow(body.value, operation));
      default:
        throw new Error(`group ${this.groupId}: entry ${index} holds an effect of a newer version`);
    }
  }

  /** For the entry at hand only. */
  applyPosting(posting: Posting, region: Region | undefined): void {
    const index = this.#appliedIndex;
    this.ledger.post(posting, index, region === undefined ? "" : regionText(region));
    const { from, to, itemKind } = posting;
    if (from === "" || to === "") this.#touches.record(index, { kind: "totals", itemKind });
    if (from !== "" && peerGroupOf(from) === 0) this.#touches.record(index, { kind: "balance", account: from, itemKind });
    if (to !== "" && peerGroupOf(to) === 0) this.#touches.record(index, { kind: "balance", account: to, itemKind });
  }

  #applyFence(fence: RegionFence, entry: LogEntry): Applied {
    const region = fence.region;
    if (region === undefined) throw new Error(`group ${this.groupId}: fence without a region at ${entry.index}`);
    const text = regionText(region);
    const before = this.#fences.get(text);
    // What is prepared was decided under the fence before, and may still take effect: until then the next one waits.
    if (this.transactions.preparedCount > 0 && fenceFollows(before, fence) && this.transactions.holdsRegion(text)) {
      return { ...NOTHING, commandResult: CommandResult.fromPartial({ reason: "TRANSACTION_PENDING", message: `a transaction is prepared in ${text}`, position: this.position() }) };
    }
    if (fenceFollows(before, fence)) {
      this.#putFence({ region, epoch: fence.epoch, ownerServerId: fence.ownerServerId });
      this.#touches.record(entry.index, { kind: "fence", regionText: text });
    }
    return NOTHING;
  }

  #putFence(row: FenceRow): void {
    const text = regionText(row.region);
    const before = this.#fences.get(text);
    if (before !== undefined) this.#hash.remove("fence", text, before.epoch, before.ownerServerId);
    this.#fences.set(text, row);
    this.#fenceIndexes.set(text, this.#appliedIndex);
    this.#hash.add("fence", text, row.epoch, row.ownerServerId);
  }

  /** The decision as a caller hears it. */
  decisionOf(row: DecisionRow, repeated: boolean): Decision {
    return {
      operationId: row.operationId,
      outcome: row.outcome,
      rule: row.rule,
      winnerOperationId: row.winnerOperationId,
      version: row.outcome === Outcome.REJECTED ? (row.currentVersion ?? 0) : (row.elsewhere?.index ?? row.index),
      position: row.elsewhere ?? { groupId: this.groupId, term: row.term, index: row.index },
      conflict: row.conflict,
      reason: row.reason,
      stamp: row.stamp,
      repeated,
    };
  }

  /**
   * What a snapshot or a full copy holds, at the applied index. Rows are never changed in place, so that this
   * costs one pass over references, and can be encoded later, a slice at a time.
   */
  capture(): StateCapture {
    return {
      groupId: this.groupId,
      appliedIndex: this.#appliedIndex,
      appliedTerm: this.#appliedTerm,
      forgottenThroughMs: this.#forgottenThroughMs,
      digest: this.digest,
      entities: [...this.entities.values()],
      footprints: [...this.footprints.values()],
      balances: [...this.ledger.rows()],
      totals: [...this.ledger.totalsRows()],
      fences: [...this.#fences.values()],
      decisions: [...this.decisions.entries()],
      gone: [...this.gone.entries()],
      servers: [...this.directory.servers()],
      leases: [...this.directory.leases()],
      handoffs: [...this.directory.tables.handoffs.rows()],
      loads: [...this.directory.tables.loads()],
      needsAuthorityVersion: this.directory.needsAuthorityVersion,
      membership: this.membership.capture(),
      view: this.views.capture(),
      transit: [...this.ledger.transitRows()],
      flowsSince: this.ledger.flowsSince,
      lying: [...this.ledger.lyingRows()],
      coordinated: [...this.transactions.coordinatedRows()],
      prepared: [...this.transactions.preparedRows()],
      finished: [...this.transactions.finishedRows()],
      heals: this.heals.rows,
      escrows: [...this.escrows.openRows(), ...this.escrows.closedRows()],
      ...this.forgotten.capture(),
    };
  }

  /** Writes the header of a snapshot into an empty state. The rows follow through the tables' own `restore`. */
  restoreHeader(header: { appliedIndex: number; appliedTerm: number; forgottenThroughMs: number; forgotten: readonly ForgottenMark[]; forgottenFloorMs: number }): void {
    this.#appliedIndex = header.appliedIndex;
    this.#appliedTerm = header.appliedTerm;
    this.#forgottenThroughMs = header.forgottenThroughMs;
    this.forgotten.restore(header, header.forgottenThroughMs);
    this.#touches = new TouchLog(this.#touchCapacity, header.appliedIndex);
  }

  restoreDecision(row: DecisionRow, recent: boolean): void {
    this.contents.add(row);
    this.decisions.restore(row.operationId, row, recent);
  }

  restoreFence(row: FenceRow): void {
    this.#putFence(row);
  }
}

/** A consistent copy of a group's state, by reference. */
export interface StateCapture {
  readonly groupId: number;
  readonly appliedIndex: number;
  readonly appliedTerm: number;
  readonly forgottenThroughMs: number;
  readonly digest: string;
  readonly entities: readonly Entity[];
  readonly footprints: readonly Footprint[];
  readonly balances: readonly BalanceRow[];
  readonly totals: readonly TotalsRow[];
  readonly fences: readonly FenceRow[];
  readonly decisions: readonly { key: string; value: DecisionRow; recent: boolean }[];
  readonly gone: readonly { key: string; value: GoneRow; recent: boolean }[];
  readonly servers: ReturnType<Directory["servers"]> extends IterableIterator<infer S> ? readonly S[] : never;
  readonly leases: readonly LeaseRow[];
  readonly handoffs: readonly Handoff[];
  readonly loads: readonly (readonly [number, ServerLoad])[];
  /** Nodes below `AUTHORITY_VERSION` can't read all of it. */
  readonly needsAuthorityVersion: boolean;
  /** Group 0 only, where the members are on record. */
  readonly membership: MembershipRecord | undefined;
  /** Group 0 only. */
  readonly view: View | undefined;
  readonly transit: readonly TransitRow[];
  readonly flowsSince: number;
  readonly lying: readonly RegionItemsRow[];
  readonly coordinated: readonly CoordinatedRow[];
  readonly prepared: readonly PreparedRow[];
  readonly finished: readonly { key: string; value: FinishedRow; recent: boolean }[];
  readonly heals: readonly HealReportRow[];
  readonly escrows: readonly EscrowRow[];
  readonly forgotten: readonly ForgottenMark[];
  readonly forgottenFloorMs: number;
}

const NO_FENCES: ReadonlyMap<string, FenceRow> = new Map();

/** A late fence of an earlier owner changes nothing: epochs only grow. At one epoch only the end of the lease may follow. */
export function fenceFollows(before: FenceRow | undefined, fence: { readonly epoch: number; readonly ownerServerId: number }): boolean {
  return before === undefined || fence.epoch > before.epoch || (fence.epoch === before.epoch && fence.ownerServerId === 0);
}

/** True where a write of this server under this epoch is good under the fence. */
export function admits(fence: FenceRow | undefined, epoch: number, serverId: number): boolean {
  if (fence === undefined || fence.ownerServerId === 0) return epoch === 0;
  return epoch === fence.epoch && serverId === fence.ownerServerId;
}
