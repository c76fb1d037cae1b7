/** Ways between the nodes of a mesh that can be cut, one direction at a time: what is under way stays where it is, as on a dead cable. */
import { connect, createServer, type Server, type Socket } from "node:net";

/** Whether what a node sends to another is lost. */
export type Cut = (from: number, to: number) => boolean;

interface Way {
  readonly from: number;
  readonly to: number;
  readonly server: Server;
  /** Connections, each with its far end once that was opened. */
  readonly sockets: Set<Socket>;
  /** Connections that came while the way was cut. */
  readonly waiting: Set<Socket>;
  readonly target: { readonly host: string; readonly port: number };
}

/** A node opens a stream to each other one for what it sends: so to hold one connection is to cut one direction. */
export class LinkProxies {
  readonly #ways: Way[] = [];
  #cut: Cut = () => false;

  /** Where `from` reaches `to`, which listens at `address`. */
  async way(from: number, to: number, address: string): Promise<string> {
    const [host = "", port = ""] = address.split(":");
    const server = createServer({ allowHalfOpen: false });
    const way: Way = { from, to, server, sockets: new Set(), waiting: new Set(), target: { host, port: Number(port) } };
    server.on("connection", (near) => this.#accept(way, near));
    await new Promise<void>((done, failed) => {
      server.once("error", failed);
      server.listen(0, "127.0.0.1", () => done());
    });
    this.#ways.push(way);
    const bound = server.address();
    if (bound === null || typeof bound === "string") throw new Error("the proxy does not listen");
    return `127.0.0.1:${bound.port}`;
  }

  /** From now on what `cut` names is lost, and nothing else. */
  cut(cut: Cut): void {
    this.#cut = cut;
    for (const way of this.#ways) {
      const isCut = cut(way.from, way.to);
      for (const socket of way.sockets) {
        if (isCut) socket.pause();
        else socket.resume();
      }
      if (isCut) continue;
      const waiting = [...way.waiting];
      way.waiting.clear();
      for (const near of waiting) this.#open(way, near);
    }
  }

  /** Nothing passes between nodes of different parts. */
  part(...parts: readonly (readonly number[])[]): void {
    this.cut((from, to) => parts.findIndex((part) => part.includes(from)) !== parts.findIndex((part) => part.includes(to)));
  }

  heal(): void {
    this.cut(() => false);
  }

  async close(): Promise<void> {
    await Promise.all(
      this.#ways.map(async ({ server, sockets, waiting }) => {
        for (const socket of [...sockets, ...waiting]) socket.destroy();
        await new Promise<void>((done) => server.close(() => done()));
      }),
    );
  }

  #accept(way: Way, near: Socket): void {
    if (!this.#cut(way.from, way.to)) return this.#open(way, near);
    near.pause();
    way.waiting.add(near);
    near.on("error", () => near.destroy());
    near.once("close", () => way.waiting.delete(near));
  }

  #open(way: Way, near: Socket): void {
    const far = connect(way.target);
    this.#join(way, near, far);
    this.#join(way, far, near);
    // One that waited was paused, and stays so where nothing says otherwise.
    near.resume();
  }

  #join(way: Way, from: Socket, to: Socket): void {
    way.sockets.add(from);
    from.on("data", (chunk: Buffer) => {
      if (!to.destroyed) to.write(chunk);
    });
    // Either end takes the other along: the two are one connection.
    from.on("error", () => to.destroy());
    from.once("close", () => {
      way.sockets.delete(from);
      to.destroy();
    });
  }
}
