// Histories as JSON lines, one event a line:
//   {"event":"invoke","call":1,"process":"shard-2","atMs":12.25,"operation":{"model":"balance","key":"player:ada ore","action":"post","delta":5,"when":"enough"}}
//   {"event":"ok","call":1,"atMs":13,"result":{"decision":"accepted"},"position":7}
//   {"event":"open","call":2,"atMs":40}
//   {"event":"fail","call":3,"atMs":41}
import { Fields } from "./fields.ts";
import { type Call, History } from "./history.ts";
import { HistoryError } from "./history-error.ts";
import { readOperation, readResult } from "./history-fields.ts";
import type { ResultOf, Operation } from "./operations.ts";

/** The events of a history as JSON lines, in their order. */
export function* encodeHistory(history: History): Generator<string> {
  const events: { call: Call; ends: boolean }[] = [];
  for (const call of history.calls) {
    events[call.invokedAt] = { call, ends: false };
    if (call.endedAt !== undefined) events[call.endedAt] = { call, ends: true };
  }
  for (const { call, ends } of events) {
    const { id, process, operation, outcome, result, position } = call;
    if (ends) yield JSON.stringify({ event: outcome, call: id, atMs: call.endedMs, result, position });
    else yield JSON.stringify({ event: "invoke", call: id, process, atMs: call.invokedMs, operation });
  }
}

/** Reads a history. Empty lines are passed over. Throws HistoryError with line, field and rule. */
export function decodeHistory(lines: Iterable<string>): History {
  const history = new History();
  const byId = new Map<number, Call>();
  let line = 0;
  for (const text of lines) {
    line++;
    if (text.trim() === "") continue;
    history.atLine(line);
    readEvent(new Fields(parse(text, line), line, ""), history, byId);
  }
  history.atLine(0);
  return history;
}

function readEvent(fields: Fields, history: History, byId: Map<number, Call>): void {
  const event = fields.oneOf("event", ["invoke", "ok", "fail", "open"]);
  const id = fields.whole("call", 0);
  const atMs = fields.milliseconds("atMs");
  if (event === "invoke") {
    if (byId.has(id)) fields.refuse("call", `call ${id} was invoked before`);
    const operation = fields.object("operation");
    byId.set(id, history.invoke(fields.text("process"), atMs, readOperation(operation)));
    operation.end();
    fields.end();
    return;
  }
  const call = byId.get(id);
  if (call === undefined) return fields.refuse("call", `call ${id} was not invoked before`);
  if (event === "ok") {
    const result = fields.object("result");
    const value = readResult(call.operation, result);
    result.end();
    history.ok(call, atMs, value as ResultOf<Operation>, fields.has("position") ? fields.whole("position", 0) : undefined);
  } else if (event === "fail") history.fail(call, atMs);
  else history.open(call, atMs);
  fields.end();
}

function parse(text: string, line: number): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new HistoryError(line, "", `must be JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}
