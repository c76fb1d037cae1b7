import type { DependencyGraph } from "./dependency-graph.ts";

/**
 * Number of the strongly connected component of each node, along edges of the mask, by Tarjan's algorithm (1972) without recursion. Nodes alone have -1.
 * `within`: only these nodes, with edges among them.
 */
export function components(graph: DependencyGraph, mask: number, within?: ReadonlySet<number>): { readonly of: Int32Array; readonly count: number } {
  const of = new Int32Array(graph.nodes).fill(-1);
  const index = new Int32Array(graph.nodes);
  const low = new Int32Array(graph.nodes);
  const onStack = new Uint8Array(graph.nodes);
  const stack: number[] = [];
  let next = 1;
  let count = 0;

  const enter = (node: number): { node: number; at: number } => {
    index[node] = low[node] = next++;
    stack.push(node);
    onStack[node] = 1;
    return { node, at: 0 };
  };

  const leave = (node: number): void => {
    if (low[node] !== index[node]) return;
    const members: number[] = [];
    for (;;) {
      const member = stack.pop()!;
      onStack[member] = 0;
      members.push(member);
      if (member === node) break;
    }
    if (members.length === 1) return;
    for (const member of members) of[member] = count;
    count++;
  };

  for (const start of within ?? numbers(graph.nodes)) {
    if (index[start] !== 0) continue;
    const frames = [enter(start)];
    for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
      const { node } = frame;
      const step = graph.nextOf(node, mask, frame.at);
      const to = step?.to;
      if (step !== undefined) frame.at = step.at;
      if (to === undefined) {
        frames.pop();
        const parent = frames.at(-1);
        if (parent !== undefined) low[parent.node] = Math.min(low[parent.node]!, low[node]!);
        leave(node);
      } else if (within !== undefined && !within.has(to)) continue;
      else if (index[to] === 0) frames.push(enter(to));
      else if (onStack[to] === 1) low[node] = Math.min(low[node]!, index[to]!);
    }
  }
  return { of, count };
}

function* numbers(count: number): Generator<number> {
  for (let n = 0; n < count; n++) yield n;
}

/** Nodes of each component, the smallest component first. */
export function membersOf({ of, count }: { readonly of: Int32Array; readonly count: number }): Set<number>[] {
  const members = Array.from({ length: count }, () => new Set<number>());
  of.forEach((component, node) => {
    if (component >= 0) members[component]?.add(node);
  });
  return members.sort((a, b) => a.size - b.size);
}

/** The edges of a shortest path, along edges of the mask and nodes of the set; undefined where there is none. */
export function shortestPath(graph: DependencyGraph, from: number, to: number, mask: number, within: ReadonlySet<number>): number[] | undefined {
  const cameBy = new Map<number, number>();
  let border = [from];
  while (border.length > 0) {
    const next: number[] = [];
    for (const node of border) {
      const found = graph.visit(node, mask, (target, edge) => {
        if (!within.has(target) || cameBy.has(target)) return false;
        cameBy.set(target, edge);
        next.push(target);
        return target === to;
      });
      if (found) return pathTo(graph, from, to, cameBy);
    }
    border = next;
  }
  return undefined;
}

function pathTo(graph: DependencyGraph, from: number, to: number, cameBy: ReadonlyMap<number, number>): number[] {
  const edges: number[] = [];
  for (let node = to; ; ) {
    const edge = cameBy.get(node);
    if (edge === undefined) throw new RangeError("a path with a hole");
    edges.unshift(edge);
    node = graph.ends(edge)[0];
    if (node === from) return edges;
  }
}
