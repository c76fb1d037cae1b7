import { RaftLog } from "../src/raft-log.ts";
import { describe, expect, it } from "vitest";

describe("a group's log", () => {
  it("keeps the bytes of its entries, and not what these came in with", () => {
    const log = new RaftLog();
    const piece = (text: string): Uint8Array => {
      const read = Buffer.alloc(65_536);
      return read.subarray(100, 100 + read.write(text, 100));
    };
    log.push({ term: 1, index: 1, kind: 0, data: piece("own") });
    log.merge([1, 2, 3].map((index) => ({ term: 1, index, kind: 0, data: piece(`entry ${index}`) })));
    const entries = log.slice(1, 3, Infinity);
    expect(entries.map(({ data }) => Buffer.from(data).toString())).toEqual(["own", "entry 2", "entry 3"]);
    for (const { data } of entries) expect(data.buffer.byteLength).toBeLessThan(1_024);
  });

  it("takes what fills its buffer as it is", () => {
    const log = new RaftLog();
    const data = new Uint8Array(10_000);
    log.push({ term: 1, index: 1, kind: 0, data });
    expect(log.slice(1, 1, Infinity)[0]?.data).toBe(data);
  });
});
