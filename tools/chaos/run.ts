/** One run: a mesh, a load, faults, then quiet, then every check. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Availability, availabilityOf } from "./availability.ts";
import { availabilitySvg } from "./availability-svg.ts";
import { ChaosMesh, GROUPS } from "./chaos-mesh.ts";
import { askAgain } from "./checks/ask-again.ts";
import { type Check, settled } from "./checks/check.ts";
import { describeOperation } from "./checks/describe-operation.ts";
import { compareState, expectedOf } from "./checks/final-state.ts";
import { checkHistory } from "./checks/history-checks.ts";
import { historyOf, writeHistory } from "./checks/history.ts";
import { conserved, converged, eventualConverged } from "./checks/node-checks.ts";
import { caughtUp, compareSql } from "./checks/sql-rows.ts";
import type { FaultKind } from "./fault.ts";
import { type Injected, Injector } from "./injector.ts";
import type { Follower } from "./load/follower.ts";
import { HealReports, notTold, type ReadReport } from "./heal-reports.ts";
import { Load } from "./load/load.ts";
import { examineMachine, type Need, NEEDS } from "./machine.ts";
import { schedule } from "./schedule.ts";
import { Traces } from "./traces.ts";

const CONVERGE_LIMIT_MS = 120_000;
const FOLLOW_LIMIT_MS = 60_000;
const HEAL_LIMIT_MS = 60_000;
const PROGRESS_EVERY_MS = 500;

export interface RunOptions {
  readonly seconds: number;
  readonly seed: number;
  readonly kinds: readonly FaultKind[];
  /** The run's folder stays: logs, disks, history, picture. It stays in any case where something is wrong. */
  readonly keep: boolean;
  /** Where the picture goes; undefined: into the run's folder. */
  readonly svg: string | undefined;
  readonly stop: AbortSignal;
  /** A state that the next one replaces. */
  readonly onProgress: (text: string) => void;
  /** A line that stays. */
  readonly onLine: (text: string) => void;
}

/** What a run came to. */
export interface RunResult {
  readonly seed: number;
  readonly seconds: number;
  readonly faults: readonly Injected[];
  /** Kinds that this machine does not allow, and why. */
  readonly forbidden: readonly { readonly kind: string; readonly why: string }[];
  /** Planned faults that could not be done when their time came. */
  readonly passed: readonly string[];
  readonly counts: { readonly acknowledged: number; readonly refused: number; readonly open: number; readonly reads: number; readonly transactions: number; readonly reasons: Readonly<Record<string, number>> };
  /** Operations that were answered TENTATIVE, and what became of all that cut-off nodes kept. */
  readonly kept: { readonly answeredTentative: number; readonly reports: readonly ReadReport[] };
  readonly availability: Availability;
  readonly checks: readonly Check[];
  readonly anomalies: number;
  /** The run's folder, where it stays. */
  readonly folder: string | undefined;
}

/** Kinds that can be done on this machine, and why the others can't. */
async function allowed(kinds: readonly FaultKind[]): Promise<{ machine: Awaited<ReturnType<typeof examineMachine>>; can: FaultKind[]; forbidden: { kind: string; why: string }[] }> {
  // Namespaces are worth having for any fault: packets then really cross a network.
  const wanted = new Set<Need>(["namespaces", ...kinds.flatMap((kind) => kind.needs)]);
  const machine = await examineMachine(wanted);
  const forbidden: { kind: string; why: string }[] = [];
  const can = kinds.filter((kind) => {
    const missing = kind.needs.filter((need) => machine.missing.has(need));
    if (missing.length > 0) forbidden.push({ kind: kind.name, why: missing.map((need) => `${NEEDS[need]}: ${machine.missing.get(need)}`).join("; ") });
    return missing.length === 0;
  });
  return { machine, can, forbidden };
}

export async function runChaos(options: RunOptions): Promise<RunResult> {
  const traces = await Traces.begin();
  let keep = options.keep;
  try {
    options.onProgress("looking at the machine");
    const { machine, can, forbidden } = await allowed(options.kinds);
    for (const { kind, why } of forbidden) options.onLine(`no ${kind} here: ${why}`);
    if (machine.missing.has("namespaces")) options.onLine(`all nodes on 127.0.0.1: no ${NEEDS.namespaces}: ${machine.missing.get("namespaces")}`);
    if (can.length === 0) throw new Error("none of the faults that were asked for can be done on this machine");
    // From here on there are logs to look at.
    keep = true;
    const mesh = await ChaosMesh.start(machine, traces.folder, options.onProgress);
    try {
      const result = await disturb(mesh, can, forbidden, traces.folder, options);
      keep = options.keep || result.anomalies > 0;
      return { ...result, folder: keep ? traces.folder : undefined };
    } finally {
      await mesh.stop();
    }
  } catch (error) {
    if (keep) options.onLine(`everything is kept in ${traces.folder}`);
    throw error;
  } finally {
    await traces.end(keep);
  }
}

