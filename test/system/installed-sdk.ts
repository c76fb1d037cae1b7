/** The SDK as a studio has it: packed, installed into an empty folder without any registry, and run by plain Node. */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { buildClientPackage } from "../../tools/client-package.ts";
import { ROOT } from "../../tools/step.ts";

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

function manifestOf(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
}

/** PATH without the Node that the project brings for itself. */
function plainPath(): string {
  return (process.env["PATH"] ?? "").split(delimiter).filter((place) => !place.startsWith(ROOT)).join(delimiter);
}

/** Folders of a package and of all that it needs, by name; from the workspace's own store. */
function withDependencies(folder: string, found = new Map<string, string>()): Map<string, string> {
  const real = realpathSync(folder);
  const { name, dependencies = {} } = manifestOf(real);
  const known = found.get(name);
  if (known !== undefined) {
    if (known !== real) throw new Error(`${name} is needed in two versions: ${known} and ${real}`);
    return found;
  }
  found.set(name, real);
  // Beside a package in the store lie links to what it needs.
  const besides = name.startsWith("@") ? dirname(dirname(real)) : dirname(real);
  for (const dependency of Object.keys(dependencies)) withDependencies(join(besides, dependency), found);
  return found;
}

export interface Ran {
  readonly status: number | null;
  readonly output: string;
}

/** Runs a program in a folder to its end, with the Node of the machine. `heard` is told all that it has printed so far. */
export async function runPlain(folder: string, program: string, args: readonly string[], limitMs: number, heard: (output: string) => void = () => undefined): Promise<Ran> {
  const path = program === "node" || program === "npm" ? plainPath() : (process.env["PATH"] ?? "");
  const child = spawn(program, args, { cwd: folder, env: { ...process.env, PATH: path, NODE_OPTIONS: "" }, stdio: ["ignore", "pipe", "pipe"], timeout: limitMs, killSignal: "SIGKILL" });
  let output = "";
  const take = (chunk: Buffer): void => {
    output += chunk.toString();
    heard(output);
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  return await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, output }));
  });
}

/** Builds the package and installs it into `folder`, which is empty. */
export async function installSdk(folder: string): Promise<void> {
  const built = join(folder, "built");
  const game = join(folder, "game");
  mkdirSync(game, { recursive: true });
  await buildClientPackage(built);
  const packed = await runPlain(built, "npm", ["pack", "--silent", "--pack-destination", folder], 60_000);
  if (packed.status !== 0) throw new Error(`npm pack: ${packed.output}`);
  const dependencies: Record<string, string> = { "@statemesh/client": `file:${join(folder, packed.output.trim())}` };
  for (const [name, from] of withDependencies(join(ROOT, "packages", "client", "node_modules", "@grpc", "grpc-js"))) {
    const file = join(folder, `${name.replaceAll(/[@/]/g, "-")}.tar`);
    const { status, output } = await runPlain(from, "tar", ["-cf", file, "--exclude=./node_modules", "--transform=s,^\\.,package,", "."], 60_000);
    if (status !== 0) throw new Error(`tar of ${name}: ${output}`);
    dependencies[name] = `file:${file}`;
  }
  writeFileSync(join(game, "package.json"), JSON.stringify({ name: "game", private: true, type: "module", dependencies }));
  const installed = await runPlain(game, "npm", ["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund"], 120_000);
  if (installed.status !== 0) throw new Error(`npm install: ${installed.output}`);
}
