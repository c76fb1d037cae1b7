// Reads of several regions in one consistent cut, from this node's copies of their groups. Everything is looked at twice, with a round
// to each group's leader in between: what did not change from the first look to the second was in force, all of it, at the moment
// of the first. A transaction across groups is seen whole: while one group has it in force and another does not, that other is prepared for it.
// The double collect of Afek et al., "Atomic Snapshots of Shared Memory" (1993), with locks; no entry of a log is written.
import { type Balance, type Entity, type EntityKey, MeshError, type Region, type ReadSnapshotResponse, type SnapshotPartResult } from "@statemesh/contract";
import { accountName, entityName, type GroupState, playerAccount, regionName, type Touch } from "@statemesh/replica";
import { formatRegion } from "@statemesh/world";
import { HOLD_MAX_MS } from "./flow/holds.ts";
import type { ReadNode } from "./reads.ts";
import { transactionPending } from "./strong/operation-errors.ts";
import { sizeOfEntity } from "./subscriptions/message-size.ts";

/** What a leader is asked to decide nothing of, for so many milliseconds; 0: it is over. */
export interface SnapshotHold {
  readonly holdMs: number;
  readonly regions: readonly Region[];
  readonly accounts: readonly string[];
}

/** What reading a snapshot needs of its node. */
export type SnapshotNode = Pick<ReadNode, "state" | "barrier" | "whenApplied" | "turn"> & {
  monotonicMs(): number;
  /** Asks a group's leader to hold what is read. `done` once it has answered, whatever that was, or by the deadline. Without it nothing is held. */
  hold?(groupId: number, hold: SnapshotHold, deadlineMs: number, done: () => void): void;
};

/** What is read of one region, validated. Without entities and accounts: every entity of the region. */
export interface SnapshotPart {
  readonly region: Region;
  readonly groupId: number;
  readonly entities: readonly EntityKey[];
  readonly accounts: readonly string[];
}

export type SnapshotDone = (response: ReadSnapshotResponse | undefined, error: MeshError | undefined) => void;

/** Entities in an answer, and its bytes, about. Beyond: MESSAGE_TOO_LARGE. */
const ENTITIES_MAX = 4_096;
const BYTES_MAX = 2 * 1024 * 1024;
/** What a balance takes besides its names, about. */
const BALANCE_BYTES = 32;
/** Looks at something that keeps changing before the caller is told. */
const LOOKS_MAX = 64;
/** After so many looks the leaders are asked to let it stand still, and after so many more again: they do not always. */
const LOOKS_UNHELD = 4;
const LOOKS_HELD = 8;

/** Where a group stood at the first look. */
interface Mark {
  readonly state: GroupState;
  readonly index: number;
}

/** Reads a snapshot. `done` is called once, at the deadline at the latest. */
export function readSnapshot(node: SnapshotNode, parts: readonly SnapshotPart[], deadlineMs: number, done: SnapshotDone): void {
  new SnapshotRead(node, parts, deadlineMs, done).begin();
}

class SnapshotRead {
  readonly #node: SnapshotNode;
  readonly #parts: readonly SnapshotPart[];
  readonly #groups: ReadonlySet<number>;
  readonly #deadlineMs: number;
  readonly #done: SnapshotDone;
  #looks = 0;
  /** The leaders were asked to hold what is read. */
  #holds = false;

  constructor(node: SnapshotNode, parts: readonly SnapshotPart[], deadlineMs: number, done: SnapshotDone) {
    this.#node = node;
    this.#parts = parts;
    this.#groups = new Set(parts.map(({ groupId }) => groupId));
    this.#deadlineMs = deadlineMs;
    this.#done = (response, error) => {
      if (this.#holds) this.#hold(0, () => undefined);
      done(response, error);
    };
  }

