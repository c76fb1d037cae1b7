// Who hears whom. A link counts only if both of its ends hear one another: what goes one way carries no conversation.

/** What one node says of the others. */
export interface LinkReport {
  readonly nodeId: number;
  /** Nodes that it hears. */
  readonly hears: readonly number[];
}

/** Nodes of one graph at most: a set of them is a number of 30 bits. */
export const GRAPH_MEMBERS_MAX = 30;

export class LinkGraph {
  /** Ascending. */
  readonly members: readonly number[];
  readonly #at: ReadonlyMap<number, number>;
  /** By place of a member: the places that it is linked with, as bits. */
  readonly #links: readonly number[];

  /**
   * @param members At most GRAPH_MEMBERS_MAX; reports of others, and what they say of others, are passed over.
   * @param reports At most one a node counts, the last. Who does not report has no links.
   * @throws RangeError where there are too many members
   */
  constructor(members: readonly number[], reports: Iterable<LinkReport>) {
    this.members = [...new Set(members)].sort((a, b) => a - b);
    if (this.members.length > GRAPH_MEMBERS_MAX) throw new RangeError(`a link graph has at most ${GRAPH_MEMBERS_MAX} members`);
    this.#at = new Map(this.members.map((nodeId, at) => [nodeId, at]));
    const heard = this.members.map(() => 0);
    for (const { nodeId, hears } of reports) {
      const at = this.#at.get(nodeId);
      if (at !== undefined) heard[at] = this.#bitsOf(hears) & ~(1 << at);
    }
    this.#links = heard.map((bits, at) => heard.reduce((links, other, place) => (((other >> at) & 1) === 1 ? links | (bits & (1 << place)) : links), 0));
  }

  /** Whether two members hear one another. */
  linked(one: number, other: number): boolean {
    const at = this.#at.get(one);
    const place = this.#at.get(other);
    return at !== undefined && place !== undefined && (((this.#links[at] ?? 0) >> place) & 1) === 1;
  }

  /** Who hears a member and is heard by it, ascending. */
  linkedWith(nodeId: number): number[] {
    const at = this.#at.get(nodeId);
    return at === undefined ? [] : this.#idsOf(this.#links[at] ?? 0);
  }

  /** Every two members are linked. */
  get isWhole(): boolean {
    return this.#links.every((links, at) => links === (this.#all & ~(1 << at)));
  }

  /** Members that reach one another over any number of links, by their lowest ids. */
  components(): number[][] {
    const components: number[][] = [];
    for (let left = this.#all; left !== 0; ) {
      let component = left & -left;
      for (let grown = this.#reach(component); grown !== component; grown = this.#reach(component)) component = grown;
      components.push(this.#idsOf(component));
      left &= ~component;
    }
    return components;
  }

  /** Largest sets of members of which every two are linked: none could take one more in. */
  cliques(): number[][] {
    const found: number[] = [];
    this.#extend(0, this.#all, 0, found);
    return found.map((bits) => this.#idsOf(bits));
  }

  /** Bron and Kerbosch's walk with a pivot (Communications of the ACM 16/9, 1973). */
  #extend(clique: number, candidates: number, excluded: number, found: number[]): void {
    if (candidates === 0) {
      if (excluded === 0 && clique !== 0) found.push(clique);
      return;
    }
    const pivot = this.#links[lowestBit(candidates | excluded)] ?? 0;
    let open = candidates;
    let closed = excluded;
    for (let left = candidates & ~pivot; left !== 0; left &= left - 1) {
      const at = lowestBit(left);
      const links = this.#links[at] ?? 0;
      this.#extend(clique | (1 << at), open & links, closed & links, found);
      open &= ~(1 << at);
      closed |= 1 << at;
    }
  }

  get #all(): number {
    return 2 ** this.members.length - 1;
  }

  /** The set and all that it is linked with. */
  #reach(set: number): number {
    let reached = set;
    for (let left = set; left !== 0; left &= left - 1) reached |= this.#links[lowestBit(left)] ?? 0;
    return reached;
  }

  #bitsOf(nodeIds: readonly number[]): number {
    let bits = 0;
    for (const nodeId of nodeIds) {
      const at = this.#at.get(nodeId);
      if (at !== undefined) bits |= 1 << at;
    }
    return bits;
  }

  #idsOf(bits: number): number[] {
    return this.members.filter((_, at) => ((bits >> at) & 1) === 1);
  }
}

function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}
