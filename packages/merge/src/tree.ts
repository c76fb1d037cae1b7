/**
 * A tree whose nodes are moved by several at once, and that never gets a cycle: all moves are kept, and the tree is what they make in
 * the order of their origins, where a move that would put a node under itself is passed over. After Kleppmann, Mulligan, Gomes and
 * Beresford, "A highly-available move operation for replicated trees" (IEEE TPDS, 2021).
 *
 * Update: `{"moves": [{"child": "sword", "parent": "chest"}]}`; the parent `""` is the root. What is to be thrown away is moved
 * under a node that the game takes for its bin.
 */
import { type Json, listAt, objectAt, StateProblem, textAt, wholeAt, join as pathOf } from "./json.ts";
import type { MergeFunction } from "./merge-function.ts";
import { compareOrigins, type Origin, originAt, originJson } from "./origin.ts";
import { compareUtf8 } from "./utf8-order.ts";

export interface Move {
  readonly child: string;
  /** Empty: the root. */
  readonly parent: string;
  readonly at: Origin;
  /** Place in its update. */
  readonly part: number;
}

/** Every move, in order, each once. */
export type TreeState = readonly Move[];

/** Moves in one update. */
export const MOVES_MAX = 64;

function compareMoves(a: Move, b: Move): number {
  // The rest only where one operation came with two contents: even then all sides choose the same.
  return compareOrigins(a.at, b.at) || a.part - b.part || compareUtf8(a.child, b.child) || compareUtf8(a.parent, b.parent);
}

function moveAt(parts: ReadonlyMap<string, Json>, path: string): Pick<Move, "child" | "parent"> {
  const child = textAt(parts.get("child"), pathOf(path, "child"));
  if (child === "") throw new StateProblem(pathOf(path, "child"), "must not be the root");
  return { child, parent: textAt(parts.get("parent"), pathOf(path, "parent")) };
}

function movesOf(update: Json, path: string): Pick<Move, "child" | "parent">[] {
  const list = listAt(objectAt(update, path, ["moves"]).get("moves"), pathOf(path, "moves"));
  if (list.length < 1 || list.length > MOVES_MAX) throw new StateProblem(pathOf(path, "moves"), `must be 1..${MOVES_MAX} moves`);
  return list.map((move, at) => moveAt(objectAt(move, `${pathOf(path, "moves")}[${at}]`, ["child", "parent"]), `${pathOf(path, "moves")}[${at}]`));
}

function inOrder(moves: readonly Move[]): TreeState {
  const sorted = [...moves].sort(compareMoves);
  return sorted.filter((move, i) => {
    const before = sorted[i - 1];
    return before === undefined || compareMoves(before, move) !== 0;
  });
}

export const tree: MergeFunction<TreeState> = {
  empty: [],
  read(value, path) {
    const list = listAt(objectAt(value, path, ["moves"]).get("moves") ?? [], pathOf(path, "moves"));
    return inOrder(list.map((move, i) => {
      const own = `${pathOf(path, "moves")}[${i}]`;
      const parts = objectAt(move, own, ["child", "parent", "at", "part"]);
      return { ...moveAt(parts, own), at: originAt(parts.get("at"), pathOf(own, "at")), part: wholeAt(parts.get("part") ?? 0, pathOf(own, "part"), 0, MOVES_MAX) };
    }));
  },
  write: (state) => new Map([["moves", state.map(({ child, parent, at, part }) => {
    const json = new Map<string, Json>([["child", child], ["parent", parent], ["at", originJson(at)]]);
    if (part !== 0) json.set("part", part);
    return json;
  })]]),
  check(update, path) {
    movesOf(update, path);
  },
  apply: (state, update, at) => inOrder([...state, ...movesOf(update, "").map((move, part) => ({ ...move, at, part }))]),
  join: (a, b) => inOrder([...a, ...b]),
};

/** Parent by child. Nothing is its own ancestor. */
export function treeParents(state: TreeState): Map<string, string> {
  const parents = new Map<string, string>();
  for (const { child, parent } of state) {
    let above: string | undefined = parent;
    while (above !== undefined && above !== child) above = parents.get(above);
    if (above !== child) parents.set(child, parent);
  }
  return parents;
}
