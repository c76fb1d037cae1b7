/** What two processes compare to know whether they go by the same policy: not its file, but all that follows from it. */
import type { MergeSpec } from "@statemesh/merge";
import type { OperationType, PolicyTable } from "./policy.ts";

type Canonical = string | number | boolean | readonly Canonical[];

/** 16 hexadecimal digits (FNV-1a of 64 bits): equal tables give equal ones, in whatever order their files say things. */
export function policyDigest(table: PolicyTable): string {
  const { defaultPriority, compensationWindowMs, maxOffsetMs, concurrencyWindowMs } = table;
  const types = [...table.types].sort((a, b) => (a.name < b.name ? -1 : 1)).map(typeRow);
  const priorities = [...table.priorities].sort(([a], [b]) => a - b);
  const canonical: Canonical = [types, defaultPriority, priorities, compensationWindowMs, maxOffsetMs, concurrencyWindowMs];
  let hash = 0xcbf2_9ce4_8422_2325n;
  for (const byte of new TextEncoder().encode(JSON.stringify(canonical))) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100_0000_01b3n);
  return hash.toString(16).padStart(16, "0");
}

function typeRow({ name, consistency, chain, stateMerge, builtIn, conflict, layer, tentative }: OperationType): Canonical {
  return [name, consistency, chain, stateMerge === undefined ? "" : mergeOf(stateMerge.spec), builtIn, conflict, layer, tentative];
}

/** Fields by name: their order does not count. */
function mergeOf(spec: MergeSpec): Canonical {
  if (typeof spec === "string") return spec;
  return [...spec].sort(([a], [b]) => (a < b ? -1 : 1)).map(([field, part]) => [field, mergeOf(part)]);
}
