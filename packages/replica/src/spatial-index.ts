import { type QuantizedBounds, overlaps } from "@statemesh/world";

/** Edge of a cell in centimetres. A box of 512 m, the largest there is, meets at most 9x9x9 cells. */
const CELL_CM = 6_400;

interface Placed<T> {
  readonly bounds: QuantizedBounds;
  readonly item: T;
}

/**
 * Boxes by place: a uniform grid, hashed. Two cells may share a slot; the exact test on every hit makes that
 * harmless. Insert and remove cost one slot for most boxes.
 */
export class SpatialIndex<T> {
  readonly #slots = new Map<number, Placed<T>[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  insert(bounds: QuantizedBounds, item: T): void {
    const placed: Placed<T> = { bounds, item };
    this.#size++;
    const { x0, y0, z0, x1, y1, z1 } = cellsOf(bounds);
    for (let x = x0; x <= x1; x++) {
      for (let y = y0; y <= y1; y++) {
        for (let z = z0; z <= z1; z++) {
          const slot = slotOf(x, y, z);
          const list = this.#slots.get(slot);
          if (list === undefined) this.#slots.set(slot, [placed]);
          // Two cells of one box may share a slot.
          else if (list.at(-1) !== placed && !list.includes(placed)) list.push(placed);
        }
      }
    }
  }

  /** Takes out what was inserted with these bounds; `item` is compared by identity. */
  remove(bounds: QuantizedBounds, item: T): void {
    let found = false;
    const { x0, y0, z0, x1, y1, z1 } = cellsOf(bounds);
    for (let x = x0; x <= x1; x++) {
      for (let y = y0; y <= y1; y++) {
        for (let z = z0; z <= z1; z++) if (this.#removeFrom(slotOf(x, y, z), item)) found = true;
      }
    }
    if (found) this.#size--;
  }

  #removeFrom(slot: number, item: T): boolean {
    const list = this.#slots.get(slot);
    if (list === undefined) return false;
    const at = list.findIndex((placed) => placed.item === item);
    if (at < 0) return false;
    const last = list.pop();
    if (list.length === 0) this.#slots.delete(slot);
    else if (last !== undefined && at < list.length) list[at] = last;
    return true;
  }

  /** Calls `visit` for every item whose box overlaps `bounds` (touching is not overlapping), each at least once, until it answers true. */
  visitOverlapping(bounds: QuantizedBounds, visit: (item: T) => boolean | void): boolean {
    if (this.#size === 0) return false;
    const { x0, y0, z0, x1, y1, z1 } = cellsOf(bounds);
    for (let x = x0; x <= x1; x++) {
      for (let y = y0; y <= y1; y++) {
        for (let z = z0; z <= z1; z++) {
          const list = this.#slots.get(slotOf(x, y, z));
          if (list === undefined) continue;
          for (const placed of list) if (overlaps(placed.bounds, bounds) && visit(placed.item) === true) return true;
        }
      }
    }
    return false;
  }
}

interface Cells {
  readonly x0: number;
  readonly y0: number;
  readonly z0: number;
  readonly x1: number;
  readonly y1: number;
  readonly z1: number;
}

function cellsOf(bounds: QuantizedBounds): Cells {
  return {
    x0: Math.floor(bounds.minX / CELL_CM),
    y0: Math.floor(bounds.minY / CELL_CM),
    z0: Math.floor(bounds.minZ / CELL_CM),
    x1: Math.floor(bounds.maxX / CELL_CM),
    y1: Math.floor(bounds.maxY / CELL_CM),
    z1: Math.floor(bounds.maxZ / CELL_CM),
  };
}

function slotOf(x: number, y: number, z: number): number {
  return Math.imul(x, 73_856_093) ^ Math.imul(y, 19_349_663) ^ Math.imul(z, 83_492_791);
}
