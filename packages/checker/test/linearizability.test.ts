import { describe, expect, it } from "vitest";
import { type Call, checkLinearizability, decodeHistory, encodeHistory, History, type Operation, type ResultOf } from "../src/index.ts";
import { isLinearizableByForce } from "./brute-force.ts";
import { execute, type ExecutionOptions } from "./execution.ts";
import { Random } from "./random.ts";

/** Seeds differ from run to run; a failure names its own. */
const SEED = Number(process.env["CHECKER_SEED"] ?? (Date.now() % 1_000_000) * 1_000);

/** Changes one answer of a history; false where there is none to change. */
type Mutation = (history: History, random: Random) => boolean;

function completed(history: History, wanted: (operation: Operation) => boolean): Call[] {
  return history.calls.filter((call) => call.outcome === "ok" && wanted(call.operation));
}

const staleRead: Mutation = (history, random) => {
  const reads = completed(history, (operation) => operation.model === "entity" && operation.action === "read");
  const call = random.pick(reads);
  // A value of a write that ended before another write began, which ended before the read began.
  const writes = completed(history, (operation) => operation.model === "entity" && operation.key === keyOf(call) && operation.action === "put").filter((each) => accepted(each));
  for (const older of writes) {
    const newer = writes.find((each) => each.invokedAt > (older.endedAt ?? Infinity) && (each.endedAt ?? Infinity) < call.invokedAt);
    if (newer === undefined || older.operation.model !== "entity" || older.operation.action !== "put") continue;
    call.result = { value: older.operation.value, version: (older.result as { version: number }).version };
    return true;
  }
  return false;
};

const lostWrite: Mutation = (history, random) => {
  // An accepted write that was seen is told to have been refused.
  const puts = completed(history, (operation) => operation.model === "entity" && operation.action === "put").filter((call) => accepted(call));
  const call = random.pick(puts);
  if (call.operation.model !== "entity" || call.operation.action !== "put") return false;
  const { key, value } = call.operation;
  // Another write of the same value, of which nothing is known either, would explain the reads.
  const same = history.calls.filter(({ operation }) => operation.model === "entity" && operation.action === "put" && operation.key === key && operation.value === value);
  const seen = same.length === 1 && completed(history, (operation) => operation.model === "entity" && operation.action === "read" && operation.key === key).some((read) => (read.result as { value?: string }).value === value);
  if (!seen) return false;
  call.result = { decision: "rejected" };
  return true;
};

const doubledWrite: Mutation = (history, random) => {
  // A post counts twice: what is read after it is too much.
  const reads = completed(history, (operation) => operation.model === "balance" && operation.action === "read");
  const call = random.pick(reads);
  const possible = history.calls
    .filter((each) => each.operation.model === "balance" && each.operation.key === keyOf(call) && each.invokedAt < (call.endedAt ?? Infinity))
    .reduce((sum, each) => sum + (each.operation.model === "balance" && each.operation.action === "post" && each.outcome !== "fail" && (each.outcome === "open" || accepted(each)) ? Math.max(0, each.operation.delta) : 0), 0);
  call.result = { quantity: possible + 1 + random.below(3) };
  return true;
};

function keyOf(call: Call): string {
  return call.operation.model === "transaction" ? "" : call.operation.key;
}

function accepted(call: Call): boolean {
  return (call.result as { decision?: string } | undefined)?.decision === "accepted";
}

const BUSY: ExecutionOptions = { models: ["register", "entity", "balance", "lease"], keys: 3, clients: 6, calls: 120, open: 0.05, fail: 0.03, positions: false };

