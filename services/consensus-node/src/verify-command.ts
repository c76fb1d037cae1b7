// `consensus-node verify`: proves of a running cluster that no item was lost or doubled, or shows the counts as they change.
import { ClusterAdminServiceClient, ClusterAdminServiceService, type ItemConservation, type ItemFlow, MeshError, type Region, type VerifyConservationRequest } from "@statemesh/contract";
import { call, connect, splitAddress } from "@statemesh/service";
import { parseRegion } from "@statemesh/world";
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { program } from "./options.ts";

const TIMEOUT_MS = 30_000;

const DONE = 0;
const FAILED = 1;
const USAGE = 2;
/** Something is not conserved. */
const BROKEN = 3;

interface Flags {
  readonly address: string;
  readonly watch?: number;
  readonly region?: Region;
  readonly player?: string;
  readonly container?: string;
  readonly json?: boolean;
}

/** Runs the command with the arguments behind `verify`; the exit status. */
export async function verifyCommand(args: readonly string[], print: (text: string) => void, complain: (text: string) => void): Promise<number> {
  const command = new Command(`${program.name} verify`)
    .description("Adds up all accounts of a cluster and compares: what was minted less what was burned is what is held. Exit status 3 where it is not.")
    .requiredOption("--address <host:port>", "a node of the cluster", address)
    .option("--watch <seconds>", "instead print the counts that the node keeps, so often, until interrupted", seconds)
    .option("--region <region>", "only what lies in this region, and how it came there", region)
    .option("--player <id>", "only what this player holds, in all groups")
    .option("--container <id>", "only what this container and everything in it holds")
    .option("--json", "print JSON")
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: complain });
  try {
    command.parse([...args], { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? DONE : USAGE;
    throw error;
  }
  const flags = command.opts<Flags>();
  const client = connect(ClusterAdminServiceClient, flags.address, { ownConnection: true });
  const show = (answer: { readonly conserved: boolean; readonly items: readonly ItemConservation[] }): void => print(flags.json === true ? `${JSON.stringify(answer)}\n` : table(answer.items, answer.conserved));
  try {
    if (flags.watch !== undefined) {
      for await (const message of client.watchConservation({ intervalMs: flags.watch * 1_000, itemKinds: [] }) as AsyncIterable<Parameters<typeof show>[0]>) show(message);
      return DONE;
    }
    const answer = await call(client, ClusterAdminServiceService.verifyConservation, { scope: scopeOf(flags) }, { timeoutMs: TIMEOUT_MS, writes: false });
    if (scopeOf(flags) === undefined || flags.json === true) show(answer);
    else print(flowTable(answer.flows, answer.conserved));
    return answer.conserved ? DONE : BROKEN;
  } catch (error) {
    const { reason, message } = MeshError.from(error);
    complain(`${program.name} verify: ${reason}: ${message}\n`);
    return FAILED;
  } finally {
    client.close();
  }
}

function address(value: string): string {
  if (splitAddress(value) === undefined) throw new InvalidArgumentError("must be host:port.");
  return value;
}

function seconds(value: string): number {
  if (!/^[1-9][0-9]?$/.test(value) || Number(value) > 60) throw new InvalidArgumentError("must be whole seconds, 1 to 60.");
  return Number(value);
}

function region(value: string): Region {
  const parsed = parseRegion(value);
  if (parsed === undefined) throw new InvalidArgumentError("must be a region such as region_0_-1_3.");
  return parsed;
}

function scopeOf({ region: at, player, container }: Flags): VerifyConservationRequest["scope"] {
  if (at !== undefined) return { $case: "region", value: at };
  if (player !== undefined) return { $case: "playerId", value: player };
  return container === undefined ? undefined : { $case: "containerId", value: container };
}

const COLUMNS = ["kind", "minted", "burned", "held", "on ground", "in transit", "difference"];

const FLOW_COLUMNS = ["kind", "group", "since", "opening", "minted", "burned", "received", "given", "held", "arriving", "leaving"];

function flowTable(flows: readonly ItemFlow[], conserved: boolean): string {
  const rows = flows.map((it) => [it.itemKind, ...[it.groupId, it.sinceIndex, it.opening, it.minted, it.burned, it.received, it.given, it.held, it.arriving, it.leaving].map(String)]);
  return lined([FLOW_COLUMNS, ...rows], conserved ? "conserved: opening, minted and received less burned and given is held" : "NOT CONSERVED");
}

function table(items: readonly ItemConservation[], conserved: boolean): string {
  const rows = items.map((it) => [it.itemKind, it.exactMinted, it.exactBurned, it.exactHeld, it.exactOnGround, it.exactInTransit, it.difference]);
  return lined([COLUMNS, ...rows], conserved ? "conserved: minted less burned is held, on the ground and in transit" : "NOT CONSERVED");
}

function lined(rows: readonly (readonly string[])[], verdict: string): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) => row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join("  "));
  return `${[...lines, verdict].join("\n")}\n`;
}
