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
    forEachCell(bounds, (slot) => {
      const list = this.#slots.get(slot);
      if (list === undefined) this.#slots.set(slot, [placed]);
      else if (!list.includes(placed)) list.push(placed);
    });
  }

  /** Takes out what was inserted with these bounds; `item` is compared by identity. */
  remove(bounds: QuantizedBounds, item: T): void {
    let found = false;
    forEachCell(bounds, (slot) => {
      const list = this.#slots.get(slot);
      if (list === undefined) return;
      const at = list.findIndex((placed) => placed.item === item);
      if (at < 0) return;
      found = true;
      if (list.length === 1) {
        this.#slots.delete(slot);
        return;
      }
      const last = list.pop();
      if (last !== undefined && at < list.length) list[at] = last;
    });
    if (found) this.#size--;
  }

  /** Calls `visit` for every item whose box overlaps `bounds` (touching is not overlapping), each at least once. */
  visitOverlapping(bounds: QuantizedBounds, visit: (item: T) => void): void {
    if (this.#size === 0) return;
    forEachCell(bounds, (slot) => {
      const list = this.#slots.get(slot);
      if (list === undefined) return;
      for (const placed of list) if (overlaps(placed.bounds, bounds)) visit(placed.item);
    });
  }

  /** True where some item's box overlaps `bounds` and `test` holds for it. */
  someOverlapping(bounds: QuantizedBounds, test: (item: T) => boolean): boolean {
    let found = false;
    this.visitOverlapping(bounds, (item) => {
      if (!found && test(item)) found = true;
    });
    return found;
  }
}

function forEachCell(bounds: QuantizedBounds, visit: (slot: number) => void): void {
  const x1 = Math.floor(bounds.maxX / CELL_CM);
  const y1 = Math.floor(bounds.maxY / CELL_CM);
  const z1 = Math.floor(bounds.maxZ / CELL_CM);
  for (let x = Math.floor(bounds.minX / CELL_CM); x <= x1; x++) {
    for (let y = Math.floor(bounds.minY / CELL_CM); y <= y1; y++) {
      for (let z = Math.floor(bounds.minZ / CELL_CM); z <= z1; z++) {
        visit(Math.imul(x, 73_856_093) ^ Math.imul(y, 19_349_663) ^ Math.imul(z, 83_492_791));
      }
    }
  }
}
