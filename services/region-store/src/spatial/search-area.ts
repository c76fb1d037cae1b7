import { MORTON_RANGES, requireBounds, requirePosition, requireRegion, SPHERE_RADIUS_M_MAX } from "@statemesh/store";
import { MeshError, type SpatialQuery, type Region } from "@statemesh/contract";
import { boundsOfRegion, lowRegion, mortonRanges, type QuantizedBounds, quantizeBounds, REGION_MAX, REGION_MIN, regionOf, RINGS_MAX } from "@statemesh/world";

/**
 * Where a query looks, in whole centimetres. A box is half open: its upper faces are outside, and a flat side counts
 * as 1 cm. So boxes that only touch do not overlap, and what is flat belongs to the higher side, as regions do.
 */
export interface SearchArea {
  readonly box: QuantizedBounds;
  /** What lies wholly in here is left out. */
  readonly except: QuantizedBounds | undefined;
  /** Only what comes this near, centimetres. */
  readonly sphere: { readonly x: number; readonly y: number; readonly z: number; readonly radius: number } | undefined;
}

/** A run of Morton keys, both ends inclusive. */
export interface KeyRange {
  readonly first: bigint;
  readonly last: bigint;
}

/** How far an entity's box goes: where its row has to be looked for. */
export const Reach = {
  /** It stays inside its home region. */
  HOME: 0,
  /** It reaches neighbours of its home region, or lies in one. */
  NEIGHBOURS: 1,
  /** It goes further; few do, and every query looks at all of them. */
  FAR: 2,
} as const;

/** A run of keys among the rows of one reach. */
export interface ReachRange extends KeyRange {
  readonly reach: number;
}

const KEY_MAX = 2n ** 63n - 1n;

/** The area of a query. Throws INVALID_FIELD. */
export function searchAreaOf(query: SpatialQuery | undefined): SearchArea {
  const shape = query?.shape;
  switch (shape?.$case) {
    case undefined:
      throw MeshError.field("query.shape", "is required: box, sphere, neighbours or position");
    case "box":
      return { box: thicken(quantizeBounds(requireBounds(shape.value, "query.box"))), except: undefined, sphere: undefined };
    case "sphere": {
      const center = requirePosition(shape.value.center, "query.sphere.center");
      const { radius } = shape.value;
      if (!(radius > 0 && radius <= SPHERE_RADIUS_M_MAX)) throw MeshError.field("query.sphere.radius", `must be above 0 and at most ${SPHERE_RADIUS_M_MAX} m`);
      const sphere = { x: center.x * 100, y: center.y * 100, z: center.z * 100, radius: radius * 100 };
      const box = {
        // One more each way: what touches the sphere from outside is near enough.
        minX: Math.floor(sphere.x - sphere.radius) - 1, minY: Math.floor(sphere.y - sphere.radius) - 1, minZ: Math.floor(sphere.z - sphere.radius) - 1,
        maxX: Math.ceil(sphere.x + sphere.radius) + 1, maxY: Math.ceil(sphere.y + sphere.radius) + 1, maxZ: Math.ceil(sphere.z + sphere.radius) + 1,
      };
      return { box, except: undefined, sphere };
    }
    case "neighbours": {
      const center = requireRegion(shape.value.region, "query.neighbours.region");
      const { rings, includeCenter } = shape.value;
      if (!(rings >= 1 && rings <= RINGS_MAX)) throw MeshError.field("query.neighbours.rings", `must be 1..${RINGS_MAX}`);
      const low = boundsOfRegion({ x: center.x - rings, y: center.y - rings, z: center.z - rings });
      const high = boundsOfRegion({ x: center.x + rings, y: center.y + rings, z: center.z + rings });
      const box = { minX: low.minX, minY: low.minY, minZ: low.minZ, maxX: high.maxX, maxY: high.maxY, maxZ: high.maxZ };
      return { box, except: includeCenter ? undefined : boundsOfRegion(center), sphere: undefined };
    }
    case "position": {
      const position = requirePosition(shape.value, "query.position");
      const cube = boundsOfRegion(regionOf(position));
      // A hair above what the product lost in floating point, and never out of the region that holds the position.
      const point = (metres: number, low: number, high: number): number => Math.min(Math.max(Math.floor(metres * 100 + 1e-4), low), high - 1);
      const x = point(position.x, cube.minX, cube.maxX);
      const y = point(position.y, cube.minY, cube.maxY);
      const z = point(position.z, cube.minZ, cube.maxZ);
      return { box: { minX: x, minY: y, minZ: z, maxX: x + 1, maxY: y + 1, maxZ: z + 1 }, except: undefined, sphere: undefined };
    }
  }
}

/** The same box with flat sides 1 cm thick. */
export function thicken(box: QuantizedBounds): QuantizedBounds {
  return { ...box, maxX: Math.max(box.maxX, box.minX + 1), maxY: Math.max(box.maxY, box.minY + 1), maxZ: Math.max(box.maxZ, box.minZ + 1) };
}

/** Lowest and highest region that the area reaches; undefined where that is outside of the world. */
export function regionsOfArea({ box }: SearchArea): { readonly min: Region; readonly max: Region } | undefined {
  const min = { x: Math.max(lowRegion(box.minX), REGION_MIN), y: Math.max(lowRegion(box.minY), REGION_MIN), z: Math.max(lowRegion(box.minZ), REGION_MIN) };
  const max = {
    x: Math.min(lowRegion(box.maxX - 1), REGION_MAX),
    y: Math.min(lowRegion(box.maxY - 1), REGION_MAX),
    z: Math.min(lowRegion(box.maxZ - 1), REGION_MAX),
  };
  return min.x <= max.x && min.y <= max.y && min.z <= max.z ? { min, max } : undefined;
}

/** Where the rows of regions in the area stand; a little more, so that rows are checked one by one. */
export function regionRanges(area: SearchArea): KeyRange[] {
  const regions = regionsOfArea(area);
  return regions === undefined ? [] : mortonRanges(regions.min, regions.max, MORTON_RANGES);
}

/** Where the rows of entities that may reach the area stand, in the order of pages. */
export function entityRanges(area: SearchArea): ReachRange[] {
  const ranges: ReachRange[] = [];
  const regions = regionsOfArea(area);
  if (regions !== undefined) {
    const { min, max } = regions;
    const lower = { x: Math.max(min.x - 1, REGION_MIN), y: Math.max(min.y - 1, REGION_MIN), z: Math.max(min.z - 1, REGION_MIN) };
    const upper = { x: Math.min(max.x + 1, REGION_MAX), y: Math.min(max.y + 1, REGION_MAX), z: Math.min(max.z + 1, REGION_MAX) };
    for (const range of mortonRanges(min, max, MORTON_RANGES)) ranges.push({ reach: Reach.HOME, ...range });
    for (const range of mortonRanges(lower, upper, MORTON_RANGES)) ranges.push({ reach: Reach.NEIGHBOURS, ...range });
  }
  ranges.push({ reach: Reach.FAR, first: 0n, last: KEY_MAX });
  return ranges;
}
