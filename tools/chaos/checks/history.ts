/** A load's record as plain JSON: what is written to a file, what checks go by. One line a call, a read, a grant, a value that a subscriber was shown, a heal report. */
import { readFileSync, writeFileSync } from "node:fs";
import { type Operation, Outcome } from "@statemesh/contract";
import { z } from "zod";
import type { ReadReport } from "../heal-reports.ts";
import type { Shown } from "../load/follower.ts";
import type { LoadRecord } from "../load/told.ts";

const operation = z.object({
  operationId: z.string(),
  type: z.string(),
  serverId: z.number(),
  epoch: z.number(),
  region: z.string(),
  /** What it is about: a register, a resource, an item, a structure; empty where it is about accounts. */
  subject: z.string(),
  /** `claim`, `release`, `place`, `remove`, `write`, `pickup`, `spawn`, or the action on accounts. */
  action: z.string(),
  /** What a register is set to; who claims or picks up. */
  value: z.string(),
  /** True: in force. Undefined: not known. */
  accepted: z.boolean().optional(),
  /** Log index of the decision; 0 where it is not known. */
  index: z.number(),
  /** Version of what it wrote; 0 where it wrote nothing. */
  version: z.number(),
  /** Its caller let a cut-off node keep it. */
  mayBeKept: z.boolean().default(false),
});

const call = z.object({
  kind: z.literal("call"),
  transactionId: z.string(),
  group: z.number(),
  /** Milliseconds since the start of the run. */
  invokedMs: z.number(),
  /** When its caller was told; null: never. Its decision is known all the same where it was asked for at the end. */
  returnedMs: z.number().nullable(),
  end: z.enum(["decided", "refused", "open"]),
  /** Nodes that answered TENTATIVE. */
  keptBy: z.array(z.number()).default([]),
  operations: z.array(operation).min(1),
});

const read = z.object({
  kind: z.literal("read"),
  group: z.number(),
  invokedMs: z.number(),
  returnedMs: z.number(),
  /** Values by register; an empty text where it was never written. */
  values: z.record(z.string(), z.string()),
  versions: z.record(z.string(), z.number()),
  index: z.number(),
});

const grant = z.object({ kind: z.literal("grant"), region: z.string(), serverId: z.number(), epoch: z.number(), invokedMs: z.number(), returnedMs: z.number() });

const shown = z.object({ kind: z.literal("shown"), follower: z.number(), register: z.string(), by: z.enum(["snapshot", "change"]), value: z.string(), version: z.number() });

const outcome = z.enum(["accepted", "merged", "rejected", "unknown"]);

/** A heal report. */
const report = z.object({
  kind: z.literal("report"),
  reportId: z.string(),
  group: z.number(),
  /** What its head counts. */
  accepted: z.number(),
  merged: z.number(),
  rejected: z.number(),
  decidedBefore: z.number(),
  operations: z.array(z.object({ operationId: z.string(), nodeId: z.number(), outcome, reason: z.string(), rule: z.string(), decidedBefore: z.boolean(), index: z.number() })),
});

/** The last word on a kept operation, as a watch heard it. */
const final = z.object({ kind: z.literal("final"), operationId: z.string(), nodeId: z.number(), outcome, reason: z.string(), index: z.number() });

/** A node whose disk was lost, and with it what it kept. */
const lostDisk = z.object({ kind: z.literal("lost-disk"), nodeId: z.number() });

const line = z.discriminatedUnion("kind", [call, read, grant, shown, report, final, lostDisk]);

export type HistoryOperation = z.infer<typeof operation>;
export type HistoryCall = z.infer<typeof call>;
export type HistoryRead = z.infer<typeof read>;
export type HistoryGrant = z.infer<typeof grant>;
export type HistoryShown = z.infer<typeof shown>;

export type HistoryReport = z.infer<typeof report>;
export type HistoryFinal = z.infer<typeof final>;
export type HistoryLostDisk = z.infer<typeof lostDisk>;

/** Everything that was told. */
export interface History {
  readonly calls: readonly HistoryCall[];
  readonly reads: readonly HistoryRead[];
  readonly grants: readonly HistoryGrant[];
  /** What subscribers were shown of registers, each in its order. */
  readonly shown: readonly HistoryShown[];
  readonly reports: readonly HistoryReport[];
  readonly finals: readonly HistoryFinal[];
  readonly lostDisks: readonly HistoryLostDisk[];
}

