import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ClientReadableStream, credentials } from "@grpc/grpc-js";
import { ConsistencyServiceClient, SubscribeRequest, type SubscribeResponse } from "@statemesh/contract";
import { ConfigurationError, loadConfiguration } from "@statemesh/service";
import { afterEach, describe, expect, test } from "vitest";
import { PROGRAMS } from "../../tools/programs.ts";
import { nodeProgram } from "../../tools/service-process.ts";
import { StablePorts } from "../../tools/stable-ports.ts";
import { type Cluster, LIMIT_MS, regionsOfGroup, startCluster, until } from "./cluster.ts";

const PROJECT = join(import.meta.dirname, "../..");

interface Ended {
  readonly status: number | null;
  readonly signal: string | null;
  readonly output: string;
}

/** A service's process, with what it prints. */
class Program {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  output = "";

  constructor(service: string, flags: readonly string[], environment: Readonly<Record<string, string>> = {}) {
    this.child = spawn(nodeProgram(), [join(PROJECT, "services", service, "src/main.ts"), ...flags], { cwd: PROJECT, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...environment } });
    this.child.stdout?.on("data", (chunk: Buffer) => (this.output += chunk.toString()));
    this.child.stderr?.on("data", (chunk: Buffer) => (this.output += chunk.toString()));
    this.ended = new Promise((done) => this.child.once("close", (status, signal) => done({ status, signal, output: this.output })));
  }
}

/** Runs a service that is to end by itself. */
async function run(service: string, flags: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const program = new Program(service, flags, environment);
  const timer = setTimeout(() => program.child.kill("SIGKILL"), 2 * LIMIT_MS);
  const ended = await program.ended;
  clearTimeout(timer);
  return ended;
}

const PEERS = ["--peers", "1=127.0.0.1:7401"];

