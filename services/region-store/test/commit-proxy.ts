import { connect, createServer, type Server, type Socket } from "node:net";

/** What happens to the next COMMIT that passes. */
export type Fate =
  | "pass"
  /** The server hears it and commits; the client's connection breaks before the answer. */
  | "lose answer"
  /** The connection breaks before the server hears it. */
  | "lose request";

const COMMIT = Buffer.from("COMMIT\0");

/** Stands between a store and PostgreSQL, and breaks connections at COMMIT. */
export class CommitProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #fate: Fate = "pass";
  /** COMMITs that met the fate. */
  met = 0;

  private constructor(targetPort: number) {
    this.#server = createServer((client) => this.#serve(client, connect({ port: targetPort, host: "127.0.0.1" })));
  }

  static async start(targetPort: number): Promise<CommitProxy> {
    const proxy = new CommitProxy(targetPort);
    await new Promise<void>((resolve) => {
      proxy.#server.listen(0, "127.0.0.1", resolve);
    });
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("not listening");
    return address.port;
  }

  /** The next COMMIT gets this fate, those after it pass. */
  next(fate: Fate): void {
    this.#fate = fate;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #serve(client: Socket, server: Socket): void {
    for (const [from, to] of [[client, server], [server, client]] as const) {
      this.#sockets.add(from);
      from.once("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      // A broken connection is what this is for; "close" follows.
      from.on("error", () => to.destroy());
    }
    let losing = false;
    client.on("data", (chunk: Buffer) => {
      const fate = chunk.includes(COMMIT) ? this.#fate : "pass";
      if (fate !== "pass") {
        this.#fate = "pass";
        this.met += 1;
      }
      if (fate === "lose request") {
        client.destroy();
        return;
      }
      losing ||= fate === "lose answer";
      server.write(chunk);
    });
    server.on("data", (chunk: Buffer) => {
      if (losing) client.destroy();
      else client.write(chunk);
    });
  }
}
