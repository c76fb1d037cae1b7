// Histories from papers and from incidents, by hand: each line one call, `from..to who what -> answer`; `..` is open.
import { describe, expect, it } from "vitest";
import { type Call, checkLinearizability, History, type KeyOperation, type ResultOf } from "../src/index.ts";

interface Line {
  readonly from: number;
  /** undefined: open. */
  readonly to: number | undefined;
  readonly operation: KeyOperation;
  readonly result?: object;
  readonly position?: number;
}

function historyOf(lines: readonly Line[]): History {
  const history = new History();
  const calls = new Map<Line, Call<KeyOperation>>();
  const events = lines.flatMap((line) => [{ at: line.from, line, ends: false }, ...(line.to === undefined ? [] : [{ at: line.to, line, ends: true }])]);
  events.sort((a, b) => a.at - b.at || Number(a.ends) - Number(b.ends));
  for (const { at, line, ends } of events) {
    const call = calls.get(line);
    if (!ends || call === undefined) calls.set(line, history.invoke("p", at, line.operation));
    else history.ok(call, at, (line.result ?? {}) as ResultOf<KeyOperation>, line.position);
  }
  return history;
}

const write = (from: number, to: number | undefined, value: number): Line => ({ from, to, operation: { model: "register", key: "x", action: "write", value } });
const read = (from: number, to: number, value: number | null): Line => ({ from, to, operation: { model: "register", key: "x", action: "read" }, result: { value } });
const cas = (from: number, to: number | undefined, before: number | null, after: number, swapped = true): Line => ({ from, to, operation: { model: "register", key: "x", action: "cas", from: before, to: after }, result: { swapped } });
const put = (from: number, to: number | undefined, value: string, version: number, when: "always" | "absent" | "ruled" = "always"): Line => ({ from, to, operation: { model: "entity", key: "chest", action: "put", value, when }, result: { decision: "accepted", version } });
const refused = (from: number, to: number, value: string, when: "always" | "absent" | "ruled"): Line => ({ from, to, operation: { model: "entity", key: "chest", action: "put", value, when }, result: { decision: "rejected" } });
const remove = (from: number, to: number | undefined, version: number): Line => ({ from, to, operation: { model: "entity", key: "chest", action: "remove", when: "ruled" }, result: { decision: "accepted", version } });
const look = (from: number, to: number, value: string | null, version?: number): Line => ({ from, to, operation: { model: "entity", key: "chest", action: "read" }, result: { value, ...(version === undefined ? {} : { version }) } });
const post = (from: number, to: number | undefined, delta: number, decision: "accepted" | "rejected" = "accepted"): Line => ({ from, to, operation: { model: "balance", key: "ada ore", action: "post", delta, when: "enough" }, result: { decision } });
const count = (from: number, to: number, quantity: number): Line => ({ from, to, operation: { model: "balance", key: "ada ore", action: "read" }, result: { quantity } });
const acquire = (from: number, to: number | undefined, serverId: number, epoch: number): Line => ({ from, to, operation: { model: "lease", key: "region_0_0_0", action: "acquire", serverId }, result: { decision: "accepted", epoch } });
const use = (from: number, to: number | undefined, action: "renew" | "release" | "write", serverId: number, epoch: number, decision: "accepted" | "rejected" = "accepted"): Line => ({ from, to, operation: { model: "lease", key: "region_0_0_0", action, serverId, epoch }, result: { decision } });

