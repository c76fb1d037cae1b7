// `consensus-node verify`: proves of a running cluster that no item was lost or doubled, or shows the counts as they change.
import { ClusterAdminServiceClient, ClusterAdminServiceService, type ItemConservation, MeshError } from "@statemesh/contract";
import { call, connect, splitAddress } from "@statemesh/service";
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
  readonly json?: boolean;
}

/** Runs the command with the arguments behind `verify`; the exit status. */
export async function verifyCommand(args: readonly string[], print: (text: string) => void, complain: (text: string) => void): Promise<number> {
  const command = new Command(`${program.name} verify`)
    .description("Adds up all accounts of a cluster and compares: what was minted less what was burned is what is held. Exit status 3 where it is not.")
    .requiredOption("--address <host:port>", "a node of the cluster", address)
    .option("--watch <seconds>", "instead print the counts that the node keeps, so often, until interrupted", seconds)
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
    const answer = await call(client, ClusterAdminServiceService.verifyConservation, {}, { timeoutMs: TIMEOUT_MS, writes: false });
    show(answer);
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

const COLUMNS = ["kind", "minted", "burned", "held", "on ground", "in transit", "difference"];

function table(items: readonly ItemConservation[], conserved: boolean): string {
  const rows = [COLUMNS, ...items.map((it) => [it.itemKind, it.exactMinted, it.exactBurned, it.exactHeld, it.exactOnGround, it.exactInTransit, it.difference])];
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) => row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join("  "));
  return `${[...lines, conserved ? "conserved: minted less burned is held, on the ground and in transit" : "NOT CONSERVED"].join("\n")}\n`;
}
