// The programs of all services: what their options are, by the definitions that they read themselves.
import type { OptionTable, Program } from "@statemesh/service";
import { program as conflictArbiter } from "../services/conflict-arbiter/src/options.ts";
import { program as consensusNode } from "../services/consensus-node/src/options.ts";
import { regionStoreProgram as regionStore } from "../services/region-store/src/configuration.ts";

/** By the name of the service's folder, which is the program's name too. */
export const PROGRAMS: Readonly<Record<string, Program<OptionTable>>> = {
  "conflict-arbiter": conflictArbiter,
  "consensus-node": consensusNode,
  "region-store": regionStore,
};
