import { createHash } from "node:crypto";
import { realpathSync } from "node:fs";
import { createServer, type Server } from "node:net";

/**
 * Holds a folder for this process: two nodes in one folder would tear each other's log. The lock is a name in the
 * kernel, so it goes with the process, however that ends, and leaves nothing behind.
 */
export async function lockFolder(folder: string): Promise<Server> {
  const name = createHash("sha256").update(realpathSync(folder)).digest("hex").slice(0, 32);
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(error.code === "EADDRINUSE" ? new Error(`the folder ${folder} is in use by another node`) : error);
    });
    server.listen({ path: `\0statemesh-${name}` }, resolve);
  });
  server.unref();
  return server;
}