async function disturb(mesh: ChaosMesh, kinds: readonly FaultKind[], forbidden: RunResult["forbidden"], folder: string, options: RunOptions): Promise<Omit<RunResult, "folder">> {
  const { seed, seconds, stop, onProgress, onLine } = options;
  const endpoints = mesh.mesh.endpoints;
  await mesh.registerProbe();
  const load = new Load(endpoints, seed);
  const heals = new HealReports(load.observer);
  try {
    await load.start();
    heals.start();
    const { record } = load;
    const injector = new Injector(mesh, () => record.nowMs());
    const show = setInterval(() => {
      const active = injector.active.map((fault) => fault.what).join("; ");
      onProgress(`${Math.round(record.nowMs() / 1_000)}/${seconds} s  ${record.perSecond.at(-2) ?? 0} a second  ${record.told.length} calls  ${active === "" ? "calm" : active}`);
    }, PROGRESS_EVERY_MS);
    try {
      await injector.run(schedule(seed, kinds), seconds * 1_000, stop);
      await sleep(seconds * 1_000 - record.nowMs(), stop);
    } finally {
      clearInterval(show);
    }
    onProgress("healed; the load ends");
    await load.stop();
    await heals.stop();
    const { availability, anomalies: silences } = availabilityOf(record, injector.done, GROUPS);
    const checks = [{ name: "a majority that is undisturbed serves", detail: `longest silence of a group ${(availability.longestGapMs / 1_000).toFixed(1)} s`, anomalies: silences }, ...(await checkAll(mesh, load, heals, onProgress, folder))];
    const svg = availabilitySvg(availability, injector.done);
    writeFileSync(join(folder, "availability.svg"), svg);
    if (options.svg !== undefined) writeFileSync(options.svg, svg);
    const ends = { decided: 0, refused: 0, open: 0 };
    const reasons: { [reason: string]: number } = {};
    for (const told of record.told) {
      ends[told.end] += 1;
      for (const reason of told.reasons) reasons[reason] = (reasons[reason] ?? 0) + 1;
    }
    const anomalies = checks.reduce((sum, check) => sum + check.anomalies.length, 0);
    if (anomalies > 0) onLine(`anomalies: everything is kept in ${folder}`);
    return {
      seed,
      seconds: Math.round(record.nowMs() / 1_000),
      faults: injector.done,
      forbidden,
      passed: injector.passed,
      counts: { acknowledged: ends.decided, refused: ends.refused, open: ends.open, reads: record.reads.length, transactions: record.told.filter((told) => told.transactionId !== "").length, reasons },
      kept: { answeredTentative: record.told.filter(({ keptBy }) => keptBy.length > 0).length, reports: heals.all },
      availability,
      checks,
      anomalies,
    };
  } finally {
    await heals.stop();
    load.close();
  }
}

