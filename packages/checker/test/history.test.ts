import { describe, expect, it } from "vitest";
import { decodeHistory, encodeHistory, History, HistoryError, mergeHistories } from "../src/index.ts";

const INVOKE = '{"event":"invoke","call":4,"process":"shard-1","atMs":1.5,"operation":{"model":"register","key":"x","action":"read"}}';

function problem(...lines: string[]): string {
  try {
    decodeHistory(lines);
  } catch (error) {
    if (error instanceof HistoryError) return error.message;
    throw error;
  }
  return "";
}

describe("a history as lines", () => {
  it("holds calls with who, when, what and what came of it", () => {
    const history = new History();
    const read = history.invoke("shard-1", 0, { model: "register", key: "x", action: "read" });
    const write = history.invoke("shard-2", 1, { model: "register", key: "x", action: "write", value: null });
    const trade = history.invoke("shard-3", 1, { model: "transaction", id: "t1", reads: ["a"], writes: ["b"] });
    history.ok(read, 2.5, { value: "a" }, 7);
    history.open(write, 3);
    history.ok(trade, 4, { reads: [{ key: "a", version: 0 }], writes: [{ key: "b", version: 3 }] });
    const failed = history.invoke("shard-1", 5, { model: "lease", key: "r", action: "acquire", serverId: 3 });
    history.fail(failed, 6);
    history.invoke("shard-1", 7, { model: "balance", key: "r", action: "post", delta: -2, when: "ruled" });
    const lines = [...encodeHistory(history)];
    expect(lines[0]).toBe('{"event":"invoke","call":1,"process":"shard-1","atMs":0,"operation":{"model":"register","key":"x","action":"read"}}');
    expect(lines[3]).toBe('{"event":"ok","call":1,"atMs":2.5,"result":{"value":"a"},"position":7}');
    expect(decodeHistory(lines).calls).toEqual(history.calls);
    expect([...encodeHistory(decodeHistory(lines))]).toEqual(lines);
  });

  it("passes over empty lines, and leaves a call that has no end open", () => {
    expect(decodeHistory(["", INVOKE, " "]).calls).toMatchObject([{ id: 1, process: "shard-1", outcome: "open", endedAt: undefined }]);
  });

  it.each([
    ["no JSON", ["", "{"], "line 2: must be JSON: "],
    ["no object", ["[]"], "line 1: must be an object"],
    ["no event", ["{}"], "line 1: event: required"],
    ["an unknown event", ['{"event":"begin"}'], "line 1: event: must be one of invoke, ok, fail, open"],
    ["no model of ours", [INVOKE.replace("register", "queue")], "line 1: operation.model: must be one of register, entity, balance, lease, transaction"],
    ["a field too many", [INVOKE.replace('"read"', '"read","value":3')], "line 1: operation.value: is no field of this"],
    ["a key that is no text", [INVOKE.replace('"x"', "3")], "line 1: operation.key: must be a text of 1..1024 characters"],
    ["a time that goes back", [INVOKE, INVOKE.replace('"call":4', '"call":5').replace("1.5", "1.4")], "line 2: atMs: must not go back behind 1.5"],
    ["a call that begins twice", [INVOKE, INVOKE], "line 2: call: call 4 was invoked before"],
    ["an end without a beginning", ['{"event":"open","call":1,"atMs":2}'], "line 1: call: call 1 was not invoked before"],
    ["a call that ends twice", [INVOKE, '{"event":"fail","call":4,"atMs":2}', '{"event":"open","call":4,"atMs":2}'], "line 3: call: call 1 has ended already"],
    ["a result of another call", [INVOKE, '{"event":"ok","call":4,"atMs":2,"result":{"swapped":true}}'], "line 2: result.value: required"],
    ["a position that is none", [INVOKE, '{"event":"ok","call":4,"atMs":2,"result":{"value":1},"position":-1}'], "line 2: position: must be a whole number, 0 or more"],
    ["a post of nothing", [INVOKE.replace('"register"', '"balance"').replace('"read"', '"post","delta":0,"when":"enough"')], "line 1: operation.delta: must not be 0"],
    [
      "a transaction that wrote what it did not mean to",
      [
        '{"event":"invoke","call":1,"process":"p","atMs":0,"operation":{"model":"transaction","id":"t","reads":[],"writes":["a"]}}',
        '{"event":"ok","call":1,"atMs":1,"result":{"reads":[],"writes":[{"key":"b","version":1}]}}',
      ],
      "line 2: result.writes[0].key: must be one of the transaction's writes",
    ],
  ])("with %s is refused with line, field and rule", (_, lines, message) => {
    expect(problem(...lines)).toContain(message);
  });

  it("recorded in memory is checked too", () => {
    const history = new History();
    const call = history.invoke("p", 5, { model: "balance", key: "x", action: "read" });
    expect(() => history.ok(call, 6, { quantity: -1 })).toThrow("result.quantity: must be a whole number, 0 or more");
    expect(() => history.ok(call, 4, { quantity: 1 })).toThrow("atMs: must not go back behind 5");
    expect(() => history.invoke("p", Number.NaN, { model: "balance", key: "x", action: "read" })).toThrow("atMs");
  });
});

describe("histories of several recorders", () => {
  it("become one, in the order of their clock; at one moment beginnings come first", () => {
    const [one, two] = [new History(), new History()];
    const first = one.invoke("a", 0, { model: "register", key: "x", action: "write", value: 1 });
    one.ok(first, 5, {});
    const second = two.invoke("b", 5, { model: "register", key: "x", action: "read" });
    two.open(second, 6);
    const third = one.invoke("a", 7, { model: "register", key: "x", action: "read" });
    one.fail(third, 8);
    const merged = mergeHistories([one, two]);
    expect(merged.calls.map(({ process, invokedAt, endedAt, outcome }) => [process, invokedAt, endedAt, outcome])).toEqual([
      ["a", 0, 2, "ok"],
      ["b", 1, 3, "open"],
      ["a", 4, 5, "fail"],
    ]);
  });
});
