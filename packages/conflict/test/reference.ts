// The rules again, as slowly and plainly as they can be said: what the fast code is compared with.
import type { Candidate, CandidateSet } from "@statemesh/contract";
import { type OperationType, overlaps, type Policy, quantizeBounds, type Rule } from "@statemesh/world";

const COMMON: Rule[] = ["priority", "timestamp", "server_id", "operation_id"];

function typeOf(it: Candidate, policy: Policy): Pick<OperationType, "chain" | "merge" | "layer"> {
  return policy.typeOf(it.type) ?? { chain: ["timestamp", "server_id", "operation_id"], merge: false, layer: it.type };
}

function chainOf(it: Candidate, policy: Policy): Rule[] {
  return typeOf(it, policy).chain.filter((rule) => rule !== "merge");
}

function isCommon(chain: Rule[]): boolean {
  return chain.includes("timestamp") && chain.join() === COMMON.filter((rule) => chain.includes(rule)).join();
}

function byRule(rule: Rule, a: Candidate, b: Candidate): number {
  const stamps = (a.stamp?.physicalMs ?? 0) - (b.stamp?.physicalMs ?? 0) || (a.stamp?.logical ?? 0) - (b.stamp?.logical ?? 0);
  if (rule === "priority") return b.priority - a.priority;
  if (rule === "timestamp") return stamps;
  if (rule === "last_write_wins") return -stamps;
  if (rule === "server_id") return a.serverId - b.serverId;
  return Buffer.compare(Buffer.from(a.operationId), Buffer.from(b.operationId));
}

/** The rule that sets two candidates apart, and which way. */
export function compare(a: Candidate, b: Candidate, policy: Policy): { rule: string; order: number } {
  const chainA = chainOf(a, policy);
  const chainB = chainOf(b, policy);
  let chain = chainA;
  let [left, right] = [a, b];
  if (isCommon(chainA) && isCommon(chainB)) {
    chain = COMMON;
    const neutral = (it: Candidate, own: Rule[]) => ({
      ...it, priority: own.includes("priority") ? it.priority : policy.defaultPriority, serverId: own.includes("server_id") ? it.serverId : 0,
    });
    [left, right] = [neutral(a, chainA), neutral(b, chainB)];
  } else if (isCommon(chainA) !== isCommon(chainB)) {
    return { rule: "type", order: isCommon(chainA) ? -1 : 1 };
  } else if (chainA.join() !== chainB.join()) {
    return { rule: "type", order: chainA.join() < chainB.join() ? -1 : 1 };
  }
  for (const rule of chain) {
    const order = byRule(rule, left, right);
    if (order !== 0) return { rule, order };
  }
  return { rule: "", order: 0 };
}

export function meet(a: Candidate, b: Candidate, policy: Policy): boolean {
  if (a.keys.some((key) => b.keys.includes(key))) return true;
  const layer = typeOf(a, policy).layer;
  return layer !== "" && layer === typeOf(b, policy).layer && a.bounds !== undefined && b.bounds !== undefined && overlaps(quantizeBounds(a.bounds), quantizeBounds(b.bounds));
}

export function merge(a: Candidate, b: Candidate, policy: Policy): boolean {
  return a.mergeClass !== "" && a.mergeClass === b.mergeClass && typeOf(a, policy).merge && typeOf(b, policy).merge;
}

export function conflicts(a: Candidate, b: Candidate, policy: Policy): boolean {
  return meet(a, b, policy) && !merge(a, b, policy);
}

/** Ids of the winner set and of the losers with whom they met first. All ids must differ. */
export function winners(set: CandidateSet, policy: Policy): { kept: Candidate[]; lost: Map<string, string> } {
  const order = (a: Candidate, b: Candidate) => compare(a, b, policy).order;
  const kept = [...set.incumbents].sort(order);
  const lost = new Map<string, string>();
  for (const it of [...set.candidates].sort(order)) {
    const winner = kept.find((other) => conflicts(other, it, policy));
    if (winner === undefined) kept.push(it);
    else lost.set(it.operationId, winner.operationId);
  }
  return { kept, lost };
}