  #hold(holdMs: number, then: () => void): void {
    this.#holds = holdMs > 0;
    const deadlineMs = Math.min(this.#deadlineMs, this.#node.monotonicMs() + HOLD_MAX_MS);
    let open = this.#groups.size;
    for (const groupId of this.#groups) {
      const parts = this.#parts.filter((part) => part.groupId === groupId);
      const regions = parts.filter(({ entities, accounts }) => entities.length > 0 || accounts.length === 0).map(({ region }) => region);
      const hold = { holdMs, regions: holdMs > 0 ? regions : [], accounts: holdMs > 0 ? parts.flatMap(({ accounts }) => accounts) : [] };
      this.#node.hold?.(groupId, hold, deadlineMs, () => {
        if (--open === 0) then();
      });
    }
  }

  /** Whatever was committed before the call is seen. */
  begin(): void {
    this.#barriers(() => this.#collect());
  }

  /** Runs `then` once this node has, of every group, all that was committed before now. */
  #barriers(then: () => void): void {
    let open = this.#groups.size;
    for (const groupId of this.#groups) {
      this.#node.barrier(groupId, this.#deadlineMs, (error) => {
        if (open <= 0) return;
        open = error === undefined ? open - 1 : 0;
        if (error !== undefined) this.#done(undefined, error);
        else if (open === 0) this.#inTurn(then);
      });
    }
  }

  #inTurn(run: () => void): void {
    if (this.#node.turn === undefined) this.#guarded(run);
    else this.#node.turn(() => this.#guarded(run));
  }

  #guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#done(undefined, MeshError.from(error));
    }
  }

  #collect(): void {
    const held = this.#parts.find((part) => this.#isHeld(part));
    if (held !== undefined) return this.#afterNextEntry(held);
    const marks = new Map<number, Mark>();
    for (const groupId of this.#groups) {
      const state = this.#node.state(groupId);
      marks.set(groupId, { state, index: state.appliedIndex });
    }
    const results = answerOf(this.#node, this.#parts);
    const response: ReadSnapshotResponse = { parts: results, positions: [...marks.values()].map(({ state }) => state.position()).sort((a, b) => a.groupId - b.groupId) };
    // One log is a cut at any of its places.
    if (this.#groups.size === 1) return this.#done(response, undefined);
    this.#barriers(() => {
      if (this.#parts.every((part, at) => !this.#isHeld(part) && !hasChanged(part, results[at], marks.get(part.groupId), this.#node.state(part.groupId)))) return this.#done(response, undefined);
      this.#again();
    });
  }

  /** What was waited for to look twice is fresh enough for another first look. */
  #again(): void {
    const isOver = this.#node.monotonicMs() >= this.#deadlineMs;
    if (!isOver && ++this.#looks < LOOKS_MAX) {
      const isHoldDue = this.#node.hold !== undefined && this.#looks >= LOOKS_UNHELD && (this.#looks - LOOKS_UNHELD) % LOOKS_HELD === 0;
      return isHoldDue ? this.#hold(HOLD_MAX_MS, () => this.#inTurn(() => this.#collect())) : this.#collect();
    }
    this.#done(undefined, new MeshError("SNAPSHOT_CONTENDED", `what the snapshot reads changed each of the ${this.#looks} times that it was looked at`, {
      metadata: { looks: String(this.#looks) }, retryDelayMs: 50,
    }));
  }

  /** What is prepared may be in force elsewhere already: its end is an entry. */
  #afterNextEntry({ region, groupId }: SnapshotPart): void {
    this.#node.whenApplied(groupId, this.#node.state(groupId).appliedIndex + 1, this.#deadlineMs, (error) => {
      if (error === undefined) this.#inTurn(() => this.#collect());
      else this.#done(undefined, error.reason === "NO_QUORUM" ? transactionPending(region) : error);
    });
  }

  /** Something that is prepared may yet write what the part reads. */
  #isHeld(part: SnapshotPart): boolean {
    const state = this.#node.state(part.groupId);
    return !state.transactions.isQuiet && state.transactions.mayWrite(namesOf(state, part));
  }
}

function isWhole({ entities, accounts }: SnapshotPart): boolean {
  return entities.length + accounts.length === 0;
}

function* namesOf(state: GroupState, part: SnapshotPart): Generator<string> {
  for (const { kind, entityId } of part.entities) yield entityName(kind, entityId);
  for (const account of part.accounts) yield accountName(playerAccount(account));
  if (!isWhole(part)) return;
  yield regionName(formatRegion(part.region));
  for (const { kind, entityId } of state.entities.inRegion(part.region)?.values() ?? []) yield entityName(kind, entityId);
}

/** True where what the part reads may not have been the same all the time since the mark. */
function hasChanged(part: SnapshotPart, result: SnapshotPartResult | undefined, mark: Mark | undefined, state: GroupState): boolean {
  // A snapshot of the leader says nothing of what lies between.
  if (mark === undefined || result === undefined || mark.state !== state) return true;
  if (state.appliedIndex === mark.index) return false;
  const text = formatRegion(part.region);
  const entities = new Set((isWhole(part) ? result.entities : part.entities).map(({ kind, entityId }) => entityName(kind, entityId)));
  const accounts = new Set(part.accounts.map(playerAccount));
  const touches = (touch: Touch): boolean => {
    if (touch.kind === "balance") return accounts.has(touch.account);
    if (touch.kind === "fence") return touch.regionText === text;
    if (touch.kind !== "entity") return false;
    return entities.has(entityName(touch.entityKind, touch.entityId)) || (isWhole(part) && touch.region !== undefined && formatRegion(touch.region) === text);
  };
  let changed = false;
  const isKnown = state.touches.since(mark.index, (touch) => !(changed = touches(touch)));
  return changed || !isKnown;
}

function answerOf(node: SnapshotNode, parts: readonly SnapshotPart[]): SnapshotPartResult[] {
  let entities = 0;
  let bytes = 0;
  const take = (more: number): void => {
    bytes += more;
    if (entities > ENTITIES_MAX || bytes > BYTES_MAX) throw new MeshError("MESSAGE_TOO_LARGE", `a snapshot holds at most ${ENTITIES_MAX} entities and about ${BYTES_MAX} bytes: read fewer regions and accounts, or name what you need`);
  };
  const count = (entity: Entity): Entity => {
    entities += 1;
    take(sizeOfEntity(entity));
    return entity;
  };
  const balances = (state: GroupState, account: string): Balance[] => {
    const held = balancesOf(state, account);
    for (const { accountId, itemKind } of held) take(BALANCE_BYTES + accountId.length + itemKind.length);
    return held;
  };
  return parts.map((part) => {
    const state = node.state(part.groupId);
    const fence = state.fence(part.region);
    const found = isWhole(part) ? [...(state.entities.inRegion(part.region)?.values() ?? [])] : part.entities.flatMap(({ kind, entityId }) => state.entities.get(kind, entityId) ?? []);
    return { region: part.region, entities: found.map(count), balances: part.accounts.flatMap((account) => balances(state, account)), epoch: fence?.epoch ?? 0, ownerServerId: fence?.ownerServerId ?? 0 };
  });
}

function balancesOf(state: GroupState, account: string): Balance[] {
  return [...state.ledger.rowsOf(playerAccount(account)).values()].map(({ itemKind, quantity, version }) => ({ accountId: account, itemKind, quantity, version }));
}
