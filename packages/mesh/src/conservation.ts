// Proves that what was minted less what was burned is held, on the ground or on its way, over the groups of one node as they stand at one
// moment. Each group by itself must add up; and what groups say they sent one another must differ from what those say they
// received by what transactions that only one of the two has released yet carry, and by nothing else.
import type { ItemConservation, LogPosition } from "@statemesh/contract";
import { addModulo, escrowAccount, type GroupState, type KindCount, peerGroupOf, type PreparedRow, TransactionState, WideCount } from "@statemesh/replica";

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

const NONE = { held: new WideCount(), onGround: new WideCount() };

/** One kind over all groups. */
class KindSum {
  minted = 0n;
  burned = 0n;
  held = 0n;
  onGround = 0n;
  inEscrow = 0n;
  /** What groups sent less what they received, modulo 2^53. */
  away = 0;
  /** By how much groups do not add up. */
  difference = 0n;

  add({ minted, burned, held, onGround, escrowed, away }: Readonly<KindCount>): void {
    this.inEscrow += BigInt(escrowed);
    this.minted += BigInt(minted);
    this.burned += BigInt(burned);
    this.held += held.value;
    this.onGround += onGround.value;
    this.away = addModulo(this.away, away);
    const accounted = addModulo(addModulo(held.modulo, onGround.modulo), away);
    const rest = addModulo(accounted, burned - minted);
    this.difference += BigInt(Math.abs(nearest(rest)));
  }

  /**
   * The counts of what was sent and received go round at 2^53. Where every group adds up, what is in transit is what the other sums leave:
   * that is the same modulo 2^53. Otherwise it is the nearer of the two numbers that the counts may mean.
   */
  get inTransit(): bigint {
    return this.difference === 0n ? this.minted - this.burned - this.held - this.onGround : BigInt(nearest(this.away));
  }

  message(itemKind: string): ItemConservation {
    const { minted, burned, held, onGround, inEscrow, inTransit, difference } = this;
    return {
      itemKind, minted: shown(minted), burned: shown(burned), held: shown(held), onGround: shown(onGround), inEscrow: shown(inEscrow), inTransit: shown(inTransit), conserved: difference === 0n, difference: String(difference),
      exactMinted: String(minted), exactBurned: String(burned), exactHeld: String(held), exactOnGround: String(onGround), exactInTransit: String(inTransit),
    };
  }
}

/** Of the kinds whose accounts of one group hold something else than was counted with the postings: what they hold. */
export type Astray = ReadonlyMap<string, Held>;

type Held = Pick<KindCount, "held" | "onGround">;

/** Adds a group's accounts up anew, one by one: what takes long of a proof. */
export function astrayIn({ ledger }: GroupState): Astray {
  const astray = new Map<string, Held>();
  const counts = ledger.counts();
  const found = ledger.held();
  for (const itemKind of new Set([...found.keys(), ...counts.keys()])) {
    const { held, onGround } = found.get(itemKind) ?? NONE;
    const counted = counts.get(itemKind) ?? NONE;
    if (held.value !== counted.held.value || onGround.value !== counted.onGround.value) astray.set(itemKind, { held, onGround });
  }
  return astray;
}

/**
 * The groups' states at one moment, by group.
 *
 * @param accounts by group, what adding up its accounts gave, at this moment or at an earlier one: an account that holds what was counted then
 *     holds it now too, as each posting changes both
 */
export function conservationOf(states: readonly GroupState[], accounts: readonly Astray[] = states.map(astrayIn)): Conservation {
  const sums = new Map<string, KindSum>();
  /** By sender, receiver and kind: what was sent, less what was received and what transactions account for. */
  const open = new Map<string, number>();
  for (const [at, { ledger, groupId, escrows }] of states.entries()) {
    const astrayHere = accounts[at];
    const counts = ledger.counts();
    for (const itemKind of new Set([...(astrayHere?.keys() ?? []), ...counts.keys()])) {
      const counted = counts.get(itemKind);
      const found = astrayHere?.get(itemKind) ?? counted ?? NONE;
      const sum = sumOf(sums, itemKind);
      sum.add({ minted: 0, burned: 0, away: 0, escrowed: 0, ...counted, ...found });
      // What was counted with the postings is what the accounts hold.
      const astray = (counted?.held.value ?? 0n) - found.held.value + (counted?.onGround.value ?? 0n) - found.onGround.value;
      sum.difference += astray < 0n ? -astray : astray;
    }
    // What is set apart and not spent is in the account of the escrow, to the last item.
    for (const { escrowId, itemKind, quantity, spent } of escrows.openRows()) {
      sumOf(sums, itemKind).difference += BigInt(Math.abs(quantity - spent - ledger.balance(escrowAccount(escrowId), itemKind)));
    }
    for (const { groupId: peer, itemKind, sent, received } of ledger.transitRows()) {
      count(open, groupId, peer, itemKind, sent);
      count(open, peer, groupId, itemKind, -received);
    }
  }
  for (const state of states) for (const row of state.transactions.preparedRows()) account(open, states, state.groupId, row);
  const isExplained = [...open.values()].every((rest) => rest === 0);
  const addsUp = [...sums.values()].every(({ difference }) => difference === 0n);
  return { items: [...sums].map(([itemKind, sum]) => sum.message(itemKind)).sort((a, b) => (a.itemKind < b.itemKind ? -1 : 1)), positions: states.map((state) => state.position()), addsUp, isExplained };
}

/** As the groups count with every posting: what `conservationOf` finds where nothing is wrong, without a look at the accounts. By item kind. */
export function countedItems(states: readonly GroupState[]): Map<string, ItemConservation> {
  const sums = new Map<string, KindSum>();
  for (const { ledger } of states) for (const [itemKind, count] of ledger.counts()) sumOf(sums, itemKind).add(count);
  return new Map([...sums].map(([itemKind, sum]) => [itemKind, sum.message(itemKind)]));
}

/** By how many items one group does not add up by itself. */
export function differenceIn({ ledger }: GroupState): number {
  let difference = 0;
  for (const count of ledger.counts().values()) {
    const sum = new KindSum();
    sum.add(count);
    difference += Number(sum.difference);
  }
  return difference;
}

function sumOf(sums: Map<string, KindSum>, itemKind: string): KindSum {
  let sum = sums.get(itemKind);
  if (sum === undefined) sums.set(itemKind, (sum = new KindSum()));
  return sum;
}

/** Of the two numbers that a count modulo 2^53 may mean, the one nearer to 0. */
function nearest(count: number): number {
  return count >= 2 ** 52 ? count - 2 ** 53 : count;
}

/** What a message's number can hold of it. */
function shown(count: bigint): number {
  const max = BigInt(Number.MAX_SAFE_INTEGER);
  return Number(count > max ? max : count < -max ? -max : count);
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

/** What is promised to an account by transactions of which other groups have let go, and what it has yet to give for those that others have. */
export function* underWay(states: readonly GroupState[], { transactions }: GroupState, account: string): Generator<{ readonly itemKind: string; readonly arriving: number; readonly leaving: number }> {
  for (const row of transactions.preparedRows()) {
    for (const { effect } of row.decided.flatMap(({ effects }) => effects)) {
      if (effect?.$case !== "post") continue;
      const { from, to, itemKind, quantity } = effect.value;
      if (to === account && peerGroupOf(from) !== 0 && hasReleased(states[peerGroupOf(from)], row)) yield { itemKind, arriving: quantity, leaving: 0 };
      if (from === account && peerGroupOf(to) !== 0 && hasReleased(states[peerGroupOf(to)], row)) yield { itemKind, arriving: 0, leaving: quantity };
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
