// `consensus-node heal-report`: what became of operations that were kept while their nodes were cut off, asked of a running cluster.
import { type HealedOperation, type HealReport, HealingServiceClient, HealingServiceService, MeshError, Outcome, outcomeToJSON } from "@statemesh/contract";
import { call, connect, splitAddress } from "@statemesh/service";
import { formatRegion } from "@statemesh/world";
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { program } from "./options.ts";

const TIMEOUT_MS = 10_000;
const PAGE = 1_000;

const DONE = 0;
const FAILED = 1;
const USAGE = 2;

interface Flags {
  readonly address: string;
  readonly group?: number;
  readonly report?: string;
  readonly stale?: boolean;
  readonly json?: boolean;
}

/** Runs the command with the arguments behind `heal-report`; the exit status. */
export async function healReportCommand(args: readonly string[], print: (text: string) => void, complain: (text: string) => void): Promise<number> {
  const command = new Command(`${program.name} heal-report`)
    .description("Lists the heal reports of a cluster, or prints one with all its operations: what became of those that were kept while their nodes were cut off.")
    .requiredOption("--address <host:port>", "a node of the cluster", address)
    .option("--group <id>", "only reports of this group", whole)
    .option("--report <id>", "print this report with its operations; `all`: every one")
    .option("--stale", "what the node holds, without asking the others")
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
  const client = connect(HealingServiceClient, flags.address, { ownConnection: true });
  try {
    const reports = flags.report === undefined || flags.report === "all" ? await listed(client, flags) : [];
    if (flags.report === undefined) print(flags.json === true ? json(reports) : overview(reports));
    else {
      const wanted = flags.report === "all" ? reports.map(({ reportId }) => reportId) : [flags.report];
      const whole = [];
      for (const reportId of wanted) whole.push(await fetched(client, reportId, flags));
      print(flags.json === true ? json(whole) : whole.map(({ report, operations }) => detail(report, operations)).join("\n"));
    }
    return DONE;
  } catch (error) {
    const { reason, message } = MeshError.from(error);
    complain(`${program.name} heal-report: ${reason}: ${message}\n`);
    return FAILED;
  } finally {
    client.close();
  }
}

function address(value: string): string {
  if (splitAddress(value) === undefined) throw new InvalidArgumentError("must be host:port.");
  return value;
}

function whole(value: string): number {
  if (!/^[0-9]{1,4}$/.test(value)) throw new InvalidArgumentError("must be a whole number.");
  return Number(value);
}

async function listed(client: HealingServiceClient, { group, stale = false }: Flags): Promise<HealReport[]> {
  const reports: HealReport[] = [];
  let pageToken = "";
  do {
    const request = { groupId: group, stale, pageSize: PAGE, pageToken };
    const page = await call(client, HealingServiceService.listHealReports, request, { timeoutMs: TIMEOUT_MS, writes: false });
    for (const report of page.reports) reports.push(report);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return reports;
}

async function fetched(client: HealingServiceClient, reportId: string, { stale = false }: Flags): Promise<{ report: HealReport | undefined; operations: HealedOperation[] }> {
  const operations: HealedOperation[] = [];
  let report: HealReport | undefined;
  let pageToken = "";
  do {
    const page = await call(client, HealingServiceService.getHealReport, { reportId, stale, pageSize: PAGE, pageToken }, { timeoutMs: TIMEOUT_MS, writes: false });
    report = page.report;
    for (const operation of page.operations) operations.push(operation);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return { report, operations };
}

function json(value: unknown): string {
  return `${JSON.stringify(value, (_, each: unknown) => (each instanceof Map ? Object.fromEntries(each) : each), 2)}\n`;
}

function overview(reports: readonly HealReport[]): string {
  if (reports.length === 0) return "no heal reports: nothing was kept during a partition, as far as is remembered\n";
  return reports.map((report) => `${heading(report)}\n`).join("");
}

function heading({ reportId, groupId, beganMs, endedMs, sides, accepted, merged, rejected, decidedBefore }: HealReport): string {
  const cutOff = sides.filter(({ decided }) => !decided).map(({ nodeIds, viewEpoch }) => `${nodeIds.join(",")}${viewEpoch === 0 ? "" : ` (view ${viewEpoch})`}`);
  const counts = `accepted ${accepted}, merged ${merged}, rejected ${rejected}, decided before ${decidedBefore}`;
  return `${reportId}  group ${groupId}, ${time(beganMs)} to ${time(endedMs)}, cut off: ${cutOff.join("; ")}  ${counts}`;
}

function detail(report: HealReport | undefined, operations: readonly HealedOperation[]): string {
  if (report === undefined) return "";
  const lines = operations.map(({ operationId, type, serverId, region, outcome, rule, winnerOperationId, reason, nodeId, decidedBefore }) => {
    const won = winnerOperationId === "" || winnerOperationId === operationId ? "" : `, winner ${winnerOperationId}`;
    const why = reason === "" ? "" : ` ${reason}`;
    const place = region === undefined ? "" : formatRegion(region);
    return `  ${operationId}  ${outcomeToJSON(outcome).replace("OUTCOME_", "")}${why} by ${rule}${won}  ${type}, server ${serverId}, ${place}, kept by node ${nodeId}${decidedBefore ? (outcome === Outcome.UNKNOWN ? ", maybe decided before" : ", decided before") : ""}`;
  });
  return `${[heading(report), ...lines].join("\n")}\n`;
}

function time(ms: number): string {
  return ms === 0 ? "-" : new Date(ms).toISOString();
}
