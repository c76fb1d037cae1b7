import { Code, MeshError, statusFromMeshError } from "@statemesh/contract";
import type { ServerDuplexStream, ServerWritableStream } from "./grpc.ts";

/** Messages that may wait for a slow reader before the stream is given up with OVERLOADED. */
const WAITING_MESSAGES_MAX = 4096;

type Call<Response> = ServerWritableStream<unknown, Response> | ServerDuplexStream<unknown, Response>;

/** The messages to a caller. After the end (also the caller's) nothing is sent, and nothing throws but `send`. */
export class ResponseStream<Response> {
  readonly #call: Call<Response>;
  readonly #ended: (error: MeshError | undefined) => void;
  readonly #waiting = new Set<() => void>();
  #over = false;

  constructor(call: Call<Response>, ended: (error: MeshError | undefined) => void) {
    this.#call = call;
    this.#ended = ended;
    const wake = (): void => {
      const waiting = [...this.#waiting];
      this.#waiting.clear();
      for (const each of waiting) each();
    };
    call.on("drain", wake);
    call.once("cancelled", () => {
      if (!this.#over) this.#finish(callerGone(call));
      wake();
    });
  }

  /** The stream has ended, from whichever side. */
  get over(): boolean {
    return this.#over;
  }

  /** Messages that wait for the reader. */
  get waiting(): number {
    return this.#call.writableLength;
  }

  /**
   * Sends a message, or queues it: false says that the reader is behind, so wait for `onWritable`. Whoever does
   * not wait loses the stream with OVERLOADED at 4,096 waiting messages. `sent` hears once the connection has taken the message.
   */
  write(message: Response, sent?: () => void): boolean {
    if (this.#over) return false;
    if (this.#call.writableLength >= WAITING_MESSAGES_MAX) {
      this.fail(new MeshError("OVERLOADED", `${WAITING_MESSAGES_MAX} messages wait for the reader`, { retryDelayMs: 1000 }));
      return false;
    }
    return sent === undefined ? this.#call.write(message) : this.#call.write(message, sent);
  }

  /** True while a `write` would not only queue. */
  get writable(): boolean {
    return !this.#over && !this.#call.writableNeedDrain;
  }

  /** Calls `run` once, when the reader has caught up or the stream is over. */
  onWritable(run: () => void): void {
    if (this.#over || !this.#call.writableNeedDrain) queueMicrotask(run);
    else this.#waiting.add(run);
  }

  /** Sends a message and waits while the reader is behind. Rejects with CANCELLED once the stream is over. */
  async send(message: Response): Promise<void> {
    if (!this.#over && !this.write(message)) await new Promise<void>((resolve) => this.onWritable(resolve));
    if (this.#over) throw new MeshError("CANCELLED", "the stream is over");
  }

  /** Ends the stream well. */
  end(): void {
    if (this.#over) return;
    this.#finish(undefined);
    this.#call.end();
  }

  /** Ends the stream with an error; what is not a MeshError is INTERNAL. */
  fail(error: unknown): void {
    if (this.#over) return;
    const meshError = MeshError.from(error);
    this.#finish(meshError);
    this.#call.emit("error", Object.assign(new Error(meshError.message), statusFromMeshError(meshError)));
  }

  #finish(error: MeshError | undefined): void {
    this.#over = true;
    this.#ended(error);
  }
}

/** gRPC cuts a call at its deadline, and that looks like a cancellation. */
export function deadlinePassed(call: { getDeadline(): Date | number }): boolean {
  return Number(call.getDeadline()) <= Date.now();
}

/** Why a cancelled call ended. */
export function callerGone(call: { getDeadline(): Date | number }): MeshError {
  return new MeshError(deadlinePassed(call) ? "DEADLINE_EXCEEDED" : "CANCELLED", "the caller went away");
}

/** The code that a call ended with. */
export function codeOf(error: MeshError | undefined): Code {
  return error === undefined ? Code.OK : error.code;
}
