// What a simulated mesh decides by: a policy file that is tried out, or one of the simulator's own, with types of each kind.
import { type Policy, parsePolicy } from "@statemesh/world";

/** A small studio's: the rules of built-in types as they are by default, and types of its own with every consistency and every merge. */
const STUDIO_POLICY_TEXT = `version: 1
types:
  spell: {consistency: strong, chain: [priority, timestamp, server_id], tentative: true}
  guild: {consistency: strong, chain: [last_write_wins, server_id]}
  growth: {consistency: strong, chain: [timestamp], merge: true}
  vault: {consistency: strong, chain: [timestamp], merge: counter, tentative: true}
  bag: {consistency: strong, chain: [timestamp], merge: set}
  banner: {consistency: strong, chain: [priority, timestamp], merge: last_write_wins}
  soil: {consistency: strong, chain: [timestamp], merge: terrain}
  rooms: {consistency: strong, chain: [timestamp], merge: tree}
  hero: {consistency: strong, chain: [priority, timestamp], merge: {fields: {hp: counter, bag: set, title: last_write_wins, tale: {fields: {chapters: tree}}}}}
  weather: {consistency: eventual, chain: [last_write_wins, server_id]}
  rumour: {consistency: causal, chain: [last_write_wins, server_id]}
`;

let last: { readonly text: string; readonly policy: Policy } | undefined;

/** @throws PolicyError where the text is none; who takes it from a person looks before */
export function policyOfRun(text: string): Policy {
  // Runs of one process mostly go by one.
  if (last?.text !== text) last = { text, policy: text === "" ? parsePolicy(STUDIO_POLICY_TEXT, "the simulator's policy") : parsePolicy(text, "the policy of the plan") };
  return last.policy;
}
