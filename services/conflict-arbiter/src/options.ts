import { type ConfigurationOf, defineProgram, integer, serverOptions, text } from "@statemesh/service";

export const program = defineProgram({
  name: "conflict-arbiter",
  summary: "Finds and decides conflicts between operations by the rules of the policy table. Holds no state of the game: any replica gives the same verdict.",
  version: "0.1.0",
  options: {
    ...serverOptions({ grpc: 7421, metrics: 7521 }),
    policyFile: text({ mustMatch: true, doc: "The policy table, YAML. Without one the built-in table holds." }),
    watchersMax: integer({ default: 256, min: 1, max: 10_000, doc: "Streams of WatchConflicts that may be open, and as many of WatchPartitions; more are refused with OVERLOADED." }),
    watcherQueue: integer({ default: 1_024, min: 1, max: 4_096, doc: "Conflicts that may wait for a slow watcher; further ones are dropped, and the gap in `sequence` says how many." }),
  },
});

export type ArbiterConfiguration = ConfigurationOf<typeof program.options>;
