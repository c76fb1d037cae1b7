/**
 * One run a folder. The lock is a socket that the run listens on, so the system takes it away with the process: a run
 * that is killed leaves nothing behind. Who else comes is told which process holds it.
 */
import { createHash } from "node:crypto";
import { mkdirSync, realpathSync, rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A held lock. */
export interface RunLock {
  release(): Promise<void>;
}

/** The name of the folder's lock: without a file on Linux, a socket file elsewhere. */
function addressOf(folder: string): string {
  const key = createHash("sha256").update(realpathSync(folder)).digest("hex").slice(0, 24);
  return process.platform === "linux" ? `\0statemesh-run-${key}` : join(tmpdir(), `statemesh-run-${key}.sock`);
}

/**
 * Takes the lock of a folder; makes the folder where it is not there.
 *
 * @throws Error where another run holds it, naming the process
 */
export async function lockFolder(folder: string): Promise<RunLock> {
  mkdirSync(folder, { recursive: true });
  const address = addressOf(folder);
  for (let attempt = 0; attempt < 3; attempt++) {
    const server = await listen(address);
    if (server !== undefined) {
      return { release: async () => await new Promise((done) => server.close(() => done())) };
    }
    const holder = await holderOf(address);
    if (holder !== undefined) throw new Error(`${folder} is in use: process ${holder} runs on it. Stop it first, or take another --data-dir.`);
    // Nobody answers: a socket file of a killed run (not on Linux), or the holder has just gone.
    if (!address.startsWith("\0")) rmSync(address, { force: true });
  }
  throw new Error(`${folder} is in use`);
}

async function listen(address: string): Promise<Server | undefined> {
  return await new Promise((done, failed) => {
    const server = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      socket.end(`${process.pid}\n`);
    });
    server.once("error", (error: NodeJS.ErrnoException) => (error.code === "EADDRINUSE" ? done(undefined) : failed(error)));
    server.listen(address, () => {
      server.unref();
      done(server);
    });
  });
}

async function holderOf(address: string): Promise<string | undefined> {
  return await new Promise((done) => {
    let text = "";
    const socket = connect(address);
    socket.setTimeout(2_000, () => socket.destroy());
    socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
    // Refused: nobody listens any more, which `close` reports.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => done(text.trim() === "" ? undefined : text.trim()));
  });
}
