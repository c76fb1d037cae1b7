/** A candidate made ready for the walk: its place in the order, its box in centimetres, and what becomes of it. */
import { type Candidate, ConflictType } from "@statemesh/contract";
import { compareUtf8, type QuantizedBounds, quantizeBounds } from "@statemesh/world";
import { orderNumber, type TypeOrder, type TypeOrders } from "./type-order.ts";

const NO_KEYS: readonly string[] = [];

/** One operation of a set. The fields above the line never change; those below are the walk's notes. */
export class Contender {
  readonly candidate: Candidate;
  readonly incumbent: boolean;
  readonly order: TypeOrder;
  /** The four numbers of the order, ascending. */
  readonly first: number;
  readonly second: number;
  readonly third: number;
  readonly fourth: number;
  /** Each once, ordered by UTF-8 bytes. */
  readonly keys: readonly string[];
  /** Undefined also where the type's boxes don't count. */
  readonly bounds: QuantizedBounds | undefined;
  /** Empty where the type's chain has no `merge`. */
  readonly mergeClass: string;

  /** Place in the walk, incumbents first. */
  place = 0;
  /** Number of the last query that found it, so that none finds it twice. */
  foundBy = 0;
  /** In the winner set. */
  kept = false;
  /** The first in force that it merged with. */
  partner: Contender | undefined = undefined;
  /** The first of those that it beat, where it is kept; the first that beat it, where it is not. */
  opponent: Contender | undefined = undefined;
  /** How it met the partner, or else the opponent. */
  conflict: ConflictType = ConflictType.UNSPECIFIED;
  /** It is an incumbent's own operation, asked for again. */
  inForce = false;
  /** Another operation with its id but other content came before it. */
  reusesId = false;
  /** Place among the candidates that differ. */
  rank = 0;

  constructor(candidate: Candidate, incumbent: boolean, orders: TypeOrders) {
    const order = orders.of(candidate.type);
    this.candidate = candidate;
    this.incumbent = incumbent;
    this.order = order;
    this.first = orderNumber(candidate, order.sources[0], orders.defaultPriority);
    this.second = orderNumber(candidate, order.sources[1], orders.defaultPriority);
    this.third = orderNumber(candidate, order.sources[2], orders.defaultPriority);
    this.fourth = orderNumber(candidate, order.sources[3], orders.defaultPriority);
    this.keys = orderedKeys(candidate.keys);
    this.bounds = candidate.bounds === undefined || order.layer === "" ? undefined : quantizeBounds(candidate.bounds);
    this.mergeClass = order.merge ? candidate.mergeClass : "";
  }
}

function orderedKeys(keys: readonly string[]): readonly string[] {
  if (keys.length < 2) return keys.length === 0 ? NO_KEYS : keys;
  return [...new Set(keys)].sort(compareUtf8);
}

/** What tells two operations with one id apart. Built only where an id comes twice. */
export function contentOf(it: Contender): string {
  const { candidate: c, bounds: b } = it;
  const parts: (string | number)[] = [
    c.type, c.serverId, c.priority, c.stamp?.physicalMs ?? 0, c.stamp?.logical ?? 0, c.mergeClass,
    c.region === undefined ? "" : `${c.region.x},${c.region.y},${c.region.z}`,
    b === undefined ? "" : `${b.minX},${b.minY},${b.minZ},${b.maxX},${b.maxY},${b.maxZ}`,
    ...it.keys,
  ];
  // Lengths in front, so that no two lists of texts read the same.
  return parts.map((part) => `${String(part).length}:${part}`).join("");
}

/**
 * The strict total order: negative where `a` comes before `b`. 0 only for two copies of one operation.
 */
export function compareContenders(a: Contender, b: Contender): number {
  if (a.order.family !== b.order.family) return compareUtf8(a.order.family, b.order.family);
  if (a.first !== b.first) return a.first - b.first;
  if (a.second !== b.second) return a.second - b.second;
  if (a.third !== b.third) return a.third - b.third;
  if (a.fourth !== b.fourth) return a.fourth - b.fourth;
  const byId = compareUtf8(a.candidate.operationId, b.candidate.operationId);
  return byId !== 0 ? byId : compareUtf8(contentOf(a), contentOf(b));
}

/** Whether two operations that meet are both kept. */
export function mergeable(a: Contender, b: Contender): boolean {
  return a.mergeClass !== "" && a.mergeClass === b.mergeClass;
}

/**
 * The rule that puts one operation before another: a rule of the chain; `type` where their chains belong to different
 * families; `operation_id_reused` for two contents of one id.
 */
export function separatingRule(a: Contender, b: Contender): string {
  if (a.order.family !== b.order.family) return "type";
  const { rules } = a.order;
  if (a.first !== b.first) return rules[0];
  if (a.second !== b.second) return rules[1];
  if (a.third !== b.third) return rules[2];
  if (a.fourth !== b.fourth) return rules[3];
  return a.candidate.operationId === b.candidate.operationId ? "operation_id_reused" : "operation_id";
}
