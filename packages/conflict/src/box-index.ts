/**
 * Finds the boxes of one layer that overlap a box. Few boxes are searched one by one; more of them in a grid of several
 * levels, each four times as coarse as the one below, so that a box of any size lies in at most eight cells of its own
 * level and a search touches at most eight cells a level, whatever the number of boxes.
 */
import type { QuantizedBounds } from "@statemesh/world";
import { overlaps } from "@statemesh/world";
import type { Contender } from "./contender.ts";
import type { Search } from "./search.ts";

/** Up to here comparing with every box is faster than hashing cells (measured). */
export const LINEAR_MAX = 96;
/** Cell edge of the finest level, centimetres. */
const FINEST_EDGE_CM = 256;
/** Levels: the coarsest has cells of 2^40 cm, beyond the longest side that the world has room for. */
const LEVELS = 17;

const EDGES: readonly number[] = Array.from({ length: LEVELS }, (_, level) => FINEST_EDGE_CM * 4 ** level);

/** The finest level whose cells are at least as long as the box's longest side. */
function levelOf(b: QuantizedBounds): number {
  const side = Math.max(b.maxX - b.minX, b.maxY - b.minY, b.maxZ - b.minZ);
  let level = 0;
  while (level < LEVELS - 1 && (EDGES[level] ?? 0) < side) level += 1;
  return level;
}

/** Cells are told apart by a hash; where two share one the exact comparison of boxes sorts them out. */
function cellKey(x: number, y: number, z: number, level: number): number {
  let h = Math.imul(x, 0x8da6b343) ^ Math.imul(y, 0xd8163841) ^ Math.imul(z, 0xcb1ab31f) ^ Math.imul(level, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return h ^ (h >>> 13);
}

/** Calls `visit` with the key of every cell of a level that the box touches. */
function visitCells(b: QuantizedBounds, level: number, visit: (key: number) => void): void {
  const edge = EDGES[level] ?? FINEST_EDGE_CM;
  const highX = Math.floor(b.maxX / edge);
  const highY = Math.floor(b.maxY / edge);
  const highZ = Math.floor(b.maxZ / edge);
  for (let x = Math.floor(b.minX / edge); x <= highX; x++) {
    for (let y = Math.floor(b.minY / edge); y <= highY; y++) {
      for (let z = Math.floor(b.minZ / edge); z <= highZ; z++) visit(cellKey(x, y, z, level));
    }
  }
}

/** Buckets that cells begin with; a power of two. */
const FIRST_BUCKETS = 256;

/**
 * Boxes by the hash of a cell. Buckets are chains through flat arrays: nothing is allocated for a box but its places there. Who
 * shares a bucket without sharing the cell is sorted out by the comparison of boxes.
 */
class Cells {
  /** Place of the first box of each bucket, plus one; 0: none. */
  #first = new Int32Array(FIRST_BUCKETS);
  /** By place: the box, the hash of its cell, and the next place of the bucket, plus one. */
  readonly #boxes: Contender[] = [];
  readonly #keys: number[] = [];
  readonly #next: number[] = [];

  put(key: number, it: Contender): void {
    if (this.#boxes.length === this.#first.length) this.#grow();
    const bucket = key & (this.#first.length - 1);
    this.#next.push(this.#first[bucket] ?? 0);
    this.#keys.push(key);
    this.#boxes.push(it);
    this.#first[bucket] = this.#boxes.length;
  }

  #grow(): void {
    const first = new Int32Array(this.#first.length * 4);
    for (let place = 0; place < this.#keys.length; place++) {
      const bucket = (this.#keys[place] ?? 0) & (first.length - 1);
      this.#next[place] = first[bucket] ?? 0;
      first[bucket] = place + 1;
    }
    this.#first = first;
  }

  /** Gives a search those of a cell that overlap `bounds` and that it wants. */
  pick(key: number, bounds: QuantizedBounds, search: Search): void {
    for (let at = this.#first[key & (this.#first.length - 1)] ?? 0; at > 0; at = this.#next[at - 1] ?? 0) offer(this.#boxes[at - 1], bounds, search);
  }
}

/** The boxes of one layer. */
export class BoxIndex {
  readonly #all: Contender[] = [];
  /** Boxes in the cells of their own level; undefined while the search is linear. */
  #own: Cells | undefined;
  /** Levels that boxes are on, as a set of bits. */
  #boxLevels = 0;
  /** Boxes in the cells of coarser levels that searches came from: what a large box searches instead of the many fine cells under it. */
  readonly #coarser: Cells = new Cells();
  /** Levels that searches came from, as a set of bits. */
  #searchLevels = 0;

  add(it: Contender): void {
    this.#all.push(it);
    if (this.#own !== undefined) {
      this.#place(it, this.#own);
    } else if (this.#all.length > LINEAR_MAX) {
      this.#own = new Cells();
      for (const earlier of this.#all) this.#place(earlier, this.#own);
    }
  }

  #place(it: Contender, own: Cells): void {
    const { bounds } = it;
    if (bounds === undefined) return;
    const level = levelOf(bounds);
    this.#boxLevels |= 1 << level;
    visitCells(bounds, level, (key) => own.put(key, it));
    for (let coarser = level + 1; this.#searchLevels >= 1 << coarser; coarser++) {
      if ((this.#searchLevels & (1 << coarser)) !== 0) visitCells(bounds, coarser, (key) => this.#coarser.put(key, it));
    }
  }

  /** Makes the boxes of finer levels findable from a level that no search came from yet. */
  #openLevel(level: number): void {
    this.#searchLevels |= 1 << level;
    for (const it of this.#all) {
      const { bounds } = it;
      if (bounds !== undefined && levelOf(bounds) < level) visitCells(bounds, level, (key) => this.#coarser.put(key, it));
    }
  }

  /** Gives a search every box that overlaps `bounds` and that it wants. */
  find(bounds: QuantizedBounds, search: Search): void {
    const own = this.#own;
    if (own === undefined) {
      for (const it of this.#all) offer(it, bounds, search);
      return;
    }
    const level = levelOf(bounds);
    if ((this.#searchLevels & (1 << level)) === 0) this.#openLevel(level);
    visitCells(bounds, level, (key) => {
      own.pick(key, bounds, search);
      this.#coarser.pick(key, bounds, search);
    });
    for (let coarser = level + 1; this.#boxLevels >= 1 << coarser; coarser++) {
      if ((this.#boxLevels & (1 << coarser)) !== 0) visitCells(bounds, coarser, (key) => own.pick(key, bounds, search));
    }
  }
}

function offer(it: Contender | undefined, bounds: QuantizedBounds, search: Search): void {
  if (it?.bounds !== undefined && search.wants(it) && overlaps(it.bounds, bounds)) search.take(it, "");
}
