import { MeshError } from "@statemesh/contract";
import { type HealthCheckResponse, HealthCheckResponse_ServingStatus as Status, HealthService } from "@statemesh/contract/health";
import { bindService, type ServiceBinding } from "./binding.ts";
import { serverStream, unary } from "./methods.ts";
import type { ResponseStream } from "./response-stream.ts";

/** The health service name that says whether the process is worth keeping, whatever its readiness. */
export const LIVENESS = "liveness";

/** Streams of Watch at a time; further ones are answered OVERLOADED. */
const WATCHERS_MAX = 1024;

/**
 * The standard health protocol. `""` and every service of the server are SERVING while the server is ready and
 * not going down; `liveness` is SERVING as long as the process answers at all.
 */
export class Health {
  readonly #services: ReadonlySet<string>;
  readonly #ready: () => boolean;
  readonly #watchers = new Map<ResponseStream<HealthCheckResponse>, { service: string; last: Status }>();

  /** `ready` is asked on every Check, and by `refresh`. */
  constructor(services: readonly string[], ready: () => boolean) {
    this.#services = new Set(["", ...services]);
    this.#ready = ready;
  }

  status(service: string): Status {
    if (service === LIVENESS) return Status.SERVING;
    if (!this.#services.has(service)) return Status.SERVICE_UNKNOWN;
    return this.#ready() ? Status.SERVING : Status.NOT_SERVING;
  }

  /** Tells watchers what changed. */
  refresh(): void {
    for (const [stream, watcher] of this.#watchers) {
      const status = this.status(watcher.service);
      if (status === watcher.last || !stream.writable) continue;
      watcher.last = status;
      stream.write({ status });
    }
  }

  /** Ends every Watch, after a last `refresh`. */
  close(): void {
    this.refresh();
    for (const stream of this.#watchers.keys()) stream.end();
    this.#watchers.clear();
  }

  binding(): ServiceBinding {
    return bindService(HealthService, {
      check: unary(({ service }) => {
        const status = this.status(service);
        if (status === Status.SERVICE_UNKNOWN) throw new MeshError("NOT_FOUND", `no service ${JSON.stringify(service)} on this server`);
        return { status };
      }),
      watch: serverStream(({ service }, stream, context) => {
        if (this.#watchers.size >= WATCHERS_MAX) {
          throw new MeshError("OVERLOADED", `${WATCHERS_MAX} health watches are open`, { retryDelayMs: 1000 });
        }
        const status = this.status(service);
        this.#watchers.set(stream, { service, last: status });
        context.onEnd(() => this.#watchers.delete(stream));
        stream.write({ status });
      }),
    });
  }
}
