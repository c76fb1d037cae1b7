/** The history as callers saw it, held against the models of packages/checker. They know nothing of logs. */
import { checkLinearizability, checkStrictSerializability, type Call, History as CheckedHistory, type Operation, type ResultOf } from "@statemesh/checker";
import type { History, HistoryCall, HistoryOperation } from "./history.ts";

interface Verdict {
  readonly detail: string;
  readonly anomalies: string[];
}

/** Key by key: registers, claims, items on the ground. */
export function linearizable(history: History): Verdict {
  const recorder = new Recorder(history);
  for (const call of history.calls) for (const operation of call.operations) addOperation(recorder, call, operation);
  for (const read of history.reads) {
    for (const [key, value] of Object.entries(read.values)) recorder.add("reader", { model: "register", key, action: "read" }, read, { value: value === "" ? null : value });
  }
  const report = checkLinearizability(recorder.checked());
  return {
    detail: `${report.calls} calls on ${report.keys} keys, ${report.configurations} configurations`,
    anomalies: [...report.violations, ...report.undecided].map((each) => `${each.name}: ${each.verdict}\n${each.explanation}`),
  };
}

/** All registers together: a write is a transaction, a read of several registers is one too. */
export function strictlySerializable(history: History): Verdict {
  const recorder = new Recorder(history);
  for (const call of history.calls) {
    const writes = call.operations.filter((operation) => operation.action === "write" && operation.accepted === true);
    const [first] = writes;
    if (first === undefined) continue;
    const id = call.transactionId === "" ? first.operationId : call.transactionId;
    recorder.add(`server-${first.serverId}`, { model: "transaction", id, reads: [], writes: writes.map(({ subject }) => subject) }, call, { reads: [], writes: writes.map(({ subject, version }) => ({ key: subject, version })) });
  }
  history.reads.forEach((read, at) => {
    const keys = Object.keys(read.values);
    recorder.add("reader", { model: "transaction", id: `read-${at + 1}`, reads: keys, writes: [] }, read, { reads: keys.map((key) => ({ key, version: read.versions[key] ?? 0 })), writes: [] });
  });
  const report = checkStrictSerializability(recorder.checked());
  return { detail: `${report.transactions} transactions, ${report.edges} dependencies`, anomalies: report.anomalies.map((each) => each.text) };
}

interface Times {
  readonly invokedMs: number;
  readonly returnedMs: number | null;
}

/** Tells calls to the checker in the order of time. Of one moment beginnings come first: what may have overlapped did. */
class Recorder {
  readonly #checked = new CheckedHistory();
  readonly #events: { readonly atMs: number; readonly ends: boolean; readonly tell: () => void }[] = [];
  /** When every call was asked for once more. */
  readonly #endMs: number;

  constructor(history: History) {
    this.#endMs = 1 + [...history.calls, ...history.reads].reduce((latest, { invokedMs, returnedMs }) => Math.max(latest, invokedMs, returnedMs ?? 0), 0);
  }

  /** A call that nobody was told of was decided, or made, at some time until the end. */
  add<O extends Operation>(process: string, operation: O, { invokedMs, returnedMs }: Times, result: ResultOf<O>): void {
    let call: Call<O> | undefined;
    const endedMs = returnedMs ?? this.#endMs;
    this.#events.push({ atMs: invokedMs, ends: false, tell: () => void (call = this.#checked.invoke(process, invokedMs, operation)) });
    this.#events.push({ atMs: endedMs, ends: true, tell: () => void (call !== undefined && this.#checked.ok(call, endedMs, result)) });
  }

  checked(): CheckedHistory {
    for (const { tell } of this.#events.sort((a, b) => a.atMs - b.atMs || Number(a.ends) - Number(b.ends))) tell();
    return this.#checked;
  }
}

function addOperation(recorder: Recorder, call: HistoryCall, operation: HistoryOperation): void {
  const { subject, action, value, serverId, accepted } = operation;
  // Never made, also when it was asked for at the end: its epoch was over.
  if (accepted === undefined) return;
  const process = `server-${serverId}`;
  const decision = accepted ? "accepted" : "rejected";
  switch (action) {
    case "write":
      if (accepted) recorder.add(process, { model: "register", key: subject, action: "write", value }, call, {});
      return;
    case "claim":
      recorder.add(process, { model: "entity", key: `claim ${subject}`, action: "put", value, when: "absent" }, call, { decision });
      return;
    case "release":
      recorder.add(process, { model: "entity", key: `claim ${subject}`, action: "remove", when: "ruled" }, call, { decision });
      return;
    case "spawn":
      recorder.add(process, { model: "entity", key: `item ${subject}`, action: "put", value: subject, when: "absent" }, call, { decision });
      return;
    case "pickup":
      recorder.add(process, { model: "entity", key: `item ${subject}`, action: "remove", when: "always" }, call, { decision });
      return;
    default:
      // Accounts and structures are compared with the state at the end.
  }
}
