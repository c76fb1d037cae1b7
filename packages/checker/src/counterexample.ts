import type { Call } from "./history.ts";
import type { KeyHistory } from "./key-history.ts";
import type { KeyOperation } from "./operations.ts";
import type { Searched } from "./search.ts";

/** Calls that are printed: those nearest to the end of the prefix. */
const PRINTED_MAX = 40;

/** The history up to the call that found no place, and what the key can have held before it. */
export function counterexampleOf(name: string, history: KeyHistory, searched: Searched): { explanation: string; prefix: Call<KeyOperation>[] } {
  const { event, states, verdict, configurations } = searched;
  const events = history.events.slice(0, event + 1);
  const stuck = events.at(-1)?.call;
  const prefix = events.filter((each) => !each.ends).map((each) => each.call.call);
  const completed = events.filter((each) => each.ends).length - 1;
  const lines: string[] = [];
  if (verdict === "undecided") {
    lines.push(`${name}: UNDECIDED after ${configurations} configurations; ${completed} of ${history.completions} completed calls have a place so far`);
  } else {
    lines.push(`${name}: NOT LINEARIZABLE; the first ${completed} of ${history.completions} completed calls have an order, and none has a place for call ${stuck?.call.id ?? 0}`);
  }
  const printed = prefix.slice(-PRINTED_MAX);
  if (printed.length < prefix.length) lines.push(`  (${prefix.length - printed.length} earlier calls)`);
  const endedBy = new Set(events.filter((each) => each.ends).map((each) => each.call.call));
  for (const call of printed) lines.push(`${call === stuck?.call ? "> " : "  "}${describeCall(call, endedBy.has(call))}`);
  lines.push(`  before call ${stuck?.call.id ?? 0} the key can hold: ${states.join(" | ")}`);
  const late = stuck?.outOfOrder;
  if (late !== undefined) lines.push(`  call ${stuck?.call.id ?? 0} has log position ${stuck?.call.position ?? 0}, but call ${late.id}, which had ended before it began, has ${late.position ?? 0}`);
  return { explanation: lines.join("\n"), prefix };
}

/** One line: times, who, what, and what came of it. */
export function describeCall(call: Call, ended = true): string {
  const { id, process, operation, invokedMs, endedMs, outcome, result, position } = call;
  const { model: _, ...rest } = operation;
  const what = "action" in rest ? `${rest.action}${details({ ...rest, action: undefined, key: undefined })}` : `transaction${details(rest)}`;
  const end = outcome === "ok" ? `${endedMs ?? 0} ms` : "open";
  const answer = outcome === "ok" ? `${details(result ?? {}).trim() || "ok"}${position === undefined ? "" : ` at ${position}`}` : outcome === "open" ? "nobody knows" : "not done";
  return `${invokedMs}..${end} call ${id} of ${process}: ${what} -> ${answer}${ended || outcome !== "ok" ? "" : " (ends later)"}`;
}

function details(fields: object): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name} ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join("");
}
