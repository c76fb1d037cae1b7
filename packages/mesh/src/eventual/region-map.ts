import type { Region } from "@statemesh/contract";

interface Slot<T> {
  readonly region: Region;
  value: T;
  next: Slot<T> | undefined;
}

/**
 * A map by region, in the order of hashes' first insertion. Keys are small integers: looking up a string key
 * costs several times as much, and this is done for every eventual update.
 */
export class RegionMap<T> {
  readonly #slots = new Map<number, Slot<T>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(region: Region): T | undefined {
    let slot = this.#slots.get(hashOf(region));
    while (slot !== undefined && !same(slot.region, region)) slot = slot.next;
    return slot?.value;
  }

  set(region: Region, value: T): void {
    const hash = hashOf(region);
    const first = this.#slots.get(hash);
    let slot = first;
    while (slot !== undefined && !same(slot.region, region)) slot = slot.next;
    if (slot !== undefined) {
      slot.value = value;
      return;
    }
    this.#slots.set(hash, { region: { x: region.x, y: region.y, z: region.z }, value, next: first });
    this.#size += 1;
  }

  /** Regions with their values. */
  *entries(): Generator<[Region, T], void> {
    for (const first of this.#slots.values()) {
      for (let slot: Slot<T> | undefined = first; slot !== undefined; slot = slot.next) yield [slot.region, slot.value];
    }
  }

  clear(): void {
    this.#slots.clear();
    this.#size = 0;
  }

  delete(region: Region): boolean {
    const hash = hashOf(region);
    let before: Slot<T> | undefined;
    let slot = this.#slots.get(hash);
    while (slot !== undefined && !same(slot.region, region)) {
      before = slot;
      slot = slot.next;
    }
    if (slot === undefined) return false;
    if (before !== undefined) before.next = slot.next;
    else if (slot.next !== undefined) this.#slots.set(hash, slot.next);
    else this.#slots.delete(hash);
    this.#size -= 1;
    return true;
  }
}

function same(a: Region, b: Region): boolean {
  return a.x === b.x && a.y === b.y && a.z === b.z;
}

function hashOf(region: Region): number {
  const mixed = Math.imul(region.x, 0x9e3779b1) ^ Math.imul(region.y, 0x85ebca6b) ^ Math.imul(region.z, 0xc2b2ae35);
  // 30 bits: stays a small integer in V8.
  return (mixed ^ (mixed >>> 15)) & 0x3fff_ffff;
}
