// `consensus-node wal inspect` and `wal verify`: looks at the log and the snapshots of a node that does not run, or at a copy of its folder.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { FolderDisk } from "@statemesh/ports";
import { type LogReport, inspect } from "@statemesh/wal";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { lockFolder } from "./folder-lock.ts";
import { DATA_DIR, program } from "./options.ts";

/** Entries that are listed at most. */
const ENTRIES_LISTED = 1_000;

const CLEAN = 0;
const DAMAGED = 1;
const USAGE = 2;

/** Something that the caller can set right. */
class UsageError extends Error {
  override readonly name = "UsageError";
}

interface Flags {
  readonly dataDir: string;
  readonly group?: number;
  readonly from?: number;
  readonly json?: boolean;
}

/** Runs the command with the arguments behind `wal`; the exit status. */
export async function walCommand(args: readonly string[], print: (text: string) => void, complain: (text: string) => void): Promise<number> {
  let status = CLEAN;
  const command = new Command(`${program.name} wal`).description("Looks at the log and the snapshots of a node that does not run, or at a copy of its folder. Changes nothing.").helpCommand(false);
  command
    .command("inspect")
    .description("print segments, groups, snapshots and damage; with --group the group's entries too")
    .option("--group <id>", "list the entries of this group", whole)
    .option("--from <index>", `list entries from this index on, ${ENTRIES_LISTED.toLocaleString("en")} at most`, whole)
    .action(async (_: unknown, each: Command) => {
      const flags = each.opts<Flags>();
      if (flags.from !== undefined && flags.group === undefined) throw new UsageError("--from: needs --group");
      const report = await read(flags);
      if (flags.group !== undefined && report.groups.every(({ groupId }) => groupId !== flags.group)) throw new UsageError(`--group: the log has no group ${flags.group}`);
      print(flags.json === true ? json(report) : inspection(report, flags.group));
    });
  command
    .command("verify")
    .description("check everything; status 0: clean, 1: damaged, 2: could not be checked")
    .action(async (_: unknown, each: Command) => {
      const flags = each.opts<Flags>();
      const report = await read(flags);
      const lacking = report.groups.filter(({ loss }) => loss !== undefined);
      if (report.damage.length > 0 || lacking.length > 0) status = DAMAGED;
      print(flags.json === true ? json({ clean: status === CLEAN, damage: report.damage, lacking: lacking.map(({ groupId, loss }) => ({ groupId, ...loss })), tornBytes: report.tornBytes }) : verdict(report));
    });
  for (const each of command.commands) {
    each.addOption(new Option("--data-dir <folder>", "the node's folder").default(DATA_DIR).env("STATEMESH_DATA_DIR")).option("--json", "print JSON");
  }
  for (const each of [command, ...command.commands]) each.exitOverride().configureOutput({ writeOut: print, writeErr: complain });
  try {
    await command.parseAsync([...args], { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? CLEAN : USAGE;
    if (!(error instanceof UsageError)) throw error;
    complain(`${program.name} wal: ${error.message}\n`);
    return USAGE;
  }
  return status;
}

function whole(value: string): number {
  if (!/^[0-9]{1,15}$/.test(value)) throw new InvalidArgumentError("must be a whole number.");
  return Number(value);
}

async function read({ dataDir, group, from }: Flags): Promise<LogReport> {
  if (!existsSync(join(dataDir, "wal"))) throw new UsageError(`--data-dir: ${dataDir} is no node's folder: it has no folder wal`);
  const lock = await lockFolder(dataDir).catch((error: unknown) => {
    throw new UsageError(`--data-dir: ${error instanceof Error ? error.message : "cannot be locked"}; stop the node, or look at a copy`);
  });
  try {
    const snapshots = join(dataDir, "snapshots");
    if (!existsSync(snapshots)) throw new UsageError(`--data-dir: ${dataDir} is no node's folder: it has no folder snapshots`);
    return await inspect({ wal: await FolderDisk.open(join(dataDir, "wal")), snapshots: await FolderDisk.open(snapshots) }, { groupId: group, from, limit: ENTRIES_LISTED });
  } finally {
    lock.close();
  }
}

function json(value: unknown): string {
  return `${JSON.stringify(value, (_, each: unknown) => (each instanceof Map ? Object.fromEntries(each) : each), 2)}\n`;
}

function inspection(report: LogReport, group: number | undefined): string {
  const lines: string[] = [];
  for (const { file, format, bytes, frames, records, groups } of report.segments) {
    const held = [...groups].sort(([a], [b]) => a - b).map(([groupId, { first, last }]) => `${groupId}:${first}..${last}`);
    lines.push(`${file}  format ${format}, ${bytes} bytes, ${frames} frames, ${records} records  entries ${held.length === 0 ? "none" : held.join(" ")}`);
  }
  for (const { groupId, hardState: { term, vote, commit }, snapshot, first, end, entries, bytes, loss } of report.groups) {
    lines.push(`group ${groupId}  term ${term}, vote ${vote}, commit ${commit}, snapshot ${snapshot === undefined ? "none" : `${snapshot.index} of term ${snapshot.term}`}, entries ${entries === 0 ? "none" : `${first}..${end.index}`}, ${bytes} bytes, last term ${end.term}`);
    if (loss !== undefined) lines.push(`group ${groupId}  lacks what it once held: ${lossText(loss)}`);
  }
  for (const { file, meta, inUse } of report.snapshots) {
    lines.push(`${file}  ${meta === undefined ? "damaged" : `term ${meta.term}, ${meta.size} bytes, voters ${meta.voters.join(",")}`}${inUse ? "" : ", not in use"}`);
  }
  for (const file of report.setAside) lines.push(`${file}  set aside because of earlier damage`);
  if (group !== undefined) for (const { index, term, kind, bytes } of report.entries) lines.push(`entry ${index}  term ${term}, kind ${kind}, ${bytes} bytes`);
  return `${lines.join("\n")}\n${verdict(report)}`;
}

function lossText({ end, isEndKnown, isVoteKnown }: NonNullable<LogReport["groups"][number]["loss"]>): string {
  return `its log went to ${isEndKnown ? "" : "at least "}entry ${end.index} of term ${end.term}${isVoteKnown ? "" : "; a later vote may be forgotten"}`;
}

function verdict({ damage, groups, tornBytes }: LogReport): string {
  const lines = damage.map(({ kind, file, offset, bytes, reason }) => `${file}: ${kind} damaged at byte ${offset}${bytes === 0 ? "" : `, ${bytes} bytes`}: ${reason}`);
  for (const { groupId, loss } of groups) if (loss !== undefined) lines.push(`group ${groupId}: ${lossText(loss)}`);
  if (tornBytes > 0) lines.push(`an unfinished write of ${tornBytes} bytes at the end, as a crash leaves it: the next start cuts it off`);
  if (damage.length === 0 && groups.every(({ loss }) => loss === undefined)) lines.push("clean");
  return `${lines.join("\n")}\n`;
}
