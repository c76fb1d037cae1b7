import { ConflictType, MeshError, type WatchConflictsResponse } from "@statemesh/contract";
import { decide } from "@statemesh/conflict";
import { DEFAULT_POLICY } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import { ConflictFeed } from "../src/conflict-feed.ts";
import { candidate, dig, setOf } from "./candidates.ts";

const ALL = { types: [], regions: [], serverIds: [], groupIds: [], resumeToken: "" };
const START = "0a1b";
const CONTEXT = { groupId: 3, decidedAtMs: 77 };

/** A reader that takes its messages when told to. */
class Reader {
  readonly got: WatchConflictsResponse[] = [];
  #queue: WatchConflictsResponse[] = [];
  get waiting(): number {
    return this.#queue.length;
  }
  get writable(): boolean {
    return this.#queue.length < 4;
  }
  #wake: (() => void) | undefined;
  onWritable(run: () => void): void {
    this.#wake = run;
  }
  write(message: WatchConflictsResponse): void {
    this.#queue.push(message);
  }
  read(): number[] {
    for (;;) {
      this.got.push(...this.#queue);
      this.#queue = [];
      const wake = this.#wake;
      this.#wake = undefined;
      if (wake === undefined) return this.got.map((message) => message.sequence);
      wake();
    }
  }
  last(): WatchConflictsResponse {
    this.read();
    return this.got.at(-1) ?? expect.fail("nothing was told");
  }
}

const structures = (x = 0) => decide(setOf([candidate("a"), candidate("b", { region: { x, y: 0, z: 0 } })]), DEFAULT_POLICY);
const digs = () => decide(setOf([dig("a"), dig("b")]), DEFAULT_POLICY);

describe("the feed of conflicts", () => {
  it("tells who won, who lost, by which rule and where", () => {
    const feed = new ConflictFeed(START, { watchersMax: 1, queueMax: 8 });
    const reader = new Reader();
    feed.watch(ALL, reader);
    feed.publish(structures(4), CONTEXT);
    feed.publish(digs(), CONTEXT);
    reader.read();
    expect(reader.got).toEqual([
      { sequence: 1, resumeToken: "0a1b.1", resumed: undefined, conflict: { type: ConflictType.STRUCTURE_OVERLAP, winnerOperationId: "a", loserOperationId: "b", rule: "operation_id", region: { x: 4, y: 0, z: 0 }, resolvedAtMs: 77, groupId: 3, merged: false, winnerServerId: 1, loserServerId: 1 } },
      { sequence: 2, resumeToken: "0a1b.2", resumed: undefined, conflict: { type: ConflictType.TERRAIN_OVERLAP, winnerOperationId: "a", loserOperationId: "b", rule: "merge", region: { x: 0, y: 0, z: 0 }, resolvedAtMs: 77, groupId: 3, merged: true, winnerServerId: 1, loserServerId: 1 } },
    ]);
  });

  it("counts only what a watcher asked for", () => {
    const feed = new ConflictFeed(START, { watchersMax: 3, queueMax: 8 });
    const [terrain, region, both] = [new Reader(), new Reader(), new Reader()];
    feed.watch({ ...ALL, types: [ConflictType.TERRAIN_OVERLAP] }, terrain);
    feed.watch({ ...ALL, regions: [{ x: 4, y: 0, z: 0 }] }, region);
    feed.watch({ ...ALL, types: [ConflictType.TERRAIN_OVERLAP], regions: [{ x: 4, y: 0, z: 0 }] }, both);
    for (const decision of [structures(), digs(), structures(4), digs()]) feed.publish(decision, CONTEXT);
    expect([terrain.read(), region.read(), both.read()]).toEqual([[1, 2], [1], []]);
  });

  it("drops for a slow reader beyond its queue, and the gap says how many", () => {
    const feed = new ConflictFeed(START, { watchersMax: 2, queueMax: 3 });
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
    const feed = new ConflictFeed(START, { watchersMax: 1, queueMax: 3 });
    const leave = feed.watch(ALL, new Reader());
    expect(() => feed.watch(ALL, new Reader())).toThrow(MeshError);
    leave();
    leave();
    expect(feed.watchers).toBe(0);
    feed.watch(ALL, new Reader());
    expect(feed.watchers).toBe(1);
  });

  it("asks by server, on either side, and by group", () => {
    const feed = new ConflictFeed(START, { watchersMax: 4, queueMax: 8 });
    const [winner, loser, stranger, group] = [new Reader(), new Reader(), new Reader(), new Reader()];
    feed.watch({ ...ALL, serverIds: [9] }, winner);
    feed.watch({ ...ALL, serverIds: [7, 10] }, loser);
    feed.watch({ ...ALL, serverIds: [8] }, stranger);
    feed.watch({ ...ALL, groupIds: [4] }, group);
    const decision = decide(setOf([candidate("a", { serverId: 9 }), candidate("b", { serverId: 10 })]), DEFAULT_POLICY);
    feed.publish(decision, CONTEXT);
    feed.publish(decision, { ...CONTEXT, groupId: 4 });
    expect([winner, loser, stranger, group].map((reader) => reader.read().length)).toEqual([2, 2, 0, 1]);
    expect(winner.last().conflict).toMatchObject({ winnerServerId: 9, loserServerId: 10 });
  });
});

describe("who resumes", () => {
  const feedOf = (start: string, remembered = 100) => new ConflictFeed(start, { watchersMax: 8, queueMax: 8 }, remembered);

  it("gets exactly what it missed, in order, no faster than it reads, and then what comes", () => {
    const feed = feedOf(START);
    const first = new Reader();
    const leave = feed.watch({ ...ALL, types: [ConflictType.STRUCTURE_OVERLAP] }, first);
    feed.publish(structures(1), CONTEXT);
    feed.publish(digs(), CONTEXT);
    const token = first.last().resumeToken;
    leave();
    for (let x = 2; x < 40; x++) feed.publish(structures(x), CONTEXT);
    const second = new Reader();
    feed.watch({ ...ALL, types: [ConflictType.STRUCTURE_OVERLAP], resumeToken: token }, second);
    expect(second.waiting).toBeLessThanOrEqual(4);
    feed.publish(structures(40), CONTEXT);
    second.read();
    feed.publish(structures(41), CONTEXT);
    second.read();
    expect(second.got[0]).toMatchObject({ sequence: 0, conflict: undefined, resumed: { restarted: false, forgotten: 0 } });
    expect(second.got.slice(1).map(({ sequence, conflict }) => [sequence, conflict?.region?.x])).toEqual(Array.from({ length: 40 }, (_, n) => [n + 1, n + 2]));
    expect(feed.dropped).toBe(0);
  });

  it("at a replica that started anew, or at another, is told so and hears what comes", () => {
    const before = feedOf(START);
    const reader = new Reader();
    before.watch(ALL, reader);
    before.publish(structures(), CONTEXT);
    const after = feedOf("ffff");
    after.publish(structures(1), CONTEXT);
    const resumed = new Reader();
    after.watch({ ...ALL, resumeToken: reader.last().resumeToken }, resumed);
    after.publish(structures(2), CONTEXT);
    resumed.read();
    expect(resumed.got.map(({ resumed: how, conflict }) => how ?? conflict?.region?.x)).toEqual([{ restarted: true, forgotten: 0 }, 2]);
  });

  it("is told how much is forgotten, at once and where it falls behind later", () => {
    const feed = feedOf(START, 10);
    const reader = new Reader();
    feed.watch(ALL, reader);
    feed.publish(structures(), CONTEXT);
    const token = reader.last().resumeToken;
    for (let x = 0; x < 30; x++) feed.publish(structures(x), CONTEXT);
    const slow = new Reader();
    feed.watch({ ...ALL, resumeToken: token }, slow);
    for (let x = 30; x < 60; x++) feed.publish(structures(x), CONTEXT);
    slow.read();
    const told = slow.got.map(({ resumed, conflict }) => resumed ?? conflict?.region?.x);
    expect(told[0]).toEqual({ restarted: false, forgotten: 20 });
    expect(told.slice(1, 4)).toEqual([20, 21, 22]);
    expect(told.slice(4)).toEqual([{ restarted: false, forgotten: 27 }, ...Array.from({ length: 10 }, (_, n) => 50 + n)]);
  });

  it("with a token that is none is refused by field", () => {
    for (const resumeToken of ["x", "0a.1.2", "0a.-1", "0a.01", `${"a".repeat(65)}.1`, "0a.9999999999999999"]) {
      expect(() => feedOf(START).watch({ ...ALL, resumeToken }, new Reader()), resumeToken).toThrow(/resume_token/);
    }
  });
});
