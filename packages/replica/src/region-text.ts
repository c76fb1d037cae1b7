import type { Region } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";

/** A power of two. More regions than this are busy at a time only on a node that holds very much of the world. */
const SLOTS = 4_096;
const regions = new Array<Region | undefined>(SLOTS);
const texts = new Array<string>(SLOTS);

/**
 * The canonical text of a region. One and the same string for regions that are in use, so that the maps keyed by it
 * need not hash a new one for every operation.
 */
export function regionText(region: Region): string {
  const slot = (Math.imul(region.x, 73_856_093) ^ Math.imul(region.y, 19_349_663) ^ Math.imul(region.z, 83_492_791)) & (SLOTS - 1);
  const known = regions[slot];
  if (known !== undefined && known.x === region.x && known.y === region.y && known.z === region.z) return texts[slot] ?? formatRegion(region);
  const text = formatRegion(region);
  regions[slot] = { x: region.x, y: region.y, z: region.z };
  texts[slot] = text;
  return text;
}
