import { readFileSync } from "node:fs";

/** Whether a process with that id runs (zombies count as gone where /proc can tell). */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it is there, and somebody else's.
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  return procState(pid)?.state !== "Z";
}

/** When the process started, in the kernel's ticks since boot; undefined where /proc cannot tell. Tells two users of one pid apart. */
export function startTicksOf(pid: number): string | undefined {
  return procState(pid)?.startTicks;
}

/** The name of the program that runs as `pid`, at most 15 characters; undefined where /proc cannot tell. */
export function programOf(pid: number): string | undefined {
  return procState(pid)?.program;
}

/** The processes that `pid` started and that live; none where /proc cannot tell. */
export function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    return text.split(" ").filter((each) => each !== "").map(Number);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ESRCH") return [];
    throw error;
  }
}

function procState(pid: number): { program: string; state: string; startTicks: string } | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    // ENOENT: no such process, or no /proc at all (macOS). ESRCH: it ended while we read.
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
  // The program's name stands in parentheses and may hold anything, so fields count from the last one.
  const end = text.lastIndexOf(")");
  const fields = text.slice(end + 2).split(" ");
  return { program: text.slice(text.indexOf("(") + 1, end), state: fields[0] ?? "", startTicks: fields[19] ?? "" };
}

/** Waits until the process is gone; false when `limitMs` passed first. */
export async function waitForEnd(pid: number, limitMs: number): Promise<boolean> {
  const until = performance.now() + limitMs;
  while (isAlive(pid)) {
    if (performance.now() > until) return false;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return true;
}