describe("histories of a store that keeps its promise", () => {
  it.each([
    ["of all models", BUSY],
    ["with log positions", { ...BUSY, positions: true }],
    ["on one key", { ...BUSY, keys: 1, clients: 8, calls: 100 }],
    ["of registers with many callers", { ...BUSY, models: ["register"], keys: 1, clients: 20, calls: 200 }],
    ["with many open calls", { ...BUSY, open: 0.3 }],
  ] as [string, ExecutionOptions][])("%s are linearizable", (_, options) => {
    for (let seed = SEED; seed < SEED + 30; seed++) {
      const report = checkLinearizability(execute(new Random(seed), options));
      expect(report.holds, `seed ${seed}\n${report.text}`).toBe(true);
    }
  });

  it.each([
    ["a stale read", staleRead, "entity"],
    ["a lost write", lostWrite, "entity"],
    ["a doubled write", doubledWrite, "balance"],
  ] as [string, Mutation, "entity" | "balance"][])("are not any more with %s", (_, mutate, model) => {
    let mutated = 0;
    for (let seed = SEED; seed < SEED + 120; seed++) {
      const random = new Random(seed);
      const history = execute(random, { ...BUSY, models: [model], open: 0.02 });
      if (!mutate(history, random)) continue;
      mutated++;
      const report = checkLinearizability(history);
      expect(report.violations.length, `seed ${seed}\n${report.text}`).toBe(1);
    }
    expect(mutated).toBeGreaterThan(10);
  });

  it("read back from lines they are the same", () => {
    const history = execute(new Random(SEED), { ...BUSY, positions: true });
    const again = decodeHistory(encodeHistory(history));
    expect(again.calls).toEqual(history.calls);
  });
});

describe("small random histories", () => {
  it("are judged as the definition, tried out in every order, judges them", () => {
    let violations = 0;
    const runs = 4_000;
    for (let seed = SEED; seed < SEED + runs; seed++) {
      const random = new Random(seed);
      const history = nonsense(random);
      const expected = isLinearizableByForce(history);
      const report = checkLinearizability(history);
      if (!expected) violations++;
      expect(report.undecided, `seed ${seed}`).toEqual([]);
      expect(report.holds, `seed ${seed}\n${[...encodeHistory(history)].join("\n")}\n${report.text}`).toBe(expected);
    }
    expect(violations).toBeGreaterThan(runs / 20);
    expect(violations).toBeLessThan((runs * 19) / 20);
  });
});

/** Answers that may be true or not. */
function nonsense(random: Random): History {
  const history = new History();
  const model = random.pick(["register", "balance"] as const);
  const flying: Call[] = [];
  const calls = 3 + random.below(6);
  let at = 0;
  for (let started = 0; started < calls || flying.length > 0; at++) {
    if (started < calls && flying.length < 4 && random.chance(0.55)) {
      started++;
      flying.push(history.invoke("c", at, randomOperation(random, model)));
      continue;
    }
    const [call] = flying.splice(random.below(flying.length), 1);
    if (call === undefined) continue;
    const outcome = random.next();
    if (outcome < 0.08) history.fail(call, at);
    else if (outcome < 0.25) history.open(call, at);
    else history.ok(call, at, randomResult(random, call.operation));
  }
  return history;
}

function randomOperation(random: Random, model: "register" | "balance"): Operation {
  const key = "k";
  if (model === "balance") {
    return random.chance(0.4) ? { model, key, action: "read" } : { model, key, action: "post", delta: random.pick([-2, -1, 1, 2]), when: "enough" };
  }
  const kind = random.next();
  if (kind < 0.45) return { model, key, action: "read" };
  if (kind < 0.8) return { model, key, action: "write", value: random.below(3) };
  return { model, key, action: "cas", from: random.pick([null, 0, 1, 2]), to: random.below(3) };
}

function randomResult(random: Random, operation: Operation): ResultOf<Operation> {
  if (operation.model === "register") {
    if (operation.action === "read") return { value: random.pick([null, 0, 1, 2]) };
    return operation.action === "cas" ? { swapped: random.chance(0.5) } : {};
  }
  if (operation.model === "balance" && operation.action === "read") return { quantity: random.below(4) };
  return { decision: random.chance(0.8) ? "accepted" : "rejected" };
}
