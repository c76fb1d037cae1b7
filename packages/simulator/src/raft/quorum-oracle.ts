import type { Configuration } from "@statemesh/raft";

/**
 * Whether those for which `agrees` holds decide, counted from the rule as it is written down: more than half, or exactly half
 * with the lowest id; in a joint configuration by both halves. On purpose not the code that the core counts with.
 */
export function mayDecide({ voters, outgoing }: Configuration, agrees: (voter: number) => boolean): boolean {
  return half(voters, agrees) && (outgoing.length === 0 || half(outgoing, agrees));
}

/** Like `mayDecide`, by plain majorities: what decides for nodes of either rule. */
export function surelyDecides({ voters, outgoing }: Configuration, agrees: (voter: number) => boolean): boolean {
  const more = (of: readonly number[]): boolean => of.filter(agrees).length * 2 > of.length;
  return more(voters) && (outgoing.length === 0 || more(outgoing));
}

function half(voters: readonly number[], agrees: (voter: number) => boolean): boolean {
  const twice = voters.filter(agrees).length * 2;
  return twice > voters.length || (twice === voters.length && voters.length > 0 && agrees(Math.min(...voters)));
}
