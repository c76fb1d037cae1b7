/** Why one transaction comes before another. */
export type Dependency =
  /** Both wrote a key, this one first. */
  | "ww"
  /** The other read what this one wrote. */
  | "wr"
  /** This one read what the other overwrote. */
  | "rw"
  /** This one had ended before the other began. */
  | "realtime";

const KINDS: readonly Dependency[] = ["ww", "wr", "rw", "realtime"];

/** Edges that are followed, as a set of bits. */
export function maskOf(kinds: readonly Dependency[]): number {
  return kinds.reduce((mask, kind) => mask | (1 << KINDS.indexOf(kind)), 0);
}

/** An edge between two transactions, as people read it. */
export interface Step {
  readonly from: number;
  readonly to: number;
  readonly kind: Dependency;
  /** The key that both touched; empty for real time. */
  readonly key: string;
}

/**
 * Transactions (nodes 0..count-1) and what comes before what. Where many come before many, a node in between saves edges: whoever comes before it comes before
 * all behind it. Such a node belongs to no transaction, and the edges that leave it have the kind of those that enter.
 */
export class DependencyGraph {
  readonly transactions: number;
  #nodes: number;
  readonly #from: number[] = [];
  readonly #to: number[] = [];
  readonly #kind: number[] = [];
  readonly #key: string[] = [];
  #first: Int32Array | undefined;
  #order: Int32Array | undefined;

  constructor(transactions: number) {
    this.transactions = transactions;
    this.#nodes = transactions;
  }

  get nodes(): number {
    return this.#nodes;
  }

  get edges(): number {
    return this.#from.length;
  }

  /** A node that belongs to no transaction. */
  between(): number {
    return this.#nodes++;
  }

  add(from: number, to: number, kind: Dependency, key: string): void {
    if (from === to) return;
    this.#first = undefined;
    this.#from.push(from);
    this.#to.push(to);
    this.#kind.push(KINDS.indexOf(kind));
    this.#key.push(key);
  }

  /** All of the one side come before all of the other. */
  addAll(from: readonly number[], to: readonly number[], kind: Dependency, key: string): void {
    if (from.length * to.length <= from.length + to.length || from.some((each) => to.includes(each))) {
      for (const a of from) for (const b of to) this.add(a, b, kind, key);
      return;
    }
    const middle = this.between();
    for (const a of from) this.add(a, middle, kind, key);
    for (const b of to) this.add(middle, b, kind, key);
  }

  /** Visits edges that leave a node and are of the kinds of the mask, until `visit` answers true. */
  visit(node: number, mask: number, visit: (to: number, edge: number) => boolean): boolean {
    const [first, order] = this.#index();
    for (let at = first[node]!; at < first[node + 1]!; at++) {
      const edge = order[at]!;
      if ((mask & (1 << this.#kind[edge]!)) !== 0 && visit(this.#to[edge]!, edge)) return true;
    }
    return false;
  }

  /** The next node along an edge of the mask, and where to go on; `from` 0 for the first. */
  nextOf(node: number, mask: number, from: number): { readonly to: number; readonly at: number } | undefined {
    const [first, order] = this.#index();
    for (let at = Math.max(from, first[node]!); at < first[node + 1]!; at++) {
      const edge = order[at]!;
      if ((mask & (1 << this.#kind[edge]!)) !== 0) return { to: this.#to[edge]!, at: at + 1 };
    }
    return undefined;
  }

  /** The edges of a kind between transactions, and from them into nodes between. */
  edgesOf(kind: Dependency): number[] {
    const number = KINDS.indexOf(kind);
    return this.#kind.flatMap((each, edge) => (each === number && this.#from[edge]! < this.transactions ? [edge] : []));
  }

  ends(edge: number): [number, number] {
    return [this.#from[edge]!, this.#to[edge]!];
  }

  /** A path of edges that begins and ends with transactions, without the nodes between. */
  steps(edges: readonly number[]): Step[] {
    const steps: Step[] = [];
    let open: { from: number; kind: Dependency; key: string } | undefined;
    for (const edge of edges) {
      const [from, to] = this.ends(edge);
      open ??= { from, kind: KINDS[this.#kind[edge]!]!, key: this.#key[edge]! };
      if (to >= this.transactions) continue;
      steps.push({ ...open, to });
      open = undefined;
    }
    return steps;
  }

  /** Where the edges of each node are: `order[first[node]..first[node + 1]]`. */
  #index(): [Int32Array, Int32Array] {
    if (this.#first !== undefined && this.#order !== undefined) return [this.#first, this.#order];
    const first = new Int32Array(this.#nodes + 2);
    for (const from of this.#from) first[from + 2]!++;
    for (let node = 2; node < first.length; node++) first[node]! += first[node - 1]!;
    const order = new Int32Array(this.#from.length);
    for (let edge = 0; edge < order.length; edge++) order[first[this.#from[edge]! + 1]!++] = edge;
    this.#first = first;
    this.#order = order;
    return [first, order];
  }
}
