// A group's state as bytes: length-delimited records, the header first.
import { BinaryReader, BinaryWriter, SnapshotRecord } from "@statemesh/contract/log";
import { GroupState, type GroupStateOptions, type StateCapture } from "./group-state.ts";
import { entityKey } from "./entity-table.ts";
import { NO_FLOW } from "./item-flow.ts";
import { tellsVersion } from "./conditions.ts";
import { begunRecord, coordinatedRow, decisionRecord, decisionRow, preparedRecord, preparedRow } from "./transaction-records.ts";
import { putsEscrow } from "./command.ts";
import { escrowRow } from "./escrow-table.ts";
import { hasFootprints } from "./footprint-table.ts";
import { AUTHORITY_VERSION, CONDITIONS_VERSION, ESCROW_VERSION, FLOWS_VERSION, FOOTPRINTS_VERSION, HEALING_VERSION, MEMBERSHIP_VERSION, NewerVersionError, TRANSACTIONS_VERSION, VIEWS_VERSION } from "./versions.ts";


/** A chunk is closed when it has reached this size; one record may push it beyond. */
const CHUNK_BYTES = 65_536;

type RecordBody = NonNullable<SnapshotRecord["record"]>;

/** Yields the snapshot in chunks of about 64 KiB. Nothing is kept between chunks but the place in the capture. */
export function* encodeSnapshot(capture: StateCapture): Generator<Uint8Array> {
  let writer = new BinaryWriter();
  for (const record of records(capture)) {
    SnapshotRecord.encode({ record }, writer.fork()).join();
    if (writer.length < CHUNK_BYTES) continue;
    yield writer.finish();
    writer = new BinaryWriter();
  }
  if (writer.length > 0) yield writer.finish();
}

function* records(capture: StateCapture): Generator<RecordBody> {
  const { groupId, appliedIndex, appliedTerm, forgottenThroughMs, forgotten, forgottenFloorMs, digest, handoffs, loads } = capture;
  // The lowest version that reads what follows: nodes that are older and need it not can take it all the same.
  const hasTransactions = capture.transit.length + capture.coordinated.length + capture.prepared.length + capture.finished.length > 0;
  const needed = [
    1,
    capture.membership === undefined ? 1 : MEMBERSHIP_VERSION,
    capture.needsAuthorityVersion ? AUTHORITY_VERSION : 1,
    capture.view === undefined ? 1 : VIEWS_VERSION,
    capture.heals.length > 0 ? HEALING_VERSION : 1,
    hasTransactions ? TRANSACTIONS_VERSION : 1,
    capture.flowsSince > 0 ? FLOWS_VERSION : 1,
    capture.escrows.length > 0 || capture.prepared.some(({ decided }) => putsEscrow(decided)) ? ESCROW_VERSION : 1,
    capture.decisions.some(({ value }) => value.currentVersion !== undefined) || capture.prepared.some(({ decided }) => decided.some(tellsVersion)) ? CONDITIONS_VERSION : 1,
    capture.footprints.length > 0 || capture.coordinated.some(({ clears }) => clears.length > 0) || capture.prepared.some(({ decided }) => hasFootprints(decided)) ? FOOTPRINTS_VERSION : 1,
  ];
  const format = Math.max(...needed);
  yield {
    $case: "header",
    value: { format, groupId, appliedIndex, appliedTerm, forgottenThroughMs, forgotten: [...forgotten], forgottenFloorMs, stateDigest: digest, flowsSinceIndex: capture.flowsSince },
  };
  for (const value of capture.entities) yield { $case: "entity", value };
  for (const row of capture.balances) yield { $case: "balance", value: { ...row, flow: row.flow } };
  for (const value of capture.lying) yield { $case: "regionItems", value };
  for (const value of capture.totals) yield { $case: "totals", value };
  for (const value of capture.fences) yield { $case: "fence", value };
  for (const { value, recent } of capture.decisions) yield { $case: "decision", value: decisionRecord(value, recent) };
  for (const { value, recent } of capture.gone) yield { $case: "gone", value: { ...value, recent } };
  for (const value of capture.servers) yield { $case: "server", value };
  for (const { backups, ...row } of capture.leases) yield { $case: "lease", value: { ...row, backupServerIds: [...backups] } };
  for (const value of handoffs) yield { $case: "handoff", value };
  for (const [serverId, load] of loads) yield { $case: "load", value: { serverId, load } };
  if (capture.membership !== undefined) yield { $case: "membership", value: capture.membership };
  if (capture.view !== undefined) yield { $case: "view", value: capture.view };
  for (const value of capture.footprints) yield { $case: "footprint", value };
  for (const value of capture.transit) yield { $case: "transit", value };
  for (const row of capture.coordinated) yield { $case: "begun", value: begunRecord(row) };
  for (const row of capture.prepared) yield { $case: "prepared", value: preparedRecord(row) };
  for (const { value, recent } of capture.finished) yield { $case: "finished", value: { ...value, recent } };
  for (const value of capture.escrows) yield { $case: "escrow", value };
  for (const { head, operations } of capture.heals) {
    yield { $case: "healReport", value: head };
    for (const value of operations) yield { $case: "healed", value };
  }
}

