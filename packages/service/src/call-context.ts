import type { Metadata, ServerSurfaceCall } from "./grpc.ts";
import type { Logger } from "./logger.ts";
import type { ServerState } from "./server-state.ts";

/** What a handler knows about its call. Everything that costs is made when it is asked for. */
export class CallContext {
  readonly #call: ServerSurfaceCall;
  readonly #state: ServerState;
  /** `package.Service/Method`. */
  readonly method: string;
  /** When the server began with the call, milliseconds on `performance.now()`. */
  readonly startedMs: number;
  #abort: AbortController | undefined;
  #log: Logger | undefined;

  constructor(call: ServerSurfaceCall, state: ServerState, method: string) {
    this.#call = call;
    this.#state = state;
    this.method = method;
    this.startedMs = performance.now();
  }

  get metadata(): Metadata {
    return this.#call.metadata;
  }

  /** Address of the caller's end of the connection, such as `127.0.0.1:51234`. */
  get peer(): string {
    return this.#call.getPeer();
  }

  /** Milliseconds until the caller gives up: not above 0 once it has, Infinity where it set no deadline. */
  get remainingMs(): number {
    const deadline = this.#call.getDeadline();
    return (typeof deadline === "number" ? deadline : deadline.getTime()) - Date.now();
  }

  /** The caller cancelled, its deadline passed, or its connection is gone. */
  get cancelled(): boolean {
    return this.#call.cancelled;
  }

  /** Calls `run` once when the call ends, for any reason: cancelled, past its deadline, or answered. */
  onEnd(run: () => void): void {
    if (this.#call.cancelled) run();
    else this.#call.once("cancelled", run);
  }

  /** Aborted when the call ends, for any reason. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      const abort = new AbortController();
      this.#abort = abort;
      this.onEnd(() => abort.abort());
    }
    return this.#abort.signal;
  }

  /** The server is going down: finish what is begun, begin nothing. */
  get shuttingDown(): boolean {
    return this.#state.shuttingDown;
  }

  /** Calls `run` when the server begins to go down (at once if it already does). Long streams end themselves here. */
  onShutdown(run: () => void): void {
    if (this.#state.shuttingDown) {
      run();
      return;
    }
    this.#state.shutdownListeners.add(run);
    this.onEnd(() => this.#state.shutdownListeners.delete(run));
  }

  get log(): Logger {
    this.#log ??= this.#state.log.child({ method: this.method, peer: this.peer });
    return this.#log;
  }
}
