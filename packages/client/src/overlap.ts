import type { Bounds, Region } from "@statemesh/contract";
import { OVERLAP_M, REGION_EDGE_M } from "@statemesh/world";

/**
 * A region with its overlap zone: 100 m beyond each border. Its owner subscribes to this box, so that it hears what its
 * neighbours' owners do where players see across, and what comes over.
 */
export function overlapBounds({ x, y, z }: Region): Bounds {
  const low = (index: number): number => index * REGION_EDGE_M - OVERLAP_M;
  const high = (index: number): number => (index + 1) * REGION_EDGE_M + OVERLAP_M;
  return { minX: low(x), minY: low(y), minZ: low(z), maxX: high(x), maxY: high(y), maxZ: high(z) };
}
