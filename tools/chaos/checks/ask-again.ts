/** Every id is asked for once more, on other nodes: it has one decision, for ever. Questions that were open get their answer. */
import { connect, type MeshClient } from "@statemesh/client";
import { type Decision, MeshError, Outcome } from "@statemesh/contract";
import type { Load } from "../load/load.ts";
import type { Told } from "../load/told.ts";
import { chunks } from "./check.ts";

const WINDOW = 1_024;
const TRANSACTIONS_AT_A_TIME = 32;
const LIMIT_MS = 120_000;
const ATTEMPTS = 5;
const RETRY_MS = 1_000;
const PASSING: ReadonlySet<string> = new Set(["OUTCOME_UNKNOWN", "NO_QUORUM", "MINORITY_PARTITION", "OVERLOADED", "QUOTA_EXCEEDED"]);

/** What must be equal whenever a decision is asked for. */
function essence(decision: Decision | undefined): string {
  return JSON.stringify(decision, (key, value: unknown) => (key === "repeated" ? undefined : typeof value === "bigint" ? String(value) : value));
}

/** @returns what was wrong, by the first lines of it; afterwards every call has its decisions, unless it was never made */
export async function askAgain(load: Load, endpoints: readonly string[]): Promise<string[]> {
  const troubles: string[] = [];
  for (const [at, endpoint] of endpoints.entries()) {
    const clients = new Map(load.servers.map((server) => [server.serverId, connect({ endpoints: [endpoint], serverId: server.serverId, name: `shard-${server.serverId}`, deadlineMs: LIMIT_MS, retryBudget: 1_000_000 })]));
    try {
      for (const [serverId, client] of clients) {
        const own = load.record.told.filter((told) => told.operations[0]?.serverId === serverId);
        const answers = await answersOf(client, own);
        for (const [told, answer] of answers) troubles.push(...judge(told, answer, endpoint, at === 0));
      }
    } finally {
      for (const client of clients.values()) client.close();
    }
  }
  return troubles;
}

type Answer = readonly Decision[] | MeshError;

async function answersOf(client: MeshClient, all: readonly Told[]): Promise<Map<Told, Answer>> {
  const answers = new Map<Told, Answer>();
  const stream = client.stream({ window: WINDOW, deadlineMs: LIMIT_MS });
  const ask = async (told: Told, call: () => Promise<readonly Decision[]>): Promise<void> => {
    for (let attempt = 1; ; attempt++) {
      try {
        answers.set(told, await call());
        return;
      } catch (thrown) {
        const error = MeshError.from(thrown);
        answers.set(told, error);
        // A connection that broke leaves the question open, whatever was answered after it: it is asked anew.
        if (!PASSING.has(error.reason) || attempt >= ATTEMPTS) return;
        await new Promise((wake) => setTimeout(wake, RETRY_MS));
      }
    }
  };
  for (const part of chunks(all.filter((told) => told.transactionId === ""), WINDOW)) {
    await Promise.all(part.map(async (told) => {
      const [operation] = told.operations;
      if (operation !== undefined) await ask(told, async () => [await stream.execute(operation)]);
    }));
  }
  stream.close();
  for (const part of chunks(all.filter((told) => told.transactionId !== ""), TRANSACTIONS_AT_A_TIME)) {
    await Promise.all(part.map(async (told) => await ask(told, async () => (await client.transact(told.operations, told.transactionId)).decisions)));
  }
  return answers;
}

/** @param first asked for the first time since the load: only then is an answer to a refused call news */
function judge(told: Told, answer: Answer, endpoint: string, first: boolean): string[] {
  const id = told.transactionId === "" ? (told.operations[0]?.operationId ?? "") : told.transactionId;
  const before = told.end === "decided" || !first ? told.decisions : [];
  if (answer instanceof MeshError) {
    // What was not decided may be refused now: its epoch is over.
    if (before.length === 0 && answer.reason === "FENCED") return [];
    return [`${id} was ${before.length > 0 ? "decided" : told.end}, and ${endpoint} says ${answer.reason}: ${answer.message}`];
  }
  if (answer.some(({ outcome }) => outcome === Outcome.TENTATIVE)) return [`${id} is still kept by ${endpoint}, although everything is healed`];
  if (first && told.end === "refused" && answer.some((decision) => decision.repeated)) return [`${id} was refused (${told.reasons.join(", ")}), and ${endpoint} says that it was done`];
  if (before.length === 0) {
    told.decisions = answer;
    return [];
  }
  if (answer.some((decision) => !decision.repeated)) return [`${id} was decided a second time, by ${endpoint}`];
  return answer.flatMap((decision, at) => (essence(decision) === essence(before[at]) ? [] : [`${id} was decided ${essence(before[at])}, and ${endpoint} says ${essence(decision)}`]));
}
