import { ConflictType, MeshError, type WatchConflictsResponse } from "@statemesh/contract";
import { decide } from "@statemesh/conflict";
import { DEFAULT_POLICY } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import { ConflictFeed } from "../src/conflict-feed.ts";
import { candidate, dig, setOf } from "./candidates.ts";

const ALL = { types: [], regions: [] };
const CONTEXT = { groupId: 3, decidedAtMs: 77 };

/** A reader that takes its messages when told to. */
class Reader {
  readonly got: WatchConflictsResponse[] = [];
  #queue: WatchConflictsResponse[] = [];
  get waiting(): number {
    return this.#queue.length;
  }
  write(message: WatchConflictsResponse): void {
    this.#queue.push(message);
  }
  read(): number[] {
    this.got.push(...this.#queue);
    this.#queue = [];
    return this.got.map((message) => message.sequence);
  }
}

const structures = (x = 0) => decide(setOf([candidate("a"), candidate("b", { region: { x, y: 0, z: 0 } })]), DEFAULT_POLICY);
const digs = () => decide(setOf([dig("a"), dig("b")]), DEFAULT_POLICY);

describe("the feed of conflicts", () => {
  it("tells who won, who lost, by which rule and where", () => {
    const feed = new ConflictFeed({ watchersMax: 1, queueMax: 8 });
    const reader = new Reader();
    feed.watch(ALL, reader);
    feed.publish(structures(4), CONTEXT);
    feed.publish(digs(), CONTEXT);
    reader.read();
    expect(reader.got).toEqual([
      { sequence: 1, conflict: { type: ConflictType.STRUCTURE_OVERLAP, winnerOperationId: "a", loserOperationId: "b", rule: "operation_id", region: { x: 4, y: 0, z: 0 }, resolvedAtMs: 77, groupId: 3, merged: false } },
      { sequence: 2, conflict: { type: ConflictType.TERRAIN_OVERLAP, winnerOperationId: "a", loserOperationId: "b", rule: "merge", region: { x: 0, y: 0, z: 0 }, resolvedAtMs: 77, groupId: 3, merged: true } },
    ]);
  });

  it("counts only what a watcher asked for", () => {
    const feed = new ConflictFeed({ watchersMax: 3, queueMax: 8 });
    const [terrain, region, both] = [new Reader(), new Reader(), new Reader()];
    feed.watch({ types: [ConflictType.TERRAIN_OVERLAP], regions: [] }, terrain);
    feed.watch({ types: [], regions: [{ x: 4, y: 0, z: 0 }] }, region);
    feed.watch({ types: [ConflictType.TERRAIN_OVERLAP], regions: [{ x: 4, y: 0, z: 0 }] }, both);
    for (const decision of [structures(), digs(), structures(4), digs()]) feed.publish(decision, CONTEXT);
    expect([terrain.read(), region.read(), both.read()]).toEqual([[1, 2], [1], []]);
  });

  it("drops for a slow reader beyond its queue, and the gap says how many", () => {
    const feed = new ConflictFeed({ watchersMax: 2, queueMax: 3 });
    const [slow, quick] = [new Reader(), new Reader()];
    feed.watch(ALL, slow);
    feed.watch(ALL, quick);
    for (let at = 0; at < 5; at++) {
      feed.publish(structures(), CONTEXT);
      quick.read();
    }
    expect(slow.read()).toEqual([1, 2, 3]);
    feed.publish(structures(), CONTEXT);
    expect(slow.read()).toEqual([1, 2, 3, 6]);
    expect(quick.read()).toEqual([1, 2, 3, 4, 5, 6]);
    expect(feed.dropped).toBe(2);
  });

  it("refuses more watchers than its limit, until one leaves", () => {
    const feed = new ConflictFeed({ watchersMax: 1, queueMax: 3 });
    const leave = feed.watch(ALL, new Reader());
    expect(() => feed.watch(ALL, new Reader())).toThrow(MeshError);
    leave();
    leave();
    expect(feed.watchers).toBe(0);
    feed.watch(ALL, new Reader());
    expect(feed.watchers).toBe(1);
  });
});