describe("a service that is started wrongly", () => {
  const wrong: readonly (readonly [string, string, readonly string[], string, Readonly<Record<string, string>>?])[] = [
    ["an option that is none", "consensus-node", ["--no-such-option", "1"], "--no-such-option"],
    ["a node id of nonsense", "consensus-node", [...PEERS, "--node-id", "one"], "--node-id"],
    ["a node id of 0", "consensus-node", [...PEERS, "--node-id", "0"], "--node-id"],
    ["no node id", "consensus-node", PEERS, "--node-id"],
    ["no peers", "consensus-node", ["--node-id", "1"], "--peers"],
    ["nodes of nonsense to join", "consensus-node", ["--join", "here"], "--join"],
    ["peers of nonsense", "consensus-node", ["--node-id", "1", "--peers", "here"], "--peers"],
    ["peers without the node itself", "consensus-node", ["--node-id", "2", ...PEERS], "--peers"],
    ["a peer twice", "consensus-node", ["--node-id", "1", "--peers", "1=a:1,1=b:2"], "--peers"],
    ["an address of nonsense", "consensus-node", ["--node-id", "1", ...PEERS, "--listen-address", "nowhere"], "--listen-address"],
    ["an election faster than its heartbeat", "consensus-node", ["--node-id", "1", ...PEERS, "--election-ticks", "3", "--heartbeat-ticks", "5"], "--election-ticks"],
    ["leases that no heartbeat could keep up", "consensus-node", ["--node-id", "1", ...PEERS, "--lease-reads", "--election-ticks", "10", "--heartbeat-ticks", "8"], "--lease-reads"],
    ["1,001 groups", "consensus-node", ["--node-id", "1", ...PEERS, "--groups", "1001"], "--groups"],
    ["a wrong environment variable", "consensus-node", ["--node-id", "1", ...PEERS], "STATEMESH_TICK_MS", { STATEMESH_TICK_MS: "never" }],
    ["a log level that is none", "conflict-arbiter", ["--log-level", "loud"], "--log-level"],
    ["a flag without a value", "conflict-arbiter", ["--watchers-max"], "--watchers-max"],
    ["no database", "region-store", [], "--database-url"],
    ["a database that is no URL", "region-store", ["--database-url", "mysql://x"], "--database-url"],
  ];

  /** What the options themselves refuse is asked of them here: a process for each would cost more than it shows. */
  function refusal(service: string, flags: readonly string[], environment: Readonly<Record<string, string>>): ConfigurationError | undefined {
    const program = PROGRAMS[service];
    if (program === undefined) throw new Error(`no program ${service}`);
    try {
      loadConfiguration(program, flags, environment);
      return undefined;
    } catch (error) {
      if (error instanceof ConfigurationError) return error;
      throw error;
    }
  }

  const processes = new Set<string>();
  for (const [what, service, flags, option, environment] of wrong) {
    const refused = refusal(service, flags, environment ?? {});
    if (refused !== undefined && processes.has(service)) {
      test(`${service} refuses ${what} and names ${option}`, () => {
        expect(refused.message).toContain(option);
        expect(refused.message.split("\n").length).toBeLessThan(10);
      });
      continue;
    }
    if (refused !== undefined) processes.add(service);
    test.concurrent(`${service} with ${what} ends with status 2 and names ${option}`, async () => {
      const { status, output } = await run(service, flags, { STATEMESH_DATA_DIR: join(tmpdir(), "statemesh-never-made"), ...environment });
      expect(output).toContain(option);
      expect(status).toBe(2);
      expect(output.split("\n").length, `more than a message:\n${output}`).toBeLessThan(10);
    });
  }

  test("a policy file that is not there, or broken, is named", async () => {
    const { status, output } = await run("conflict-arbiter", ["--policy-file", "/no/such/policy.yaml", "--listen-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"]);
    expect(output).toContain("/no/such/policy.yaml");
    expect(status).toBe(2);
  });

  test("a port that is taken is named, by every service", async () => {
    const taken = createServer();
    await new Promise<void>((done) => taken.listen(0, "127.0.0.1", done));
    const address = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
    const folder = mkdtempSync(join(tmpdir(), "statemesh-taken-"));
    const flags: Record<string, string[]> = {
      "consensus-node": ["--node-id", "1", "--peers", `1=${address}`, "--data-dir", folder],
      "conflict-arbiter": [],
      "region-store": ["--database-url", "postgresql://nobody@127.0.0.1:9/none"],
    };
    await Promise.all(Object.entries(flags).map(async ([service, more]) => {
      const { status, output } = await run(service, [...more, "--listen-address", "127.0.0.1:0", "--metrics-address", address]);
      expect(output, service).toContain("cannot start");
      expect(output, service).toContain(`cannot listen on ${address}`);
      expect(status, service).toBe(1);
    }));
    taken.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test("--help shows every option and ends with status 0", async () => {
    for (const service of ["consensus-node", "conflict-arbiter", "region-store"]) {
      const { status, output } = await run(service, ["--help"]);
      expect(status).toBe(0);
      expect(output).toContain("--listen-address");
    }
  });
});

describe("a node and its folder", () => {
  let folder = "";
  const programs: Program[] = [];

  afterEach(async () => {
    for (const program of programs.splice(0)) {
      program.child.kill("SIGKILL");
      await program.ended;
    }
    rmSync(folder, { recursive: true, force: true });
  });

  async function flags(more: readonly string[]): Promise<{ flags: string[]; metrics: string }> {
    const ports = new StablePorts();
    const address = `127.0.0.1:${await ports.take()}`;
    const metrics = `127.0.0.1:${await ports.take()}`;
    return { flags: ["--node-id", "1", "--peers", `1=${address}`, "--listen-address", address, "--metrics-address", metrics, "--data-dir", join(folder, "data"), ...more], metrics };
  }

  /** Starts a node and waits until it is ready. */
  async function start(more: readonly string[]): Promise<Program> {
    const { flags: all, metrics } = await flags(more);
    const program = new Program("consensus-node", all);
    programs.push(program);
    await until("the node is ready", async () => await isReady(metrics));
    return program;
  }

  test("a second node on the same folder is refused, and the first goes on", async () => {
    folder = mkdtempSync(join(tmpdir(), "statemesh-config-"));
    const first = await start(["--groups", "2"]);
    const second = await run("consensus-node", (await flags(["--groups", "2"])).flags);
    expect(second.status).not.toBe(0);
    expect(second.output).toContain(join(folder, "data"));
    expect(second.output).toContain("in use");
    expect(first.child.exitCode).toBeNull();
    first.child.kill("SIGTERM");
    expect((await first.ended).status).toBe(0);
  });

  test("a folder of other groups, another node or another cluster is refused by name, and stays as it was", async () => {
    folder = mkdtempSync(join(tmpdir(), "statemesh-config-"));
    const first = await start(["--groups", "2"]);
    first.child.kill("SIGTERM");
    expect((await first.ended).status).toBe(0);
    for (const [more, name] of [[["--groups", "3"], "groups"], [["--groups", "2", "--cluster-id", "another"], "clusterId"]] as const) {
      const { status, output } = await run("consensus-node", (await flags(more)).flags);
      expect(status).not.toBe(0);
      expect(output).toContain(name);
    }
    const again = await start(["--groups", "2"]);
    again.child.kill("SIGTERM");
    expect((await again.ended).status).toBe(0);
  });
});

describe("a running mesh", () => {
  let cluster: Cluster;

  afterEach(async () => cluster.close());

  test("a node with other --groups is not let in by the others, and says why", async () => {
    cluster = await startCluster({ groups: 2 });
    await cluster.node(3).stop();
    const { flags } = cluster.node(3).spec;
    const at = flags.indexOf("--groups");
    const other = new Program("consensus-node", flags.with(at + 1, "3").concat("--data-dir", join(cluster.dataDir, "another"), "--log-level", "warn"));
    await until("both others refuse it, and it says so", () => other.output.split("\n").filter((line) => line.includes("--groups is the same on every node")).length === 2, () => other.output);
    const status = await cluster.status(cluster.node(3));
    expect(status.groups.every((group) => group.role !== "leader")).toBe(true);
    expect(status.peers.every((peer) => !peer.connected)).toBe(true);
    other.child.kill("SIGTERM");
    expect((await other.ended).status).toBe(0);
    await cluster.node(3).start();
    await cluster.settled();
  });

  test("SIGTERM ends every service with status 0 while calls are open, and open streams are told", async () => {
    const loud = ["--log-level", "info"];
    cluster = await startCluster({ groups: 2, extraFlags: { "consensus-node": loud, "conflict-arbiter": loud } });
    const server = await cluster.server(1);
    const [region = { x: 0, y: 0, z: 0 }] = regionsOfGroup(1, 2, 1);
    const codes: number[] = [];
    const subscriptions = cluster.nodes.map((node) => {
      const client = new ConsistencyServiceClient(node.clientAddress, credentials.createInsecure());
      const stream: ClientReadableStream<SubscribeResponse> = client.subscribe({ ...SubscribeRequest.fromPartial({ regions: [region] }), strong: true, eventual: true, causal: true });
      const ended = new Promise<void>((done) => {
        stream.on("error", ({ code }) => {
          codes.push(code);
          done();
        });
        stream.on("end", () => done());
      });
      const begun = new Promise<void>((done) => stream.on("data", () => done()));
      return { client, begun, ended };
    });
    await Promise.all(subscriptions.map(({ begun }) => begun));

    let running = true;
    const answers: string[] = [];
    const work = Promise.all(cluster.nodes.map(async (node) => {
      const client = cluster.only(server, node);
      while (running) {
        await client.execute(client.operations.mint({ region, epoch: 0 }, { playerId: "p", itemKind: "gold", quantity: 1 }), { deadlineMs: 500 }).then(() => answers.push("decided"), (error: Error) => answers.push(error.message));
      }
    }));
    await until("operations are decided", () => answers.length > 20);

    const processes = cluster.mesh.processes;
    const tails = processes.map(async (each) => {
      await each.stop();
      return { name: each.spec.name, tail: each.logTail() };
    });
    await Promise.all(subscriptions.map(({ ended }) => ended));
    // The last line says that everything was closed; nothing had to be cut.
    for (const { name, tail } of await Promise.all(tails)) {
      expect(tail.split("\n").at(-1), name).toContain('"shut down"');
      expect(tail, name).not.toContain("did not finish in time");
    }
    running = false;
    await work;
    expect(codes.every((code) => code === 14), `subscribers were told ${codes.join()}`).toBe(true);
    for (const { client } of subscriptions) client.close();

    await Promise.all(cluster.mesh.processes.map((each) => each.start()));
    const { conserved } = await server.verifyConservation();
    expect(conserved).toBe(true);
  });

  test("every service answers /metrics in Prometheus' format, /healthz and /readyz; a node without its quorum is alive but not ready", async () => {
    cluster = await startCluster({ groups: 2 });
    const server = await cluster.server(1);
    const [region = { x: 0, y: 0, z: 0 }] = regionsOfGroup(1, 2, 1);
    await server.execute(server.operations.mint({ region, epoch: 0 }, { playerId: "p", itemKind: "gold", quantity: 1 }));
    for (const each of cluster.mesh.processes) {
      const base = `http://${each.metricsAddress}`;
      expect((await fetch(`${base}/healthz`)).status).toBe(200);
      await until(`${each.spec.name} is ready`, async () => (await fetch(`${base}/readyz`)).status === 200);
      expect((await fetch(`${base}/nothing`)).status).toBe(404);
      expect((await fetch(`${base}/metrics`, { method: "POST" })).status).toBe(405);
      const response = await fetch(`${base}/metrics`);
      expect(response.headers.get("content-type")).toContain("text/plain");
      const samples = parseMetrics(await response.text());
      expect(samples.size, each.spec.name).toBeGreaterThan(20);
      expect([...samples.keys()].some((name) => name.startsWith("process_"))).toBe(true);
    }
    // Leadership may be on its way from one node to another.
    await until("each of the three groups has one leader", async () => {
      const pages = await Promise.all(cluster.nodes.map(async (node) => parseMetrics(await (await fetch(`http://${node.metricsAddress}/metrics`)).text())));
      return pages.reduce((sum, page) => sum + (page.get("statemesh_raft_is_leader") ?? []).reduce((a, b) => a + b, 0), 0) === 3;
    });

    const ready = async (): Promise<number> => (await fetch(`http://${cluster.node(1).metricsAddress}/readyz`)).status;
    await until("it is ready", async () => (await ready()) === 200);
    await Promise.all([cluster.node(2).kill(), cluster.node(3).kill()]);
    await until("it is not ready", async () => (await ready()) === 503);
    expect(await (await fetch(`http://${cluster.node(1).metricsAddress}/readyz`)).text()).toContain("no leader");
    expect((await fetch(`http://${cluster.node(1).metricsAddress}/healthz`)).status).toBe(200);
    await Promise.all([cluster.node(2).start(), cluster.node(3).start()]);
    await until("it is ready", async () => (await ready()) === 200);
  });
});

/** False also where nobody listens yet. */
async function isReady(metricsAddress: string): Promise<boolean> {
  try {
    return (await fetch(`http://${metricsAddress}/readyz`)).ok;
  } catch (error) {
    if (error instanceof TypeError) return false;
    throw error;
  }
}

/** Reads a page of metrics as strictly as promtool: every sample typed and helped, names and labels well formed, no sample twice. */
function parseMetrics(page: string): Map<string, number[]> {
  const types = new Map<string, string>();
  const helped = new Set<string>();
  const seen = new Set<string>();
  const samples = new Map<string, number[]>();
  expect(page.endsWith("\n")).toBe(true);
  for (const line of page.split("\n")) {
    if (line === "") continue;
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
    if (comment !== null) {
      const [, kind, name = "", rest = ""] = comment;
      if (kind === "HELP") helped.add(name);
      else {
        expect(["counter", "gauge", "histogram", "summary", "untyped"]).toContain(rest);
        expect(types.has(name), `${name} is typed twice`).toBe(false);
        types.set(name, rest);
      }
      continue;
    }
    const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\.)*",?)*\})? (NaN|[+-]?Inf|[+-]?[0-9.]+(?:e[+-]?[0-9]+)?)$/.exec(line);
    expect(sample, line).not.toBeNull();
    const [, name = "", labels = "", value = ""] = sample ?? [];
    expect(seen.has(name + labels), `${name}${labels} stands twice`).toBe(false);
    seen.add(name + labels);
    const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, "");
    expect(types.has(family), `${name} has no type`).toBe(true);
    expect(helped.has(family), `${name} has no help`).toBe(true);
    if (types.get(family) === "counter") expect(Number(value), line).toBeGreaterThanOrEqual(0);
    samples.set(name, [...(samples.get(name) ?? []), Number(value)]);
  }
  return samples;
}
