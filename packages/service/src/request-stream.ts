import { MeshError } from "@statemesh/contract";
import type { ServerDuplexStream, ServerReadableStream } from "./grpc.ts";
import { Undecodable } from "./message-codec.ts";

/** The messages of a caller. Read them with `onMessage`, or with `for await`; not both. */
export class RequestStream<Request> implements AsyncIterable<Request> {
  readonly #call: ServerReadableStream<Request | Undecodable, unknown> | ServerDuplexStream<Request | Undecodable, unknown>;
  readonly #fail: (error: unknown) => void;
  #stopped = false;

  constructor(
    call: ServerReadableStream<Request | Undecodable, unknown> | ServerDuplexStream<Request | Undecodable, unknown>,
    fail: (error: unknown) => void,
  ) {
    this.#call = call;
    this.#fail = fail;
    // A broken connection shows as the call's end; without a listener it would end the process.
    call.on("error", fail);
  }

  /** `message` for each, `end` when the caller has sent its last. What `message` throws fails the call. */
  onMessage(message: (request: Request) => void, end: () => void): void {
    this.#call.on("data", (request: Request | Undecodable) => {
      if (this.#stopped) return;
      if (request instanceof Undecodable) {
        this.#refuse(request.error);
        return;
      }
      try {
        message(request);
      } catch (error) {
        this.#refuse(error);
      }
    });
    this.#call.on("end", () => {
      if (this.#stopped || this.#call.cancelled) return;
      try {
        end();
      } catch (error) {
        this.#refuse(error);
      }
    });
  }

  #refuse(error: unknown): void {
    this.#stopped = true;
    this.#fail(error);
  }

  /** Takes no further messages off the connection, so that its flow control holds the caller back. */
  pause(): void {
    this.#call.pause();
  }

  resume(): void {
    this.#call.resume();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Request> {
    try {
      // Node would destroy both directions at the end of the loop.
      const messages: AsyncIterable<Request | Undecodable> = this.#call.iterator({ destroyOnReturn: false });
      for await (const request of messages) {
        if (request instanceof Undecodable) throw request.error;
        yield request;
      }
    } catch (error) {
      if (this.#call.cancelled) throw new MeshError("CANCELLED", "the caller went away", { cause: error });
      throw error;
    }
  }
}
