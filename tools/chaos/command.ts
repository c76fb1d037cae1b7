import { spawn } from "node:child_process";

const LIMIT_MS = 20_000;

/**
 * Runs a program of the machine and answers what it printed.
 *
 * @throws Error with the command and what it said, where it does not end with status 0 within 20 seconds
 */
export async function command(argv: readonly string[], input = ""): Promise<string> {
  const [program = "", ...args] = argv;
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], timeout: LIMIT_MS, killSignal: "SIGKILL" });
  let printed = "";
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  // A program that ends without reading its input closes the pipe; its status says what happened.
  child.stdin.on("error", (error) => (said += error.message));
  child.stdin.end(input);
  return await new Promise((done, failed) => {
    child.once("error", (error) => failed(new Error(`${argv.join(" ")}: ${error.message}`)));
    child.once("close", (code, signal) => (code === 0 ? done(printed) : failed(new Error(`${argv.join(" ")} ended with ${signal ?? code}: ${said.trim()}`))));
  });
}
