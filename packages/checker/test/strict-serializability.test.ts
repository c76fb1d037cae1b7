import { describe, expect, it } from "vitest";
import { type Call, checkStrictSerializability, History, type SeenVersion, type Transaction, type WrittenVersion } from "../src/index.ts";
import { Random } from "./random.ts";

/** Seeds differ from run to run; a failure names its own. */
const SEED = Number(process.env["CHECKER_SEED"] ?? (Date.now() % 1_000_000) * 1_000);

interface Line {
  readonly id: string;
  readonly from: number;
  readonly to: number;
  readonly outcome?: "ok" | "fail" | "open";
  readonly reads?: readonly SeenVersion[];
  readonly writes?: readonly WrittenVersion[];
}

function historyOf(lines: readonly Line[]): History {
  const history = new History();
  const calls = new Map<Line, Call<Transaction>>();
  const events = lines.flatMap((line) => [{ at: line.from, line, ends: false }, { at: line.to, line, ends: true }]).sort((a, b) => a.at - b.at || Number(a.ends) - Number(b.ends));
  for (const { at, line, ends } of events) {
    const { id, reads = [], writes = [], outcome = "ok" } = line;
    const call = calls.get(line);
    if (!ends || call === undefined) calls.set(line, history.invoke("p", at, { model: "transaction", id, reads: reads.map((each) => each.key), writes: writes.map((each) => each.key) }));
    else if (outcome === "ok") history.ok(call, at, { reads, writes });
    else history[outcome](call, at);
  }
  return history;
}

const r = (key: string, version: number, writer?: string): SeenVersion => ({ key, version, ...(writer === undefined ? {} : { writer }) });
const w = (key: string, version: number): WrittenVersion => ({ key, version });

describe("known good histories of transactions", () => {
  it.each<[string, Line[]]>([
    ["nothing at all", []],
    ["one after the other", [{ id: "a", from: 0, to: 1, writes: [w("x", 1), w("y", 1)] }, { id: "b", from: 2, to: 3, reads: [r("x", 1, "a"), r("y", 1)] }]],
    ["overlapping ones in the order of their versions", [{ id: "a", from: 0, to: 10, writes: [w("x", 2)] }, { id: "b", from: 0, to: 10, writes: [w("x", 1)] }, { id: "c", from: 1, to: 2, reads: [r("x", 1, "b")] }]],
    ["an open one that nobody saw", [{ id: "a", from: 0, to: 1, outcome: "open", writes: [w("x", 1)] }, { id: "b", from: 2, to: 3, reads: [r("x", 0)] }]],
    ["an open one that is seen later", [{ id: "a", from: 0, to: 1, outcome: "open", writes: [w("x", 1)] }, { id: "b", from: 2, to: 3, reads: [r("x", 0)] }, { id: "c", from: 4, to: 5, reads: [r("x", 1, "a")] }]],
    ["an open one that must be who wrote it", [{ id: "a", from: 0, to: 1, outcome: "open", writes: [w("x", 1)] }, { id: "b", from: 2, to: 3, reads: [r("x", 1)] }]],
    ["one of two open ones, nobody knows which", [{ id: "a", from: 0, to: 1, outcome: "open", writes: [w("x", 1)] }, { id: "b", from: 0, to: 1, outcome: "open", writes: [w("x", 1)] }, { id: "c", from: 2, to: 3, reads: [r("x", 7)] }]],
    ["two of one log entry", [{ id: "a", from: 0, to: 5, reads: [r("x", 0)], writes: [w("x", 4)] }, { id: "b", from: 1, to: 6, writes: [w("x", 4), w("y", 4)] }, { id: "c", from: 7, to: 8, reads: [r("x", 4), r("y", 4)] }]],
    ["a failed one that nobody saw", [{ id: "a", from: 0, to: 1, outcome: "fail", writes: [w("x", 1)] }, { id: "b", from: 2, to: 3, reads: [r("x", 0)], writes: [w("x", 1)] }]],
  ])("%s", (_, lines) => {
    const report = checkStrictSerializability(historyOf(lines));
    expect(report.text).toContain("strictly serializable: ");
    expect(report.holds).toBe(true);
  });
});