/** All checks, in an order in which each finds what the one before has settled. */
async function checkAll(mesh: ChaosMesh, load: Load, heals: HealReports, onProgress: (text: string) => void, folder: string): Promise<Check[]> {
  const checks: Check[] = [];
  const add = async (name: string, check: () => Promise<{ detail: string; anomalies: readonly string[] }>): Promise<void> => {
    onProgress(`checking: ${name}`);
    try {
      checks.push({ name, ...(await check()) });
    } catch (error) {
      checks.push({ name, detail: "", anomalies: [`could not be checked: ${error instanceof Error ? error.message : String(error)}`] });
    }
  };
  const { record } = load;
  await add("no process ended by itself, and callers met no defect", () => Promise.resolve({ detail: `${mesh.mesh.processes.length} processes`, anomalies: [...mesh.crashes, ...load.defects, ...load.servers.flatMap(({ troubles }) => troubles)] }));
  await add("all nodes converge, and hold the same state", async () => ({ detail: `${mesh.nodes.length} nodes`, anomalies: await converged(mesh, CONVERGE_LIMIT_MS) }));
  await add("what cut-off nodes kept is decided, and told to its server by any node", async () => {
    const detail = (): string => `${heals.all.length} heal reports`;
    const lost = new Set(mesh.lostDisks);
    const late = await heals.readUntilListed(record.told.filter(({ keptBy }) => keptBy.some((id) => !lost.has(id))).flatMap(({ operations }) => operations.map((each) => each.operationId)), HEAL_LIMIT_MS);
    return { detail: detail(), anomalies: [...late, ...(await untold(load, heals))] };
  });
  await add("items are conserved", async () => {
    const { kinds, troubles } = await conserved(mesh);
    return { detail: `${kinds} kinds of items, asked of every node`, anomalies: troubles };
  });
  await add("an id has one decision, also when another node is asked", async () => {
    const asked = [mesh.nodes[0], mesh.nodes[3]].flatMap((node) => (node === undefined ? [] : [node.clientAddress]));
    return { detail: `${record.told.length} calls asked again on ${asked.length} nodes`, anomalies: await askAgain(load, asked) };
  });
  await add("subscribers see the end, and no effect before its cause", async () => {
    const late = await settled(() => Promise.resolve(behind(load)), FOLLOW_LIMIT_MS);
    for (const follower of load.followers) await follower.stop();
    const sum = (of: (follower: Follower) => number): number => load.followers.reduce((total, follower) => total + of(follower), 0);
    const detail = `${load.followers.length} subscribers, ${sum((each) => each.snapshots)} snapshots, ${sum((each) => each.lagged)} times lagged, ${sum((each) => each.steps)} steps of quests`;
    return { detail, anomalies: [...late, ...load.followers.flatMap((follower) => follower.troubles)] };
  });
  const history = historyOf(record, { shown: load.followers.flatMap((follower) => follower.shown), reports: heals.all, lostDisks: mesh.lostDisks }, describeOperation);
  writeHistory(join(folder, "history.jsonl"), history);
  for (const check of checkHistory(history)) checks.push(check);
  const expected = expectedOf(record);
  await add("what was acknowledged is there, and nothing else, on every node", async () => {
    const anomalies: string[] = [];
    for (const [at, node] of mesh.nodes.entries()) anomalies.push(...(await compareState(load.servers[0]?.nodes[at] ?? load.servers[0]?.all ?? unreachable(), `node ${node.nodeId}`, load.setting, expected)));
    return { detail: `${expected.entities.size} entities, ${expected.balances.size} balances`, anomalies };
  });
  await add("items are conserved after all questions were asked", async () => {
    const { kinds, troubles } = await conserved(mesh);
    return { detail: `${kinds} kinds of items`, anomalies: troubles };
  });
  await add("eventual values are equal on all nodes", async () => {
    const { keys, troubles } = await eventualConverged(mesh, load.setting, CONVERGE_LIMIT_MS);
    return { detail: `${keys} keys`, anomalies: troubles };
  });
  await add("the region store catches up, and SQL holds what the nodes hold", async () => {
    const late = await caughtUp(mesh, CONVERGE_LIMIT_MS);
    if (late.length > 0) return { detail: "", anomalies: late };
    const { rows, troubles } = await compareSql(mesh, load.servers[0]?.all ?? unreachable(), load.setting, expected);
    return { detail: `${rows} rows`, anomalies: troubles };
  });
  await add("all nodes hold the same state in the end", async () => ({ detail: `${mesh.nodes.length} nodes`, anomalies: await converged(mesh, CONVERGE_LIMIT_MS) }));
  return checks;
}

/** Of the operations that the newest reports list, those whose server asks what became of them and hears nothing. */
async function untold(load: Load, heals: HealReports): Promise<string[]> {
  const kept = new Set((await load.observer.healing.reports()).map(({ reportId }) => reportId));
  const listed = heals.all.filter(({ head }) => kept.has(head.reportId)).flatMap(({ operations }) => operations);
  const troubles: string[] = [];
  for (const server of load.servers) {
    const own = listed.filter(({ serverId }) => serverId === server.serverId).map(({ operationId }) => operationId);
    if (own.length > 0) troubles.push(...(await notTold(server.anyNode(), own)).map((id) => `server ${server.serverId} is not told what became of ${id}`));
  }
  return troubles;
}

/** Subscribers that were not yet shown the last write of a register. */
function behind(load: Load): string[] {
  const last = new Map<string, number>();
  for (const { operations, decisions } of load.record.told) {
    operations.forEach(({ body }, at) => {
      if (body?.$case === "custom") last.set(body.value.entityId, Math.max(last.get(body.value.entityId) ?? 0, decisions[at]?.version ?? 0));
    });
  }
  return load.followers.flatMap((follower, at) => [...last].filter(([register, version]) => follower.versionOf(register) < version).map(([register, version]) => `server ${at + 1} was not shown ${register} at ${version}`));
}

function unreachable(): never {
  throw new Error("a load without servers");
}

async function sleep(ms: number, stop: AbortSignal): Promise<void> {
  if (stop.aborted || ms <= 0) return;
  await new Promise<void>((done) => {
    const timer = setTimeout(done, ms);
    stop.addEventListener("abort", () => {
      clearTimeout(timer);
      done();
    }, { once: true });
  });
}
