// ./dev: lists the commands and becomes the one that is asked for. Each command is a script of its own beside this one.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";

const COMMANDS = [
  { name: "up", file: "up.ts", summary: "start a mesh of real processes with a demo world on it" },
  { name: "test", file: "test.ts", summary: "run the tests" },
  { name: "lint", file: "lint.ts", summary: "check contract, types, style, package directions and leftovers" },
  { name: "sim", file: "sim.ts", summary: "simulate the system under faults, from seeds; find planted bugs" },
  { name: "bench", file: "bench.ts", summary: "measure a mesh of real processes" },
  { name: "bots", file: "bots.ts", summary: "let players walk, build and trade on a mesh" },
  { name: "chaos", file: "chaos.ts", summary: "break a mesh of real processes and check what it says" },
  { name: "generate", file: "generate.ts", summary: "generate stubs, descriptor image and the configuration page" },
  { name: "bundle", file: "bundle.ts", summary: "bundle each service into one file for an image" },
  { name: "package", file: "package.ts", summary: "build the TypeScript SDK as a package for plain Node" },
] as const;

const folder = import.meta.dirname;
const program = new Command("./dev").description("StateMesh: everything a developer runs. Each command has its own --help.").helpCommand(false);
for (const { name, file, summary } of COMMANDS) {
  if (!existsSync(join(folder, file))) continue;
  program
    .command(name)
    .description(summary)
    .helpOption(false)
    .allowUnknownOption()
    .allowExcessArguments()
    .action(() => become(join(folder, file), process.argv.slice(process.argv.indexOf(name) + 1)));
}
program.parse();

/** Replaces this process, so that signals and the exit code are the command's own. */
function become(script: string, args: readonly string[]): void {
  process.execve?.(process.execPath, [process.execPath, script, ...args], process.env);
}
