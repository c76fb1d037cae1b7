// Which groups a node hands over, so that leadership spreads evenly.

/** Groups handed over at one look, at most: each costs its callers a moment, and all at once would be noticed. */
const HANDOVERS_AT_ONCE = 32;

/**
 * Leading costs several times what following does, so a node that leads two groups more than a peer hands it some: at most what
 * it has above its share, but at least one. Where several nodes act at once it still settles.
 *
 * @param own Groups that this node leads.
 * @param led Groups that each peer leads, of the peers that could lead more.
 * @returns How many groups each peer gets.
 */
export function handovers(own: number, led: ReadonlyMap<number, number>): Map<number, number> {
  const total = [...led.values()].reduce((sum, count) => sum + count, own);
  const share = total / (led.size + 1);
  let spare = Math.min(HANDOVERS_AT_ONCE, Math.max(1, own - Math.ceil(share)));
  const result = new Map<number, number>();
  for (const [peer, count] of [...led].sort(([a, m], [b, n]) => m - n || a - b)) {
    const gets = count > own - 2 ? 0 : Math.min(spare, Math.max(1, Math.floor(share) - count));
    if (gets === 0) break;
    result.set(peer, gets);
    spare -= gets;
  }
  return result;
}

/** Looks that a peer is passed over after it took nothing, at most. */
const PASSED_OVER_MAX = 64;

interface Handed {
  readonly groups: readonly LedGroup[];
  /** Looks in a row after which it had taken nothing. */
  refused: number;
  passOver: number;
}

/** A group that may still be led here. */
export interface LedGroup {
  readonly serves: boolean;
}

/** Peers that do not take what they are handed: they may not lead, or cannot. A group takes no writes while it is handed over, so that is tried ever more rarely. */
export class Refusals {
  readonly #handed = new Map<number, Handed>();

  /** A peer was told to take groups over. */
  handed(peer: number, groups: readonly LedGroup[]): void {
    this.#handed.set(peer, { groups, refused: this.#handed.get(peer)?.refused ?? 0, passOver: 0 });
  }

  /** Whether the peer shall be handed some. Asked once a look. */
  takes(peer: number): boolean {
    const last = this.#handed.get(peer);
    if (last === undefined) return true;
    if (last.passOver > 0) {
      last.passOver--;
      return last.passOver === 0;
    }
    if (!last.groups.every(({ serves }) => serves)) {
      this.#handed.delete(peer);
      return true;
    }
    last.refused++;
    last.passOver = Math.min(PASSED_OVER_MAX, 2 ** last.refused);
    return false;
  }
}
