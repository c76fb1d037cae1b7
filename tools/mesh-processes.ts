/** A whole mesh as real processes on this machine: for `./dev up`, for system tests, for benchmarks. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { isAlive, startTicksOf, waitForEnd } from "./process-identity.ts";
import { ServiceProcess } from "./service-process.ts";
import { StablePorts } from "./stable-ports.ts";

/** Where a process runs, where that is not simply here. */
export interface Placement {
  /** Address that it listens on, an IP. Where it has a `launcher`, that host is its own: the documented ports are taken. */
  readonly host: string;
  /** A program that becomes the service, such as `nsenter --net=FILE`. */
  readonly launcher?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** A consensus node's data folder; default: one under the mesh's. */
  readonly dataDir?: string;
}

/** What to start. */
export interface MeshOptions {
  /** Consensus nodes, 1..9. Default 3. */
  readonly nodes?: number;
  /** Raft groups besides the directory. Default: the service's own. The same for the life of a data folder. */
  readonly groups?: number;
  /** Logs of the write-ahead kind and of the printed kind live here. */
  readonly dataDir: string;
  /** PostgreSQL's URL for the region store; without one the region store is left out. */
  readonly postgres?: string | undefined;
  readonly redis?: string | undefined;
  /** Default true. */
  readonly arbiter?: boolean;
  /** Replicas of the arbiter. Default 1. */
  readonly arbiters?: number;
  /** Default: true where `postgres` is given. */
  readonly regionStore?: boolean;
  /** More flags by service: `consensus-node`, `conflict-arbiter`, `region-store`. */
  readonly extraFlags?: Readonly<Record<string, readonly string[]>>;
  /** What to run as a node instead of the service's own `main.ts`; asked at every start of one. */
  readonly nodeMain?: (nodeId: number) => string | undefined;
  /** True: the services' documented ports, each replaced by another where it is taken. Default: any stable ones. */
  readonly fixedPorts?: boolean;
  /** Where each process runs, by its name (`node-1`, `arbiter`, `arbiter-2`, `region-store`); undefined or left out: on 127.0.0.1. */
  readonly place?: (name: string) => Placement | undefined;
  /** Where a node reaches another, which listens at `address`. Default: there. */
  readonly way?: (from: number, to: number, address: string) => Promise<string>;
  /** Told when a process ends without being asked to, and how. */
  readonly onCrash?: (process: ServiceProcess, how: string) => void;
  /** Told what is being waited for. */
  readonly onProgress?: (text: string) => void;
}

/** A consensus node's process. */
export interface MeshNode extends ServiceProcess {
  readonly nodeId: number;
  readonly clientAddress: string;
}

export class NodeProcess extends ServiceProcess implements MeshNode {
  readonly nodeId: number;

  constructor(nodeId: number, spec: ConstructorParameters<typeof ServiceProcess>[0]) {
    super(spec);
    this.nodeId = nodeId;
  }

  get clientAddress(): string {
    return this.address;
  }
}

/** The cluster id of every mesh that is started here. */
export const LOCAL_CLUSTER = "local";

/** The documented ports. */
export const PORTS = {
  "consensus-node": { grpc: 7401, metrics: 7501 },
  "conflict-arbiter": { grpc: 7421, metrics: 7521 },
  "region-store": { grpc: 7441, metrics: 7541 },
} as const;

const PROCESSES_FILE = "processes.json";

/** A running mesh. */
export class Mesh {
  readonly nodes: readonly MeshNode[];
  readonly arbiters: readonly ServiceProcess[];
  readonly regionStore: ServiceProcess | undefined;
  readonly #dataDir: string;

  constructor(dataDir: string, nodes: readonly MeshNode[], arbiters: readonly ServiceProcess[], regionStore: ServiceProcess | undefined) {
    this.#dataDir = dataDir;
    this.nodes = nodes;
    this.arbiters = arbiters;
    this.regionStore = regionStore;
  }

  /** The first arbiter. */
  get arbiter(): ServiceProcess | undefined {
    return this.arbiters[0];
  }

  /** Client addresses of all nodes. */
  get endpoints(): string[] {
    return this.nodes.map((node) => node.clientAddress);
  }

  /** Every process, in the order in which they start. */
  get processes(): ServiceProcess[] {
    return [this.regionStore, ...this.arbiters, ...this.nodes].filter((each) => each !== undefined);
  }

