/** etcd, to measure beside: three members on this machine with their own defaults, fsync included. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { debianProgram, run } from "./debian-package.ts";
import { watchOver } from "./parent-watchdog.ts";
import { StablePorts } from "./stable-ports.ts";

const MEMBERS = 3;
const STOP_LIMIT_MS = 10_000;

export interface LocalEtcd {
  /** Such as `3.4.23`. */
  readonly version: string;
  /** Client addresses, `host:port`. */
  readonly endpoints: readonly string[];
  stop(): Promise<void>;
}

/** Starts a cluster in a folder of its own, which goes with it. It ends with this process. Ask `endpoints` until one leads. */
export async function startEtcd(): Promise<LocalEtcd> {
  const program = await debianProgram(["etcd"], ["etcd-server"]);
  const version = /etcd Version: (\S+)/.exec((await run(program, ["--version"])).output)?.[1] ?? "unknown";
  const folder = mkdtempSync(join(tmpdir(), "statemesh-etcd-"));
  const ports = new StablePorts();
  const members: { name: string; client: string; peer: string }[] = [];
  for (let at = 1; at <= MEMBERS; at++) members.push({ name: `e${at}`, client: `127.0.0.1:${await ports.take()}`, peer: `http://127.0.0.1:${await ports.take()}` });
  const initial = members.map(({ name, peer }) => `${name}=${peer}`).join(",");
  const stops = members.map(({ name, client, peer }) => {
    const flags = ["--name", name, "--data-dir", join(folder, name), "--logger", "zap", "--log-level", "error"];
    flags.push("--listen-client-urls", `http://${client}`, "--advertise-client-urls", `http://${client}`);
    flags.push("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", initial, "--initial-cluster-state", "new");
    const child = spawn(program, flags, { cwd: "/", stdio: "ignore", detached: true });
    const watchdog = child.pid === undefined ? undefined : watchOver(child.pid, "TERM");
    const ended = new Promise<void>((done) => {
      child.once("error", () => done());
      child.once("exit", () => done());
    });
    return async (): Promise<void> => {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS);
      await ended;
      clearTimeout(timer);
      watchdog?.release();
    };
  });
  return {
    version,
    endpoints: members.map(({ client }) => client),
    stop: async () => {
      await Promise.all(stops.map(async (stop) => stop()));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