describe("known bad histories of transactions", () => {
  it.each<[string, string, string, Line[]]>([
    ["G0", "G0", "two transactions that write two keys in two orders", [{ id: "a", from: 0, to: 9, writes: [w("x", 1), w("y", 2)] }, { id: "b", from: 0, to: 9, writes: [w("x", 2), w("y", 1)] }]],
    ["G1a aborted read", "G1a aborted read", "what was rolled back is read", [{ id: "a", from: 0, to: 1, outcome: "fail", writes: [w("x", 1)] }, { id: "b", from: 2, to: 3, reads: [r("x", 1, "a")] }]],
    ["G1b intermediate read", "G1b intermediate read", "what its writer overwrote is read", [{ id: "a", from: 0, to: 9, writes: [w("x", 1), w("x", 2)] }, { id: "b", from: 1, to: 3, reads: [r("x", 1, "a")] }]],
    ["G1c", "G1c", "each reads what the other wrote", [{ id: "a", from: 0, to: 9, reads: [r("y", 1)], writes: [w("x", 1)] }, { id: "b", from: 0, to: 9, reads: [r("x", 1)], writes: [w("y", 1)] }]],
    ["G-single", "G-single", "a lost update", [{ id: "a", from: 0, to: 9, reads: [r("x", 0)], writes: [w("x", 1)] }, { id: "b", from: 0, to: 9, reads: [r("x", 0)], writes: [w("x", 2)] }]],
    ["G-single", "G-single", "a torn read of two keys", [{ id: "a", from: 0, to: 9, writes: [w("x", 1), w("y", 1)] }, { id: "b", from: 0, to: 9, reads: [r("x", 1), r("y", 0)] }]],
    ["G-single", "G-single", "an open one that is half done", [{ id: "a", from: 0, to: 9, outcome: "open", writes: [w("x", 1), w("y", 1)] }, { id: "b", from: 10, to: 11, reads: [r("x", 5, "a"), r("y", 0)] }, { id: "c", from: 10, to: 12, reads: [r("y", 5, "a")] }]],
    ["G2", "G2", "write skew: both leave", [{ id: "a", from: 0, to: 9, reads: [r("x", 0), r("y", 0)], writes: [w("x", 1)] }, { id: "b", from: 0, to: 9, reads: [r("x", 0), r("y", 0)], writes: [w("y", 1)] }]],
    ["realtime violation", "G-single", "a stale read", [{ id: "a", from: 0, to: 1, writes: [w("x", 1)] }, { id: "b", from: 2, to: 3, reads: [r("x", 0)] }]],
    ["realtime violation", "G0", "versions against time", [{ id: "a", from: 0, to: 1, writes: [w("x", 2)] }, { id: "b", from: 2, to: 3, writes: [w("x", 1)] }]],
    ["realtime violation", "G1c", "a read from the future", [{ id: "a", from: 0, to: 1, reads: [r("x", 1)] }, { id: "b", from: 2, to: 3, writes: [w("x", 1)] }]],
    ["realtime violation", "G2", "a slow one that is before and after", [{ id: "a", from: 0, to: 9, reads: [r("x", 0)], writes: [w("y", 1)] }, { id: "b", from: 1, to: 2, writes: [w("x", 1)] }, { id: "c", from: 3, to: 4, reads: [r("y", 0)] }]],
    ["unknown write", "unknown write", "what nobody wrote", [{ id: "a", from: 0, to: 1, reads: [r("x", 3)] }]],
    ["doubled version", "x", "one version at two times (split brain)", [{ id: "a", from: 0, to: 1, writes: [w("x", 1)] }, { id: "b", from: 2, to: 3, writes: [w("x", 1)] }]],
  ])("%s (%s): %s", (kind, detail, _, lines) => {
    const report = checkStrictSerializability(historyOf(lines));
    expect(report.anomalies[0], report.text).toMatchObject({ kind, detail });
    expect(report.holds).toBe(false);
  });

  it("are explained by the circle and the calls on it", () => {
    const lines: Line[] = [{ id: "a", from: 0, to: 1, writes: [w("x", 1)] }, { id: "b", from: 2, to: 3, reads: [r("x", 0)] }];
    expect(checkStrictSerializability(historyOf(lines)).anomalies[0]?.text.split("\n").sort()).toEqual(
      [
        "realtime violation (G-single):",
        "  b comes before a: it read x as it was before the other wrote it (rw)",
        "  a comes before b: it had ended before the other began (realtime)",
        '  2..3 ms call 2 of p: transaction id b reads ["x"] writes [] -> reads [{"key":"x","version":0}] writes []',
        '  0..1 ms call 1 of p: transaction id a reads [] writes ["x"] -> reads [] writes [{"key":"x","version":1}]',
      ].sort(),
    );
  });
});

interface Store {
  /** Version and writer by key. */
  readonly rows: Map<string, { version: number; writer: string }>;
  log: number;
}

