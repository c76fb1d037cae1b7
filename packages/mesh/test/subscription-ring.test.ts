import type { EntityChange } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { ChangeRing } from "../src/subscriptions/change-ring.ts";

const CHANGE: EntityChange = { entity: undefined, removed: false, position: undefined };

function ring(capacity: number, places: readonly (readonly [index: number, ordinal: number])[], start = 0): ChangeRing {
  const made = new ChangeRing(capacity, { term: 1, index: start });
  for (const [index, ordinal] of places) {
    made.push({ groupId: 1, term: 1, index, ordinal, change: CHANGE });
    made.advance(index, 1);
  }
  return made;
}

const places = (made: ChangeRing, index: number, partial: number) => made.after(index, partial)?.map((c) => [c.index, c.ordinal]);

describe("the ring of recent strong changes", () => {
  it("gives what follows a position, also in the middle of an index", () => {
    const made = ring(10, [[4, 0], [4, 1], [4, 2], [6, 0]], 3);
    expect(places(made, 3, 0)).toEqual([[4, 0], [4, 1], [4, 2], [6, 0]]);
    expect(places(made, 4, 1)).toEqual([[4, 1], [4, 2], [6, 0]]);
    expect(places(made, 4, 0)).toEqual([[6, 0]]);
    expect(places(made, 6, 0)).toEqual([]);
    expect(places(made, 9, 0)).toEqual([]);
  });

  it("gives nothing where it does not go back that far, or would have to begin in the middle of a dropped index", () => {
    const made = ring(3, [[4, 0], [4, 1], [4, 2], [6, 0]], 3);
    expect(places(made, 3, 0)).toBeUndefined();
    expect(places(made, 4, 1)).toBeUndefined();
    expect(places(made, 4, 0)).toEqual([[6, 0]]);
    expect(places(ring(3, [], 8), 7, 0)).toBeUndefined();
    expect(places(ring(3, [], 8), 8, 0)).toEqual([]);
  });
});
