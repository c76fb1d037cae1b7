import { AuthorityEvent, type Handoff, type Reason } from "@statemesh/contract";
import { CommandResult } from "@statemesh/contract/log";
import type { LeaseRow } from "./lease-table.ts";

/** What a directory command did, for those who keep time outside of the log and for those who watch. */
export interface DirectoryChange {
  readonly result: CommandResult;
  /** Regions whose owner or epoch changed: their groups need a new fence. */
  readonly fenced: readonly LeaseRow[];
  /** Leases that now run from the beginning. */
  readonly renewed: readonly LeaseRow[];
  /** Servers whose registration now runs from the beginning. */
  readonly alive: readonly number[];
  /** Handoffs whose time begins. */
  readonly prepared: readonly Handoff[];
  /** For those who watch, in order. */
  readonly events: readonly AuthorityEvent[];
}

/** A change while it is made. */
export class ChangeMaking implements DirectoryChange {
  result: CommandResult = CommandResult.fromPartial({});
  readonly fenced: LeaseRow[] = [];
  readonly renewed: LeaseRow[] = [];
  readonly alive: number[] = [];
  readonly prepared: Handoff[] = [];
  readonly events: AuthorityEvent[] = [];

  /** Sets what the caller hears. */
  answer(result: Parameters<typeof CommandResult.fromPartial>[0]): this {
    this.result = CommandResult.fromPartial(result);
    return this;
  }

  tell(event: Parameters<typeof AuthorityEvent.fromPartial>[0]): void {
    this.events.push(AuthorityEvent.fromPartial(event));
  }
}

/** A command that changes nothing. */
export function refused(reason: Reason, message: string, metadata: Readonly<Record<string, string>> = {}): ChangeMaking {
  return new ChangeMaking().answer({ reason, message, metadata: new Map(Object.entries(metadata)) });
}
