/**
 * What a run leaves on the machine outside of its own processes: namespaces, a bridge, mounts, a folder. All of it carries
 * the run's tag. It goes away with the run, with the run's process (a watchdog), or at the start of the next run.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { isAlive, startTicksOf } from "../process-identity.ts";
import { command } from "./command.ts";

const PREFIX = "statemesh-chaos";
const NAMESPACES = "/run/netns";
const MOUNTS = "/proc/mounts";
/** In a folder that shall stay. */
const KEEP_FILE = "keep";

/** Arguments: the run's tag, its bridge. Ends whoever runs in its namespaces, too. */
const CLEAN_UP = `
for path in ${NAMESPACES}/"$1"-*; do
  [ -e "$path" ] || continue
  name=\${path##*/}
  for pid in $(ip netns pids "$name" 2>/dev/null); do kill -s KILL "$pid" 2>/dev/null; done
  ip netns del "$name" 2>/dev/null
done
ip link del "$2" 2>/dev/null
while read -r source folder rest; do
  [ "$source" = "$1" ] && umount -l "$(printf '%b' "$folder")"
done <${MOUNTS}
exit 0
`;

/** The tag of this process's run: it names the process. */
export const RUN_TAG: string = `${PREFIX}-${process.pid}-${startTicksOf(process.pid) ?? "0"}`;
/** Interfaces have short names. */
export const RUN_BRIDGE: string = bridgeOf(RUN_TAG);

/** The file of a namespace. */
export function namespaceFile(name: string): string {
  return join(NAMESPACES, name);
}

/** The run's folder, and the watch over everything that carries its tag. */
export class Traces {
  readonly folder: string;
  readonly #release: () => void;

  private constructor(folder: string, release: () => void) {
    this.folder = folder;
    this.#release = release;
  }

  /** Removes what dead runs left behind, and begins to watch over this one. */
  static async begin(): Promise<Traces> {
    await removeLeftovers();
    const folder = join(tmpdir(), RUN_TAG);
    mkdirSync(folder, { mode: 0o755 });
    return new Traces(folder, watch());
  }

  /** @param keep true: the folder stays, also when later runs clean up */
  async end(keep: boolean): Promise<void> {
    await cleanUp(RUN_TAG);
    this.#release();
    if (keep) writeFileSync(join(this.folder, KEEP_FILE), "kept\n");
    else rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Takes away what carries the tag of a run whose process is gone. Folders that shall stay do. */
async function removeLeftovers(): Promise<void> {
  const names = [...entries(NAMESPACES), ...entries(tmpdir()), ...(existsSync(MOUNTS) ? readFileSync(MOUNTS, "utf8").split("\n") : [])];
  const tags = new Set(names.flatMap((name) => /^statemesh-chaos-\d+-\d+/.exec(name) ?? []));
  for (const tag of tags) {
    const [pid = 0, ticks] = tag.slice(PREFIX.length + 1).split("-").map(Number);
    if (isAlive(pid) && Number(startTicksOf(pid) ?? 0) === ticks) continue;
    await cleanUp(tag);
    const folder = join(tmpdir(), tag);
    // Another user's is for that user, or for root.
    const ours = existsSync(folder) && (userInfo().uid === 0 || statSync(folder).uid === userInfo().uid);
    if (ours && !existsSync(join(folder, KEEP_FILE))) rmSync(folder, { recursive: true, force: true });
  }
}

function bridgeOf(tag: string): string {
  return `smc${tag.slice(PREFIX.length + 1).split("-")[0]}`;
}

async function cleanUp(tag: string): Promise<void> {
  await command(["/bin/sh", "-c", CLEAN_UP, "clean-up", tag, bridgeOf(tag)]);
}

function entries(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** A shell that reads a pipe whose other end only we hold: end of file means that we are gone. */
function watch(): () => void {
  const script = `if read -r line; then exit 0; fi\nsleep 1\n${CLEAN_UP}`;
  const shell = spawn("/bin/sh", ["-c", script, "watchdog", RUN_TAG, RUN_BRIDGE], { stdio: ["pipe", "ignore", "ignore"], detached: true, cwd: "/" });
  shell.unref();
  shell.on("error", (error) => process.emitWarning(`no watchdog over ${RUN_TAG}: ${error.message}`));
  (shell.stdin as unknown as Socket).unref();
  shell.stdin.on("error", (error) => process.emitWarning(`watchdog over ${RUN_TAG}: ${error.message}`));
  return () => void shell.stdin.end("done\n");
}