const GOOD: Readonly<Record<string, readonly Line[]>> = {
  "nothing at all": [],
  "reads that overlap with a write see it or not": [write(0, 10, 1), read(1, 2, null), read(3, 4, 1)],
  "an open write that is never seen": [write(0, undefined, 1), read(1, 2, null), read(100, 101, null)],
  "an open write that is seen much later": [write(0, undefined, 1), read(1, 2, null), read(100, 101, 1)],
  "an open write that comes between two others": [write(0, undefined, 1), write(1, 2, 2), read(3, 4, 2), read(5, 6, 1), write(7, 8, 3), read(9, 10, 3)],
  "concurrent writes in either order (Herlihy and Wing)": [write(0, 10, 1), write(0, 10, 2), read(11, 12, 1), read(13, 14, 1)],
  "a chain of compare-and-swap through an open one": [write(0, 1, 1), cas(2, undefined, 1, 2), cas(3, 4, 2, 3), read(5, 6, 3)],
  "a compare-and-swap that is refused while another write flies": [write(0, 1, 1), write(2, 10, 2), cas(3, 4, 1, 3, false), read(11, 12, 2)],
  "first wins, and the loser is refused": [put(0, 5, "a", 3, "absent"), refused(1, 6, "b", "absent"), look(7, 8, "a", 3)],
  "a rule may refuse where this key alone has no reason": [refused(0, 1, "a", "ruled"), look(2, 3, null)],
  "writes of one log entry share a version": [put(0, 5, "a", 7), remove(1, 6, 7), put(2, 7, "b", 7), look(8, 9, "b", 7)],
  "an open post that was done, and shows": [post(0, undefined, 5), count(1, 2, 0), post(3, 4, -3), count(5, 6, 2)],
  "a transfer that would leave less than nothing": [post(0, 1, 5), post(2, 3, -6, "rejected"), count(4, 5, 5)],
  "a lease that runs out and goes to another": [acquire(0, 1, 1, 1), use(2, 3, "write", 1, 1), acquire(10, 11, 2, 2), use(12, 13, "write", 1, 1, "rejected"), use(14, 15, "write", 2, 2)],
  "the holder that asks again keeps its epoch": [acquire(0, 1, 1, 1), acquire(2, 3, 1, 1), use(4, 5, "renew", 1, 1), use(6, 7, "release", 1, 1), acquire(8, 9, 1, 2)],
};

const BAD: Readonly<Record<string, readonly Line[]>> = {
  "a stale read": [write(0, 1, 1), write(2, 3, 2), read(4, 5, 1)],
  "a read of a value that nobody wrote": [write(0, 1, 1), read(2, 3, 9)],
  "a read from the future": [read(0, 1, 1), write(2, 3, 1)],
  "a write that is seen and then not any more": [write(0, 10, 1), read(1, 2, 1), read(3, 4, null)],
  "two readers that see two writes in two orders": [write(0, 20, 1), write(0, 20, 2), read(1, 2, 1), read(3, 4, 2), read(5, 6, 1)],
  "two compare-and-swaps from one value": [write(0, 1, 1), cas(2, 10, 1, 2), cas(3, 11, 1, 3)],
  "an open write that takes effect twice": [write(0, undefined, 1), write(1, 2, 2), read(3, 4, 1), write(5, 6, 2), read(7, 8, 1)],
  "an acknowledged write that is lost in a crash (etcd)": [put(0, 1, "a", 3), look(2, 3, null)],
  "two winners of one claim": [put(0, 5, "a", 3, "absent"), put(1, 6, "b", 4, "absent")],
  "a version that goes back": [put(0, 1, "a", 5), put(2, 3, "b", 4)],
  "a value under a version that is not its own": [put(0, 1, "a", 5), look(2, 3, "a", 4)],
  "an item that comes back after it was picked up": [put(0, 1, "sword", 2), remove(2, 3, 5), look(4, 5, null), look(6, 7, "sword", 2)],
  "two that pick up one item (drop, restart, item in two places)": [put(0, 1, "sword", 2), remove(2, 9, 5), remove(3, 10, 6)],
  "a retry that posts twice (CockroachDB's reproposal)": [post(0, 1, 5), count(2, 3, 10)],
  "an open post that counts twice": [post(0, undefined, 5), count(1, 2, 10)],
  "less than nothing": [post(0, 1, 5), post(2, 9, -4), post(3, 10, -4)],
  "a refusal without a reason": [post(0, 1, 5), post(2, 3, -4, "rejected")],
  "two holders of one epoch": [acquire(0, 1, 1, 1), acquire(2, 3, 2, 1)],
  "a stalled holder that wakes up and writes": [acquire(0, 1, 1, 1), acquire(2, 3, 2, 2), use(4, 5, "write", 1, 1)],
  "a fenced holder that is let through again": [acquire(0, 1, 1, 1), use(2, 3, "write", 1, 1, "rejected"), use(4, 5, "write", 1, 1)],
  "an epoch that goes back": [acquire(0, 1, 1, 1), acquire(2, 3, 2, 2), acquire(4, 5, 3, 2)],
};