/** Transactions of a store that does one after the other, each within its call. Some callers never hear. */
function execute(random: Random, count: number, keys: number, clients: number, open: number): History {
  const history = new History();
  const store: Store = { rows: new Map(), log: 0 };
  const running: ({ call: Call<Transaction>; done: { reads: SeenVersion[]; writes: WrittenVersion[] } | undefined } | undefined)[] = Array.from({ length: clients }, () => undefined);
  let started = 0;
  for (let now = 0; started < count || running.some((each) => each !== undefined); now++) {
    const client = random.below(clients);
    const mine = running[client];
    if (mine === undefined) {
      if (started >= count) continue;
      started++;
      const some = (): string[] => [...new Set(Array.from({ length: random.below(4) }, () => `k${random.below(keys)}`))];
      running[client] = { call: history.invoke(`c${client}`, now, { model: "transaction", id: `t${started}`, reads: some(), writes: some() }), done: undefined };
    } else if (mine.done === undefined && random.chance(0.9)) {
      mine.done = take(store, mine.call.operation);
    } else {
      if (random.chance(open)) history.open(mine.call, now);
      else if (mine.done === undefined) history.fail(mine.call, now);
      else history.ok(mine.call, now, mine.done);
      running[client] = undefined;
    }
  }
  return history;
}

function take(store: Store, { id, reads, writes }: Transaction): { reads: SeenVersion[]; writes: WrittenVersion[] } {
  const seen = reads.map((key) => {
    const row = store.rows.get(key);
    return row === undefined ? r(key, 0) : r(key, row.version, row.writer);
  });
  const version = ++store.log;
  for (const key of writes) store.rows.set(key, { version, writer: id });
  return { reads: seen, writes: writes.map((key) => w(key, version)) };
}

describe("random histories of transactions", () => {
  it("of a store that does one after the other hold", () => {
    for (let seed = SEED; seed < SEED + 40; seed++) {
      const report = checkStrictSerializability(execute(new Random(seed), 300, 8, 8, 0.05));
      expect(report.holds, `seed ${seed}\n${report.text}`).toBe(true);
    }
  });

  it("with one read of an older version do not", () => {
    let mutated = 0;
    for (let seed = SEED; seed < SEED + 60; seed++) {
      const random = new Random(seed);
      const history = execute(random, 200, 5, 6, 0.02);
      // A version is stale for certain where its overwriter had ended before the reader began.
      const calls = history.calls.filter((call): call is Call<Transaction> => call.outcome === "ok" && call.operation.model === "transaction");
      const reader = random.pick(calls.filter((call) => (call.result?.reads.length ?? 0) > 0));
      const [first, ...others] = reader.result?.reads ?? [];
      const older = calls.filter((call) => call.result?.writes.some((write) => write.key === first?.key && write.version < (first?.version ?? 0)) && (call.endedAt ?? Infinity) < reader.invokedAt);
      if (first === undefined || older.length < 2) continue;
      mutated++;
      reader.result = { reads: [r(first.key, 0), ...others], writes: reader.result?.writes ?? [] };
      expect(checkStrictSerializability(history).holds, `seed ${seed}`).toBe(false);
    }
    expect(mutated).toBeGreaterThan(10);
  });

  it("that are small are judged as every order, tried out, judges them", () => {
    let violations = 0;
    const runs = 3_000;
    for (let seed = SEED; seed < SEED + runs; seed++) {
      const random = new Random(seed);
      const lines = nonsense(random);
      const expected = hasOrder(lines);
      if (!expected) violations++;
      const report = checkStrictSerializability(historyOf(lines));
      expect(report.holds, `seed ${seed}\n${JSON.stringify(lines)}\n${report.text}`).toBe(expected);
    }
    expect(violations).toBeGreaterThan(runs / 10);
    expect(violations).toBeLessThan((runs * 9) / 10);
  });
});

/** Up to five transactions over two keys; every version has one writer, reads may be of any of them. */
function nonsense(random: Random): Line[] {
  const next = new Map<string, number>();
  const drafts = Array.from({ length: 2 + random.below(4) }, (_, at) => {
    const from = random.below(20);
    const writes = ["x", "y"].filter(() => random.chance(0.45)).map((key) => {
      const version = (next.get(key) ?? 0) + 1;
      next.set(key, version);
      return w(key, version);
    });
    return { id: `t${at}`, from, to: from + 1 + random.below(12), writes };
  });
  return drafts.map((draft) => ({
    ...draft,
    reads: ["x", "y"].filter(() => random.chance(0.45)).flatMap((key) => {
      const own = draft.writes.find((write) => write.key === key)?.version ?? Infinity;
      const version = random.below((next.get(key) ?? 0) + 1);
      return version < own ? [r(key, version)] : [];
    }),
  }));
}

function hasOrder(lines: readonly Line[], versions: ReadonlyMap<string, number> = new Map()): boolean {
  if (lines.length === 0) return true;
  return lines.some((line) => {
    if (lines.some((other) => other !== line && other.to < line.from)) return false;
    if ((line.reads ?? []).some(({ key, version }) => (versions.get(key) ?? 0) !== version)) return false;
    if ((line.writes ?? []).some(({ key, version }) => (versions.get(key) ?? 0) >= version)) return false;
    const after = new Map(versions);
    for (const { key, version } of line.writes ?? []) after.set(key, version);
    return hasOrder(lines.filter((other) => other !== line), after);
  });
}
