/**
 * How the rule chain of a type becomes a place in one strict total order of all candidates, of whatever type. The
 * order looks at nothing but a candidate's own immutable fields, so it is the same in every set and on every machine.
 *
 * Each candidate gets four numbers, compared in ascending order, then its operation id. Chains that run `priority`,
 * `timestamp`, `server_id`, `operation_id` in this order, with or without the first and the third, share one family and
 * are compared by exactly that list; a rule that a chain lacks counts as neutral (default priority, server 0). Any
 * other chain is a family of its own and comes after, families ordered by their text. docs/policy.md tells operators.
 */
import { type Candidate, ConflictType } from "@statemesh/contract";
import type { OperationType, Policy, Rule } from "@statemesh/world";

/** What a number of the order is taken from. */
type Source = "neutral" | "default_priority" | "priority" | "physical" | "logical" | "physical_descending" | "logical_descending" | "server_id";

/** How candidates of one type are ordered, and how they meet others. */
export interface TypeOrder {
  /** Empty for the common family, else the chain's text. */
  readonly family: string;
  readonly sources: readonly [Source, Source, Source, Source];
  /** The rule that each number stands for. */
  readonly rules: readonly [Rule, Rule, Rule, Rule];
  readonly chain: readonly Rule[];
  readonly merge: boolean;
  readonly layer: string;
  /** Conflict of two boxes of the layer. */
  readonly conflict: ConflictType;
}

const COMMON: readonly Rule[] = ["priority", "timestamp", "server_id", "operation_id"];

function isCommon(chain: readonly Rule[]): boolean {
  let at = 0;
  for (const rule of chain) {
    const place = COMMON.indexOf(rule, at);
    if (place < 0) return false;
    at = place + 1;
  }
  return chain.includes("timestamp");
}

/** The sources of a rule, and the rule once for each. */
function sourcesOf(rule: Rule): Source[] {
  switch (rule) {
    case "priority":
      return ["priority"];
    case "timestamp":
      return ["physical", "logical"];
    case "last_write_wins":
      return ["physical_descending", "logical_descending"];
    case "server_id":
      return ["server_id"];
    case "merge":
    case "operation_id":
      return [];
  }
}

function orderOf(type: OperationType): TypeOrder {
  const { merge, layer, conflict } = type;
  const chain = type.chain.filter((rule) => rule !== "merge");
  if (isCommon(chain)) {
    return {
      family: "",
      sources: [chain.includes("priority") ? "priority" : "default_priority", "physical", "logical", chain.includes("server_id") ? "server_id" : "neutral"],
      rules: ["priority", "timestamp", "timestamp", "server_id"],
      chain: type.chain, merge, layer, conflict,
    };
  }
  const sources: Source[] = [];
  const rules: Rule[] = [];
  for (const rule of chain) {
    for (const source of sourcesOf(rule)) {
      sources.push(source);
      rules.push(rule);
    }
  }
  // A chain has at most priority (1), a time (2) and server_id (1) before operation_id.
  const [a = "neutral", b = "neutral", c = "neutral", d = "neutral"] = sources;
  const [p = "operation_id", q = "operation_id", r = "operation_id", s = "operation_id"] = rules;
  return { family: chain.join(","), sources: [a, b, c, d], rules: [p, q, r, s], chain: type.chain, merge, layer, conflict };
}

/** Types that the policy no longer holds can still be in force: they are ordered as a plain first-wins type of the operator's. */
function orderOfUnknown(name: string): TypeOrder {
  return orderOf({
    name, consistency: "strong", chain: ["timestamp", "server_id", "operation_id"], merge: false, stateMerge: undefined, builtIn: false, conflict: ConflictType.KEY, layer: name, tentative: false,
  });
}

/** The orders of a policy's types. */
export class TypeOrders {
  readonly #orders: ReadonlyMap<string, TypeOrder>;
  readonly defaultPriority: number;

  constructor(policy: Policy) {
    this.#orders = new Map(policy.types().map((type) => [type.name, orderOf(type)]));
    this.defaultPriority = policy.defaultPriority;
  }

  of(typeName: string): TypeOrder {
    return this.#orders.get(typeName) ?? orderOfUnknown(typeName);
  }
}

const known = new WeakMap<Policy, TypeOrders>();

/** The orders of a policy, worked out once. */
export function typeOrdersOf(policy: Policy): TypeOrders {
  let orders = known.get(policy);
  if (orders === undefined) {
    orders = new TypeOrders(policy);
    known.set(policy, orders);
  }
  return orders;
}

/** One of the four numbers that order a candidate. */
export function orderNumber(candidate: Candidate, source: Source, defaultPriority: number): number {
  switch (source) {
    case "neutral":
      return 0;
    case "default_priority":
      return -defaultPriority;
    case "priority":
      return -candidate.priority;
    case "physical":
      return candidate.stamp?.physicalMs ?? 0;
    case "logical":
      return candidate.stamp?.logical ?? 0;
    case "physical_descending":
      return -(candidate.stamp?.physicalMs ?? 0);
    case "logical_descending":
      return -(candidate.stamp?.logical ?? 0);
    case "server_id":
      return candidate.serverId;
  }
}
