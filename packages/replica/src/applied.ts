import type { Decision, EntityChange } from "@statemesh/contract";
import type { CommandResult, DecidedOperation } from "@statemesh/contract/log";
import type { DirectoryChange } from "./directory-change.ts";
import type { FenceRow } from "./group-state.ts";
import type { AppliedStep } from "./transaction-steps.ts";

/** What became of one operation of an entry. */
export interface AppliedOperation {
  readonly operationId: string;
  /** The decision; where the operation was fenced, undefined. */
  readonly decision: Decision | undefined;
  /** Set where the region had another epoch or owner by the time the entry was applied: nothing was changed. */
  readonly fence: FenceRow | undefined;
}

/** What an entry did. */
export interface Applied {
  /** The operations of the entry as they were decided. */
  readonly decided: readonly DecidedOperation[];
  readonly operations: readonly AppliedOperation[];
  readonly changes: readonly EntityChange[];
  readonly directory: DirectoryChange | undefined;
  /** The members on record, or the cluster's version, may have changed. */
  readonly membership: boolean;
  readonly commandResult: CommandResult | undefined;
  /** What was decided clears footprints in other groups: keys of what is on record until they are gone. */
  readonly clearing?: readonly string[];
  /** A step of a transaction across groups. */
  readonly transaction?: AppliedStep;
}