/**
 * Builds a state from a snapshot's chunks, which may be cut anywhere. Throws where the bytes are no snapshot of
 * this group, or what they hold does not have the digest that the header promises.
 */
export class SnapshotLoader {
  readonly #state: GroupState;
  #rest: Uint8Array = new Uint8Array(0);
  #digest: string | undefined;

  constructor(options: GroupStateOptions) {
    this.#state = new GroupState(options);
  }

  push(chunk: Uint8Array): void {
    const bytes = this.#rest.length === 0 ? chunk : concat(this.#rest, chunk);
    let at = 0;
    for (;;) {
      const frame = nextRecord(bytes, at);
      if (frame === undefined) break;
      this.#load(SnapshotRecord.decode(bytes.subarray(frame.start, frame.end)).record);
      at = frame.end;
    }
    this.#rest = bytes.slice(at);
  }

  finish(): GroupState {
    if (this.#rest.length > 0) throw new Error(`snapshot of group ${this.#state.groupId} ends inside a record`);
    if (this.#digest === undefined) throw new Error(`snapshot of group ${this.#state.groupId} has no header`);
    if (this.#digest !== this.#state.digest) {
      throw new Error(`snapshot of group ${this.#state.groupId} holds ${this.#state.digest}, its header says ${this.#digest}`);
    }
    return this.#state;
  }

  #load(record: RecordBody | undefined): void {
    const state = this.#state;
    switch (record?.$case) {
      case "header": {
        const header = record.value;
        if (header.format > state.versions.max) throw new NewerVersionError(`a snapshot of group ${header.groupId}`, header.format, state.versions);
        if (header.groupId !== state.groupId) throw new Error(`snapshot of group ${header.groupId}, not ${state.groupId}`);
        state.restoreHeader(header);
        state.ledger.restoreFlows(header.flowsSinceIndex);
        this.#digest = header.stateDigest;
        return;
      }
      case "entity":
        state.entities.put(record.value);
        return;
      case "balance":
        return state.ledger.restoreRow(record.value);
      case "totals":
        return state.ledger.restoreTotals(record.value);
      case "regionItems":
        return state.ledger.restoreLying({ ...record.value, flow: record.value.flow ?? NO_FLOW });
      case "fence": {
        const { region, epoch, ownerServerId } = record.value;
        if (region === undefined) throw new Error("snapshot: fence without a region");
        return state.restoreFence({ region, epoch, ownerServerId });
      }
      case "decision": {
        return state.restoreDecision(decisionRow(record.value), record.value.recent);
      }
      case "gone": {
        const { recent, stamp, ...row } = record.value;
        const key = entityKey(row.kind, row.entityId);
        return state.gone.restore(key, { ...row, stamp: stamp ?? { physicalMs: 0, logical: 0 } }, recent);
      }
      case "server":
        return state.directory.restoreServer(record.value);
      case "lease": {
        const { region, epoch, serverId, durationMs, backupServerIds, players } = record.value;
        if (region === undefined) throw new Error("snapshot: lease without a region");
        return state.directory.restoreLease({ region, epoch, serverId, durationMs, backups: backupServerIds, players });
      }
      case "handoff":
        return state.directory.restoreHandoff(record.value);
      case "load": {
        const { serverId, load } = record.value;
        if (load === undefined) throw new Error("snapshot: a load without its figures");
        return state.directory.restoreLoad(serverId, load);
      }
      case "membership":
        return state.membership.restore(record.value);
      case "view":
        return state.views.restore(record.value);
      case "footprint":
        return state.footprints.put(record.value);
      case "transit":
        return state.ledger.restoreTransit(record.value);
      case "begun":
        return state.transactions.coordinate(coordinatedRow(record.value));
      case "prepared":
        return state.transactions.prepare(preparedRow(record.value));
      case "finished": {
        const { recent, ...row } = record.value;
        return state.transactions.restoreFinished(row, recent);
      }
      case "escrow":
        return record.value.closedIndex === 0 ? state.escrows.put(escrowRow(record.value)) : state.escrows.restoreClosed(escrowRow(record.value));
      case "healReport":
        return state.heals.restore(record.value);
      case "healed":
        return state.heals.restoreOperation(record.value);
      default:
        throw new Error("snapshot: a record of a newer version");
    }
  }
}

function nextRecord(bytes: Uint8Array, at: number): { start: number; end: number } | undefined {
  if (at >= bytes.length) return undefined;
  let end = at;
  while (end < bytes.length && (bytes[end] ?? 0) >= 0x80) end++;
  if (end >= bytes.length) return undefined;
  const reader = new BinaryReader(bytes.subarray(at, end + 1));
  const length = reader.uint32();
  const start = end + 1;
  return start + length <= bytes.length ? { start, end: start + length } : undefined;
}

function concat(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