  /** Stops everything in order: nodes first, so that they hand over what they have, then what they call. */
  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
    await Promise.all([...this.arbiters.map((each) => each.stop()), this.regionStore?.stop()]);
    rmSync(join(this.#dataDir, PROCESSES_FILE), { force: true });
  }

  /** Starts a process that ended by itself again. */
  async restart(process: ServiceProcess): Promise<void> {
    if (!process.running) process.launch();
    recordProcesses(this.#dataDir, this);
    await process.waitUntilServing();
  }

  /** SIGKILL to everything. */
  async kill(): Promise<void> {
    await Promise.all(this.processes.map((each) => each.kill()));
  }
}

/** Layouts that are tried, where others on this machine take ports between our look and our use. */
const LAYOUTS_MAX = 5;

/**
 * Starts a mesh and waits until every service serves. What a run that was killed left behind in the data folder is
 * ended first. Where a service does not start, everything is stopped and the error shows the end of its log.
 */
export async function startMesh(options: MeshOptions): Promise<Mesh> {
  const dataDir = resolve(options.dataDir);
  mkdirSync(dataDir, { recursive: true });
  await endLeftovers(dataDir);
  for (let attempt = 1; ; attempt++) {
    try {
      return await launchMesh(dataDir, options);
    } catch (error) {
      if (attempt === LAYOUTS_MAX || !(error instanceof Error && error.message.includes("address already in use"))) throw error;
    }
  }
}

async function launchMesh(dataDir: string, options: MeshOptions): Promise<Mesh> {
  const mesh = await layOut(dataDir, options);
  // What does not even start is not started again.
  let serves = false;
  for (const each of mesh.processes) each.onCrash((how) => (serves ? options.onCrash?.(each, how) : undefined));
  try {
    for (const each of mesh.processes) each.launch();
    recordProcesses(dataDir, mesh);
    for (const each of mesh.processes) {
      options.onProgress?.(`waiting for ${each.spec.name} at ${each.address}`);
      await each.waitUntilServing();
    }
  } catch (error) {
    await mesh.kill();
    throw error;
  }
  serves = true;
  return mesh;
}

async function layOut(dataDir: string, options: MeshOptions): Promise<Mesh> {
  const ports = new StablePorts();
  const fixed = options.fixedPorts === true;
  const spec = async (service: keyof typeof PORTS, name: string, offset: number, flags: readonly string[]) => {
    const { host = "127.0.0.1", launcher = [], environment = {} } = options.place?.(name) ?? {};
    const port = async (documented: number): Promise<number> => (launcher.length > 0 ? documented : await ports.take(fixed ? documented + offset : undefined));
    const address = `${host}:${await port(PORTS[service].grpc)}`;
    const metricsAddress = `${host}:${await port(PORTS[service].metrics)}`;
    const own = ["--listen-address", address, "--metrics-address", metricsAddress, ...flags, ...(options.extraFlags?.[service] ?? [])];
    return { name, service, flags: own, address, metricsAddress, logFile: join(dataDir, "logs", `${name}.log`), launcher, environment };
  };

  const arbiters: ServiceProcess[] = [];
  for (let at = 0; options.arbiter !== false && at < (options.arbiters ?? 1); at++) {
    arbiters.push(new ServiceProcess(await spec("conflict-arbiter", at === 0 ? "arbiter" : `arbiter-${at + 1}`, at, [])));
  }
  let regionStore: ServiceProcess | undefined;
  if (options.regionStore ?? options.postgres !== undefined) {
    const flags = options.postgres === undefined ? [] : ["--database-url", options.postgres];
    if (options.redis !== undefined) flags.push("--redis-url", options.redis);
    regionStore = new ServiceProcess(await spec("region-store", "region-store", 0, flags));
  }

  const count = options.nodes ?? 3;
  const specs: Awaited<ReturnType<typeof spec>>[] = [];
  for (let at = 0; at < count; at++) specs.push(await spec("consensus-node", `node-${at + 1}`, at, []));
  const peersOf = async (own: number): Promise<string> => {
    const way = async (to: number, address: string): Promise<string> => (options.way === undefined || to === own ? address : await options.way(own, to, address));
    return (await Promise.all(specs.map(async ({ address }, at) => `${at + 1}=${await way(at + 1, address)}`))).join(",");
  };
  const peers = await Promise.all(specs.map(async (_, at) => peersOf(at + 1)));
  const nodes = specs.map((each, at) => {
    const flags = ["--node-id", String(at + 1), "--cluster-id", LOCAL_CLUSTER, "--peers", peers[at] ?? "", "--advertise-address", each.address];
    flags.push("--data-dir", options.place?.(each.name)?.dataDir ?? join(dataDir, each.name));
    if (options.groups !== undefined) flags.push("--groups", String(options.groups));
    if (arbiters.length > 0) flags.push("--arbiter-address", arbiters.map(({ address }) => address).join(","));
    if (regionStore !== undefined) flags.push("--region-store-address", regionStore.address);
    return new NodeProcess(at + 1, { ...each, flags: [...flags, ...each.flags], main: () => options.nodeMain?.(at + 1) });
  });
  return new Mesh(dataDir, nodes, arbiters, regionStore);
}

interface RecordedProcess {
  readonly name: string;
  readonly pid: number;
  /** Tells the process apart from a later one with the same id. */
  readonly startTicks: string | undefined;
}

function recordProcesses(dataDir: string, mesh: Mesh): void {
  const processes: RecordedProcess[] = mesh.processes.filter((each) => each.running).map((each) => ({ name: each.spec.name, pid: each.pid, startTicks: startTicksOf(each.pid) }));
  const path = join(dataDir, PROCESSES_FILE);
  writeFileSync(`${path}.new`, JSON.stringify(processes));
  renameSync(`${path}.new`, path);
}

/** Ends services of a run that was killed a moment ago: their watchdogs do it too, but they may still hold the folder. */
async function endLeftovers(dataDir: string): Promise<void> {
  const path = join(dataDir, PROCESSES_FILE);
  if (!existsSync(path)) return;
  for (const { name, pid, startTicks } of JSON.parse(readFileSync(path, "utf8")) as RecordedProcess[]) {
    // Without start times (no /proc) the watchdogs have to do: a process id alone may be a stranger's by now.
    const ours = (): boolean => startTicks !== undefined && isAlive(pid) && startTicksOf(pid) === startTicks;
    if (!ours() || (await waitForEnd(pid, 2_000)) || !ours()) continue;
    process.kill(pid, "SIGKILL");
    if (!(await waitForEnd(pid, 5_000))) throw new Error(`${name} of an earlier run (process ${pid}) does not end`);
  }
  rmSync(path, { force: true });
}
