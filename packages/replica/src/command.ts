import type { Command, DecidedOperation, DirectoryCommand, TransactionCommand } from "@statemesh/contract/log";
import { hasConditions, tellsVersion } from "./conditions.ts";
import { hasFootprints } from "./footprint-table.ts";
import { AUTHORITY_VERSION, CONDITIONS_VERSION, ESCROW_VERSION, FLOWS_VERSION, FOOTPRINTS_VERSION, HEALING_VERSION, MEMBERSHIP_VERSION, TRANSACTIONS_VERSION, VIEWS_VERSION } from "./versions.ts";

/** A command with the lowest version that can apply it. Commands are made here and nowhere else. */
export function commandOf(body: NonNullable<Command["command"]>): Command {
  return { command: body, format: formatOf(body) };
}

function formatOf(body: NonNullable<Command["command"]>): number {
  if (body.$case === "membership") return MEMBERSHIP_VERSION;
  if (body.$case === "view") return VIEWS_VERSION;
  if (body.$case === "countFlows") return FLOWS_VERSION;
  if (body.$case === "escrow" || opensEscrow(body)) return ESCROW_VERSION;
  if (carriesConditions(body)) return CONDITIONS_VERSION;
  // What one group decides alone leaves no footprint elsewhere.
  if (body.$case === "operations") return body.value.operations.some(({ clears }) => clears.length > 0) ? FOOTPRINTS_VERSION : 0;
  if (body.$case === "transaction") return stepHasFootprints(body.value) ? FOOTPRINTS_VERSION : TRANSACTIONS_VERSION;
  if (body.$case === "heal") return body.value.operations.some(({ decided }) => decided !== undefined && hasFootprints([decided])) ? FOOTPRINTS_VERSION : HEALING_VERSION;
  return body.$case === "directory" && needsAuthority(body.value) ? AUTHORITY_VERSION : 0;
}

/** A transaction is decided where it begins or is prepared. */
function opensEscrow(body: NonNullable<Command["command"]>): boolean {
  if (body.$case === "operations") return putsEscrow(body.value.operations);
  if (body.$case !== "transaction") return false;
  const { step } = body.value;
  return (step?.$case === "begin" || step?.$case === "prepare" || step?.$case === "decide") && putsEscrow(step.value.decided);
}

/** Of a transaction what it is to do stands in the log; of all else what was decided, and with which version it was refused. */
function carriesConditions(body: NonNullable<Command["command"]>): boolean {
  if (body.$case === "operations") return body.value.operations.some(tellsVersion);
  if (body.$case === "heal") return body.value.operations.some(({ decided }) => decided !== undefined && tellsVersion(decided));
  if (body.$case !== "transaction") return false;
  const { step } = body.value;
  if (step?.$case === "begin" && step.value.operations.some(({ operation }) => operation !== undefined && hasConditions(operation))) return true;
  return (step?.$case === "begin" || step?.$case === "prepare" || step?.$case === "decide") && step.value.decided.some(tellsVersion);
}

export function putsEscrow(decided: readonly DecidedOperation[]): boolean {
  return decided.some(({ effects }) => effects.some(({ effect }) => effect?.$case === "escrow"));
}

function stepHasFootprints({ step }: TransactionCommand): boolean {
  if (step?.$case === "clear") return true;
  return (step?.$case === "begin" || step?.$case === "prepare" || step?.$case === "decide") && hasFootprints(step.value.decided);
}

/** Whether a node that knows nothing of handoffs, backups and loads would make another state of it. */
export function needsAuthority({ command }: DirectoryCommand): boolean {
  switch (command?.$case) {
    case "register":
      return (command.value.server?.maxRegions ?? 0) > 0;
    case "renew":
      return command.value.load !== undefined || command.value.leases.some(({ players }) => players > 0);
    case "expire":
      return command.value.failover || command.value.silentServerIds.length > 0 || command.value.handoffIds.length > 0;
    case "acquire":
    case "release":
    case undefined:
      return false;
    default:
      return true;
  }
}
