/** Walking along closed paths. */
import type { Position } from "@statemesh/contract";

/** A place on a path: the point, and the index of the point that its leg starts at. */
export interface PathPlace {
  readonly position: Position;
  readonly leg: number;
}

function distance(a: Position, b: Position): number {
  return Math.hypot(b.x - a.x, b.y - a.y, b.z - a.z);
}

/** Length of a closed path, metres: from point to point and back to the first. */
export function pathLength(points: readonly Position[]): number {
  let length = 0;
  points.forEach((point, at) => {
    const next = points[(at + 1) % points.length];
    if (next !== undefined) length += distance(point, next);
  });
  return length;
}

/**
 * The place that somebody has reached who walked `metres` from the first point, round after round.
 *
 * @param metres from 0
 */
export function pointAt(points: readonly Position[], metres: number): PathPlace {
  let rest = metres % pathLength(points);
  for (let leg = 0; leg < points.length; leg++) {
    const from = points[leg];
    const to = points[(leg + 1) % points.length];
    if (from === undefined || to === undefined) break;
    const length = distance(from, to);
    if (rest < length) {
      const share = rest / length;
      return { leg, position: { x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share, z: from.z + (to.z - from.z) * share } };
    }
    rest -= length;
  }
  const first = points[0];
  if (first === undefined) throw new Error("a path without points");
  return { leg: 0, position: first };
}
