import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Registry } from "prom-client";
import { splitAddress } from "./option.ts";

/** Connections at a time: scrapers and probes. */
const CONNECTIONS_MAX = 64;

export interface HttpEndpointSettings {
  readonly address: string;
  readonly registry: Registry;
  /** Why the server is not ready; empty when it is. */
  readonly notReady: () => readonly string[];
  readonly failed: (error: unknown) => void;
}

/** `/metrics`, `/healthz` (200 while the process runs), `/readyz` (503 with the reasons while it is not ready). */
export class HttpEndpoint {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async listen(settings: HttpEndpointSettings): Promise<HttpEndpoint> {
    const split = splitAddress(settings.address);
    if (split === undefined) throw new TypeError(`${settings.address} is not host:port`);
    const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000, maxHeaderSize: 8192 }, (request, response) => {
      request.resume();
      if (request.method !== "GET" && request.method !== "HEAD") {
        answer(response, 405, "GET only\n");
        return;
      }
      switch (request.url?.split("?")[0]) {
        case "/metrics":
          settings.registry.metrics().then(
            (text) => answer(response, 200, text, settings.registry.contentType),
            (error: unknown) => {
              settings.failed(error);
              answer(response, 500, "metrics cannot be collected\n");
            },
          );
          return;
        case "/healthz":
          answer(response, 200, "ok\n");
          return;
        case "/readyz": {
          const reasons = settings.notReady();
          answer(response, reasons.length === 0 ? 200 : 503, reasons.length === 0 ? "ready\n" : `${reasons.join("\n")}\n`);
          return;
        }
        default:
          answer(response, 404, "/metrics, /healthz or /readyz\n");
      }
    });
    server.maxConnections = CONNECTIONS_MAX;
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error) => reject(new Error(`cannot listen on ${settings.address}: ${error.message}`, { cause: error })));
      server.listen(split.port, split.host, resolve);
    });
    server.on("error", settings.failed);
    return new HttpEndpoint(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }
}

function answer(response: ServerResponse, status: number, body: string, contentType = "text/plain; charset=utf-8"): void {
  response.writeHead(status, { "content-type": contentType, "cache-control": "no-store" });
  response.end(body);
}