describe("known good histories", () => {
  it.each(Object.entries(GOOD))("%s", (_, lines) => {
    const report = checkLinearizability(historyOf(lines));
    expect(report.text).toContain("linearizable: ");
    expect(report.holds).toBe(true);
  });
});

describe("known bad histories", () => {
  it.each(Object.entries(BAD))("%s", (_, lines) => {
    const report = checkLinearizability(historyOf(lines));
    expect(report.violations.length).toBe(1);
    expect(report.holds).toBe(false);
  });
});

describe("log positions", () => {
  const at = (line: Line, position: number): Line => ({ ...line, position });

  it("say in which order calls that overlap took effect", () => {
    const lines = [at(write(0, 10, 1), 7), at(write(0, 10, 2), 5), read(11, 12, 1)];
    expect(checkLinearizability(historyOf(lines)).holds).toBe(true);
    expect(checkLinearizability(historyOf([...lines.slice(0, 2), read(11, 12, 2)])).holds).toBe(false);
  });

  it("that go back against real time are a violation, and the explanation names the other call", () => {
    const report = checkLinearizability(historyOf([at(write(0, 1, 1), 7), at(write(2, 3, 2), 6)]));
    expect(report.violations[0]?.explanation).toContain("call 2 has log position 6, but call 1, which had ended before it began, has 7");
  });

  it("of one entry are equal, and say nothing about the order in it", () => {
    expect(checkLinearizability(historyOf([at(write(0, 10, 1), 7), at(write(0, 10, 2), 7), read(11, 12, 1)])).holds).toBe(true);
    expect(checkLinearizability(historyOf([at(write(0, 10, 1), 7), at(write(0, 10, 2), 7), read(11, 12, 2)])).holds).toBe(true);
  });
});

describe("what is reported", () => {
  it("names the key, the smallest prefix that fails, the call without a place and what the key can have held", () => {
    const report = checkLinearizability(historyOf([write(0, 1, 1), write(2, 3, 2), read(4, 5, 1), write(6, 7, 3)]));
    expect(report.violations[0]?.prefix.map((call) => call.id)).toEqual([1, 2, 3]);
    expect(report.violations[0]?.explanation).toBe(
      `register x: NOT LINEARIZABLE; the first 2 of 4 completed calls have an order, and none has a place for call 3
  0..1 ms call 1 of p: write value 1 -> ok
  2..3 ms call 2 of p: write value 2 -> ok
> 4..5 ms call 3 of p: read -> value 1
  before call 3 the key can hold: 2`,
    );
  });

  it("is undecided where the budget ran out, with the key and how far it came, and does not hold", () => {
    const lines: Line[] = [];
    for (let n = 0; n < 12; n++) lines.push({ from: 0, to: undefined, operation: { model: "balance", key: "ada ore", action: "post", delta: 2 ** n, when: "enough" }, result: { decision: "accepted" } });
    lines.push(count(1, 2, 1), count(3, 4, 4_096));
    const report = checkLinearizability(historyOf(lines), { budget: 100 });
    expect(report).toMatchObject({ holds: false, violations: [], undecided: [{ name: "balance ada ore", verdict: "undecided" }] });
    expect(report.text).toContain("balance ada ore: UNDECIDED after 100 configurations; 1 of 2 completed calls have a place so far");
    expect(checkLinearizability(historyOf(lines)).violations.length).toBe(1);
  });

  it("refuses a budget that is none", () => {
    expect(() => checkLinearizability(new History(), { budget: 0 })).toThrow(RangeError);
  });
});
