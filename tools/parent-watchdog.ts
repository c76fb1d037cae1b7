import { spawn } from "node:child_process";
import type { Socket } from "node:net";

/** Ends a process when this one is gone, however it goes (SIGKILL too). */
export interface Watchdog {
  /** Stands down: the process has ended, or somebody else ends it. */
  release(): void;
}

// The shell reads a pipe whose other end only we hold: end of file means that we are gone.
// `release` writes a line first, so that the shell leaves without doing anything.
const SCRIPT = `
if read -r line; then exit 0; fi
kill -s "$2" "$1" 2>/dev/null
tries=100
while [ $tries -gt 0 ] && kill -0 "$1" 2>/dev/null; do sleep 0.1; tries=$((tries - 1)); done
kill -s KILL "$1" 2>/dev/null
if [ -n "$3" ]; then rm -rf -- "$3"; fi
exit 0
`;

/**
 * Watches over process `pid`: when this process ends, it gets `signal`, ten seconds later SIGKILL, and `folder`
 * (where given) is removed.
 */
export function watchOver(pid: number, signal: "INT" | "TERM", folder?: string): Watchdog {
  const shell = spawn("/bin/sh", ["-c", SCRIPT, "watchdog", String(pid), signal, folder ?? ""], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
    cwd: "/",
  });
  shell.unref();
  // A shell that could not start watches over nothing; the process then lives until `stop`.
  shell.on("error", (error) => process.emitWarning(`no watchdog over process ${pid}: ${error.message}`));
  const pipe = shell.stdin;
  // The pipe must not keep our event loop alive: the watchdog is there for when we just end.
  (pipe as unknown as Socket).unref();
  pipe.on("error", (error) => process.emitWarning(`watchdog over process ${pid}: ${error.message}`));
  let released = false;
  return {
    release() {
      if (released) return;
      released = true;
      pipe.end("done\n");
    },
  };
}
