/** Programs that the machine has, or gets from Debian's packages. */
import { spawn } from "node:child_process";
import { accessSync, constants, existsSync, rmSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { delimiter, join } from "node:path";

/** Path of the first of `programs` that the machine has; as root on a machine with apt `packages` are installed where it has none. */
export async function debianProgram(programs: readonly string[], packages: readonly string[]): Promise<string> {
  return await orInstalled(`${programs[0]} on PATH`, async () => await Promise.resolve(firstOnPath(programs)), packages);
}

/** What `find` finds; as root on a machine with apt `packages` are installed where it finds nothing. `what` is said where there is none in the end. */
export async function orInstalled(what: string, find: () => Promise<string | undefined>, packages: readonly string[]): Promise<string> {
  const found = await find();
  if (found !== undefined) return found;
  const names = packages.join(" ");
  const apt = onPath("apt-get");
  if (apt === undefined || userInfo().uid !== 0) throw new Error(`no ${what}: install ${names} (Debian: \`sudo apt-get install ${names}\`)`);
  await installWithoutService(apt, packages);
  const installed = await find();
  if (installed === undefined) throw new Error(`apt-get installed ${names}, but there is no ${what}`);
  return installed;
}

function firstOnPath(programs: readonly string[]): string | undefined {
  return programs.map(onPath).find((path) => path !== undefined);
}

/** Path of a program; undefined where the machine does not have it. */
export function onPath(program: string): string | undefined {
  const places = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/bin", "/usr/local/bin"].filter((place) => place !== "");
  return places
    .map((place) => join(place, program))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false; // Not there or not for us: the answer either way is no.
      }
    });
}

/** Debian starts a service when its package is installed, unless a policy file says no: then ours is there for that time. */
async function installWithoutService(apt: string, packages: readonly string[]): Promise<void> {
  const policy = "/usr/sbin/policy-rc.d";
  const ours = !existsSync(policy);
  if (ours) writeFileSync(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755, flag: "wx" });
  try {
    const lock = ["-o", "DPkg::Lock::Timeout=120"];
    const install = [...lock, "install", "-y", "--no-install-recommends", ...packages];
    const first = await run(apt, install);
    if (first.code === 0) return;
    // No package lists yet, or stale ones: fetch them, then once more.
    await run(apt, [...lock, "update"]);
    const second = await run(apt, install);
    if (second.code !== 0) throw new Error(`apt-get could not install ${packages.join(" ")}: ${second.output.trim().slice(-2_000)}`);
  } finally {
    if (ours) rmSync(policy, { force: true });
  }
}

/** Runs a program to its end; `output` is what it printed on both streams. */
export async function run(program: string, args: readonly string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  return await new Promise((done, failed) => {
    child.once("error", failed);
    child.once("close", (code) => done({ code, output }));
  });
}
