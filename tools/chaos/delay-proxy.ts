/** A proxy that passes on every byte later: the delay that the kernel of a small machine can't make. */
import { connect, createServer, type Server, type Socket } from "node:net";

/** Bytes on their way in one direction of a connection; beyond it the sender has to wait. */
const UNDER_WAY_MAX = 1_048_576;

export class DelayProxy {
  /** Chunks that were passed on late. */
  passed = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Listens on `host`, and passes on to `target` after `delayMs`, either way. */
  static async start(host: string, target: { readonly host: string; readonly port: number }, delayMs: number): Promise<DelayProxy> {
    const server = createServer();
    const proxy = new DelayProxy(server);
    server.on("connection", (near) => {
      const far = connect(target);
      proxy.#join(near, far, delayMs);
      proxy.#join(far, near, delayMs);
    });
    await new Promise<void>((done, failed) => {
      server.once("error", failed);
      server.listen(0, host, () => done());
    });
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy does not listen");
    return address.port;
  }

  /** Ends every connection. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((done) => this.#server.close(() => done()));
  }

  #join(from: Socket, to: Socket, delayMs: number): void {
    this.#sockets.add(from);
    let underWay = 0;
    from.on("data", (chunk: Buffer) => {
      underWay += chunk.length;
      if (underWay > UNDER_WAY_MAX) from.pause();
      setTimeout(() => {
        underWay -= chunk.length;
        this.passed += 1;
        if (!to.destroyed) to.write(chunk);
        if (underWay <= UNDER_WAY_MAX) from.resume();
      }, delayMs);
    });
    // Either end takes the other along: the two are one connection.
    from.on("error", () => to.destroy());
    from.on("close", () => {
      this.#sockets.delete(from);
      to.destroy();
    });
  }
}