/** What is known besides the record of the load. */
export interface Beside {
  readonly shown: readonly Shown[];
  readonly reports: readonly ReadReport[];
  readonly lostDisks: readonly number[];
}

/** @param describe what each operation is about */
export function historyOf(record: LoadRecord, beside: Beside, describe: (operation: Operation) => Pick<HistoryOperation, "subject" | "action" | "value" | "region">): History {
  const calls = record.told.map((told): HistoryCall => ({
    kind: "call",
    transactionId: told.transactionId,
    group: told.group,
    invokedMs: told.invokedMs,
    returnedMs: told.end === "decided" ? told.returnedMs : null,
    end: told.end,
    keptBy: told.keptBy,
    operations: told.operations.map((each, at): HistoryOperation => {
      const decision = told.decisions[at];
      const accepted = decision === undefined ? {} : { accepted: decision.outcome === Outcome.ACCEPTED || decision.outcome === Outcome.MERGED };
      return { operationId: each.operationId, type: each.type, serverId: each.serverId, epoch: each.authorityEpoch, ...describe(each), ...accepted, index: decision?.position?.index ?? 0, version: decision?.version ?? 0, mayBeKept: each.allowTentative };
    }),
  }));
  const reads = record.reads.map((each): HistoryRead => ({ kind: "read", ...each, values: Object.fromEntries(each.values), versions: Object.fromEntries(each.versions) }));
  const grants = record.grants.map((each): HistoryGrant => ({ kind: "grant", ...each }));
  return {
    calls, reads, grants,
    shown: beside.shown.map((each): HistoryShown => ({ kind: "shown", ...each })),
    reports: beside.reports.map(({ head: { reportId, groupId, accepted, merged, rejected, decidedBefore }, operations }): HistoryReport => ({
      kind: "report", reportId, group: groupId, accepted, merged, rejected, decidedBefore,
      operations: operations.map((each) => ({ operationId: each.operationId, nodeId: each.nodeId, outcome: nameOf(each.outcome), reason: each.reason, rule: each.rule, decidedBefore: each.decidedBefore, index: each.position?.index ?? 0 })),
    })),
    finals: record.finals.map(({ nodeId, decision: { operationId, outcome: ended, reason, position } }): HistoryFinal => ({ kind: "final", operationId, nodeId, outcome: nameOf(ended), reason, index: position?.index ?? 0 })),
    lostDisks: beside.lostDisks.map((nodeId): HistoryLostDisk => ({ kind: "lost-disk", nodeId })),
  };
}

function nameOf(ended: Outcome): z.infer<typeof outcome> {
  if (ended === Outcome.ACCEPTED) return "accepted";
  if (ended === Outcome.MERGED) return "merged";
  if (ended === Outcome.REJECTED) return "rejected";
  if (ended === Outcome.UNKNOWN) return "unknown";
  throw new Error(`a last word cannot be ${ended}`);
}

export function writeHistory(file: string, history: History): void {
  writeFileSync(file, Object.values(history).flatMap((each: readonly object[]) => each).map((each) => `${JSON.stringify(each)}\n`).join(""));
}

/** @throws Error that names the line, where it is none of a history */
export function readHistory(file: string): History {
  const lines = readFileSync(file, "utf8").split("\n").filter((text) => text.trim() !== "");
  const parsed = lines.map((text, at) => {
    try {
      return line.parse(JSON.parse(text));
    } catch (error) {
      throw new Error(`${file}:${at + 1}: ${error instanceof z.ZodError ? z.prettifyError(error) : String(error)}`, { cause: error });
    }
  });
  return {
    calls: parsed.filter((each) => each.kind === "call"),
    reads: parsed.filter((each) => each.kind === "read"),
    grants: parsed.filter((each) => each.kind === "grant"),
    shown: parsed.filter((each) => each.kind === "shown"),
    reports: parsed.filter((each) => each.kind === "report"),
    finals: parsed.filter((each) => each.kind === "final"),
    lostDisks: parsed.filter((each) => each.kind === "lost-disk"),
  };
}
