/**
 * Ports for servers that come back on the same port. They lie below the range from which systems take the source ports
 * of outgoing connections, so that no connection sits on a port while its server is down.
 */
import { createServer } from "node:net";

const FIRST = 20_000;
const LAST = 32_000;

/** Whether nobody listens on a TCP port of 127.0.0.1. */
export async function isFree(port: number): Promise<boolean> {
  return await new Promise((done) => {
    const server = createServer();
    server.once("error", () => done(false));
    server.listen(port, "127.0.0.1", () => server.close(() => done(true)));
  });
}

/** Gives out ports, none twice. */
export class StablePorts {
  readonly #given = new Set<number>();

  /** The wanted port where it is free, else another one. */
  async take(wanted?: number): Promise<number> {
    if (wanted !== undefined && !this.#given.has(wanted) && (await isFree(wanted))) return this.#give(wanted);
    for (let attempt = 0; attempt < 1_000; attempt++) {
      const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
      if (!this.#given.has(port) && (await isFree(port))) return this.#give(port);
    }
    throw new Error(`no free port in ${FIRST}..${LAST}`);
  }

  #give(port: number): number {
    this.#given.add(port);
    return port;
  }
}
