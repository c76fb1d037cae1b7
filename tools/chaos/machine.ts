/** What this machine lets us do to a mesh, found out by trying. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { debianProgram } from "../debian-package.ts";
import { buildDiskShim } from "../disk-shim.ts";
import { command } from "./command.ts";
import { Network } from "./network.ts";
import { RUN_TAG } from "./traces.ts";

/** Something that faults need of the machine. */
export type Need = "namespaces" | "filter" | "redirect" | "sockets" | "shaper" | "clock" | "mount" | "disk";

/** What each is, for messages. */
export const NEEDS: Readonly<Record<Need, string>> = {
  namespaces: "network namespaces",
  filter: "packet filters in them (nft)",
  redirect: "redirected connections (nft dnat)",
  sockets: "cutting connections (ss -K)",
  shaper: "slow links (tc tbf)",
  clock: "false clocks (libfaketime)",
  mount: "small disks (tmpfs)",
  disk: "false disks (a library that is preloaded, built with gcc)",
};

/** What was found. */
export interface Machine {
  /** Why something can't be done here, by what it is; what is not in here can be done. */
  readonly missing: ReadonlyMap<Need, string>;
  /** The library that makes clocks false. */
  readonly clockLibrary: string | undefined;
}

/** Finds out; programs that are missing are installed where we are root on a machine with apt. */
export async function examineMachine(wanted: ReadonlySet<Need>): Promise<Machine> {
  const missing = new Map<Need, string>();
  let clockLibrary: string | undefined;
  const look = async (need: Need, attempt: () => Promise<void>): Promise<void> => {
    if (!wanted.has(need)) return void missing.set(need, "not asked for");
    try {
      await attempt();
    } catch (error) {
      missing.set(need, error instanceof Error ? error.message : String(error));
    }
  };
  await look("namespaces", async () => {
    needRoot();
    await debianProgram(["ip"], ["iproute2"]);
    await debianProgram(["nsenter"], ["util-linux"]);
    await (await Network.create(1)).close();
  });
  const inNamespace = async (attempt: (network: Network) => Promise<void>): Promise<void> => {
    if (missing.has("namespaces")) throw new Error("there are no network namespaces");
    const network = await Network.create(1);
    try {
      await attempt(network);
    } finally {
      await network.close();
    }
  };
  await look("filter", async () => {
    await debianProgram(["nft"], ["nftables"]);
    const rules = ["input ip length > 600 counter drop", "input numgen random mod 100 < 30 counter drop", "input ip saddr 198.18.0.1 tcp dport 7401 reject with tcp reset"];
    await inNamespace((network) => network.filter(1, "try", rules));
  });
  await look("redirect", async () => {
    await debianProgram(["nft"], ["nftables"]);
    await inNamespace((network) => network.filter(1, "try", ["redirect ip daddr 198.18.0.1 tcp dport 7401 dnat ip to 198.18.0.2:7401"]));
  });
  await look("sockets", async () => {
    await debianProgram(["ss"], ["iproute2"]);
    await inNamespace(async (network) => void (await network.inside(1, ["ss", "-K", "dst", "198.18.0.1"])));
  });
  await look("shaper", async () => {
    await debianProgram(["tc"], ["iproute2"]);
    await inNamespace(async (network) => void (await network.inside(1, ["tc", "qdisc", "add", "dev", network.interface, "root", "tbf", "rate", "1mbit", "burst", "16kb", "latency", "400ms"])));
  });
  await look("clock", async () => {
    clockLibrary = await faketimeLibrary();
  });
  await look("mount", async () => {
    needRoot();
    const folder = mkdtempSync(join(tmpdir(), "statemesh-mount-"));
    try {
      await mountSmallDisk(folder, 1);
      await unmount(folder);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
  await look("disk", async () => void (await buildDiskShim()));
  return { missing, clockLibrary };
}

/** Mounts a file system of that many MiB, in memory, on the folder. */
export async function mountSmallDisk(folder: string, mebibytes: number): Promise<void> {
  mkdirSync(folder, { recursive: true });
  await command(["mount", "-t", "tmpfs", "-o", `size=${mebibytes}m,mode=755`, RUN_TAG, folder]);
}

export async function unmount(folder: string): Promise<void> {
  await command(["umount", "-l", folder]);
}

function needRoot(): void {
  if (userInfo().uid !== 0) throw new Error("needs root");
}

async function faketimeLibrary(): Promise<string> {
  const find = (): string | undefined => {
    const folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].filter((folder) => existsSync(folder));
    const places = folders.flatMap((folder) => [folder, ...readdirSync(folder).map((name) => join(folder, name))]);
    return places.flatMap((place) => [join(place, "faketime/libfaketimeMT.so.1"), join(place, "libfaketimeMT.so.1")]).find((path) => existsSync(path));
  };
  const found = find();
  if (found !== undefined) return found;
  await debianProgram(["faketime"], ["faketime"]);
  const installed = find();
  if (installed === undefined) throw new Error("there is a program faketime, but no library libfaketimeMT.so.1");
  return installed;
}
