// Streams whose messages are pulled out of the node whenever the caller can take them.
import { MeshError } from "@statemesh/contract";
import type { CallContext, ResponseStream } from "@statemesh/service";

/** Where the messages of a stream come from. */
export interface MessageSource<Response> {
  /** The next message of a stream; undefined where there is none now. Throws a MeshError where the stream is over. */
  next(id: number): Response | undefined;
  /** The stream is over. */
  close(id: number): void;
  /** Bytes of a message, where what waits in a stream is to be bounded by them; else its number of messages is. */
  sizeOf?(response: Response): number;
  /** All streams that had something to read were served, as far as their readers take it. */
  served?(): void;
}

/** What is used of a stream to a caller. */
type Responses<Response> = Pick<ResponseStream<Response>, "over" | "writable" | "write" | "onWritable" | "fail">;

/** Bytes that wait in a stream for its reader: one message more goes, and then none until the connection has taken what came before. */
const WAITING_BYTES = 64 * 1024;

/** The open streams of one kind. A change only marks its readers; they are served after it. */
export class PulledStreams<Response> {
  readonly #source: MessageSource<Response>;
  readonly #streams = new Map<number, Responses<Response>>();
  readonly #readable = new Set<number>();
  /** Streams that wait until their reader has caught up: each asks for that once, however often there is more to read. */
  readonly #behind = new Set<number>();
  /** Bytes that the connection has not taken yet, where there are any. */
  readonly #waitingBytes = new Map<number, number>();
  /** Streams that wait for that. */
  readonly #full = new Set<number>();
  #due = false;

  constructor(source: MessageSource<Response>) {
    this.#source = source;
  }

  /** Serves what the source knows as `id`, until the caller goes or the node does. */
  serve(id: number, responses: Responses<Response>, context: Pick<CallContext, "onEnd" | "onShutdown">): void {
    this.#streams.set(id, responses);
    context.onEnd(() => {
      this.#source.close(id);
      this.#streams.delete(id);
      this.#readable.delete(id);
      this.#behind.delete(id);
      this.#waitingBytes.delete(id);
      this.#full.delete(id);
    });
    context.onShutdown(() => responses.fail(new MeshError("SHUTTING_DOWN", "the node is going down: resume on another")));
    this.note(id);
  }

  /** A stream has something to read. */
  note(id: number): void {
    this.#readable.add(id);
    if (this.#due) return;
    this.#due = true;
    setImmediate(() => this.#serve());
  }

  #serve(): void {
    this.#due = false;
    const readable = [...this.#readable];
    this.#readable.clear();
    for (const id of readable) this.#write(id);
    this.#source.served?.();
  }

  /** Writes until there is nothing more, or the stream takes nothing more. */
  #write(id: number): void {
    const responses = this.#streams.get(id);
    while (responses !== undefined && !responses.over) {
      if ((this.#waitingBytes.get(id) ?? 0) >= WAITING_BYTES) {
        this.#full.add(id);
        return;
      }
      if (!responses.writable) return this.#wait(id, responses);
      let response: Response | undefined;
      try {
        response = this.#source.next(id);
      } catch (error) {
        return responses.fail(MeshError.from(error));
      }
      if (response === undefined) return;
      const bytes = this.#source.sizeOf?.(response);
      if (bytes === undefined) responses.write(response);
      else {
        this.#waitingBytes.set(id, (this.#waitingBytes.get(id) ?? 0) + bytes);
        responses.write(response, () => this.#taken(id, bytes));
      }
    }
  }

  #taken(id: number, bytes: number): void {
    const left = (this.#waitingBytes.get(id) ?? 0) - bytes;
    if (left > 0) this.#waitingBytes.set(id, left);
    else this.#waitingBytes.delete(id);
    if (left < WAITING_BYTES && this.#full.delete(id)) this.note(id);
  }

  #wait(id: number, responses: Responses<Response>): void {
    if (this.#behind.has(id)) return;
    this.#behind.add(id);
    responses.onWritable(() => {
      // A stream that is over is known no more.
      if (this.#behind.delete(id)) this.note(id);
    });
  }
}
