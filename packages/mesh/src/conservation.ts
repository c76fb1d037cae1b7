// Proves that what was minted less what was burned is held, on the ground or on its way, over the groups of one node as they stand at one
// moment. Each group by itself must add up; and what groups say they sent one another must differ from what those say they
// received by what transactions that only one of the two has released yet carry, and by nothing else.
import type { ItemConservation, LogPosition } from "@statemesh/contract";
import { addModulo, type GroupState, peerGroupOf, type PreparedRow, TransactionState } from "@statemesh/replica";

export interface Conservation {
  readonly items: ItemConservation[];
  readonly positions: LogPosition[];
  /** Every group adds up by itself. */
  readonly addsUp: boolean;
  /**
   * What is on its way is what transactions carry. False also where this node has applied the release of a transaction in one
   * group, and has not heard yet in another that it was prepared there: it will be true a moment later.
   */
  readonly isExplained: boolean;
}

/** The groups' states at one moment, by group. */
export function conservationOf(states: readonly GroupState[]): Conservation {
  const sums = new Map<string, ItemConservation>();
  let addsUp = true;
  const sumOf = (itemKind: string): ItemConservation => {
    let sum = sums.get(itemKind);
    if (sum === undefined) sums.set(itemKind, (sum = { itemKind, minted: 0, burned: 0, held: 0, onGround: 0, conserved: true, inTransit: 0 }));
    return sum;
  };
  /** By sender, receiver and kind: what was sent, less what was received and what transactions account for. */
  const open = new Map<string, number>();
  for (const { ledger, groupId } of states) {
    const rests = new Map<string, number>();
    const add = (itemKind: string, quantity: number): unknown => rests.set(itemKind, addModulo(rests.get(itemKind) ?? 0, quantity));
    for (const { itemKind, minted, burned } of ledger.totalsRows()) {
      const sum = sumOf(itemKind);
      sum.minted += minted;
      sum.burned += burned;
      add(itemKind, minted - burned);
    }
    for (const [itemKind, { inInventories, onGround }] of ledger.held()) {
      const sum = sumOf(itemKind);
      sum.held += inInventories;
      sum.onGround += onGround;
    }
    for (const { itemKind, quantity } of ledger.rows()) add(itemKind, -quantity);
    for (const { groupId: peer, itemKind, sent, received } of ledger.transitRows()) {
      const sum = sumOf(itemKind);
      sum.inTransit = addModulo(addModulo(sum.inTransit, sent), -received);
      add(itemKind, received - sent);
      count(open, groupId, peer, itemKind, sent);
      count(open, peer, groupId, itemKind, -received);
    }
    for (const [itemKind, rest] of rests) {
      if (rest === 0) continue;
      addsUp = false;
      sumOf(itemKind).conserved = false;
    }
  }
  for (const sum of sums.values()) sum.inTransit = inTransitOf(sum);
  for (const state of states) for (const row of state.transactions.preparedRows()) account(open, states, state.groupId, row);
  const isExplained = [...open.values()].every((rest) => rest === 0);
  return { items: [...sums.values()].sort((a, b) => (a.itemKind < b.itemKind ? -1 : 1)), positions: states.map((state) => state.position()), addsUp, isExplained };
}

/**
 * The counts of what was sent and received go round at 2^53. Where every group adds up, what is in transit is what the other sums leave:
 * that is the same modulo 2^53. Otherwise it is the nearer of the two numbers that the counts may mean.
 */
function inTransitOf({ conserved, minted, burned, held, onGround, inTransit }: ItemConservation): number {
  if (conserved) return minted - burned - held - onGround;
  return inTransit >= 2 ** 52 ? inTransit - 2 ** 53 : inTransit;
}

/** What a prepared group has yet to send or receive counts where the other side has released. */
function account(open: Map<string, number>, states: readonly GroupState[], groupId: number, row: PreparedRow): void {
  for (const { effects } of row.decided) {
    for (const { effect } of effects) {
      if (effect?.$case !== "post") continue;
      const { from, to, itemKind, quantity } = effect.value;
      const sender = peerGroupOf(from);
      const receiver = peerGroupOf(to);
      if (sender !== 0 && hasReleased(states[sender], row)) count(open, sender, groupId, itemKind, -quantity);
      if (receiver !== 0 && hasReleased(states[receiver], row)) count(open, groupId, receiver, itemKind, quantity);
    }
  }
}

function hasReleased(state: GroupState | undefined, prepared: PreparedRow): boolean {
  if (state === undefined) return false;
  if (state.groupId === prepared.coordinatorGroup) {
    const row = state.transactions.coordinated(prepared.key);
    return row?.beginIndex === prepared.beginIndex && row.state === TransactionState.COMMITTED;
  }
  return state.transactions.finishedOf(prepared)?.committed === true;
}

function count(open: Map<string, number>, sender: number, receiver: number, itemKind: string, quantity: number): void {
  const key = `${sender} ${receiver} ${itemKind}`;
  open.set(key, addModulo(open.get(key) ?? 0, quantity));
}
