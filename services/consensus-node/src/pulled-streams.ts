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

/** How long streams are served before other work has its turn, milliseconds; and how many before the clock is looked at. */
const SLICE_MS = 5;
const STREAMS_A_LOOK = 16;
/**
 * A round of streams that took more than a slice is followed by a pause as long as it took of the processor, at most so long, milliseconds: what changes meanwhile goes
 * together, and readers, however many, leave half of the node to others. After a short one there is none: on a busy machine it is long until a process that sleeps has its turn.
 */
const PAUSE_MAX_MS = 50;

/** Time in milliseconds: that only grows, and that this process has spent of processors. */
export interface StreamTimes {
  nowMs(): number;
  spentMs(): number;
}

const REAL_TIMES: StreamTimes = {
  nowMs: () => performance.now(),
  spentMs: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1_000;
  },
};

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
  readonly #times: StreamTimes;
  /** The streams of the round, and the next of them. */
  #round: readonly number[] = [];
  #next = 0;
  /** What the round has taken of the processor so far, milliseconds. */
  #roundMs = 0;
  /** The next round does not begin before, monotonic. */
  #pauseEndMs = 0;
  #due = false;

  constructor(source: MessageSource<Response>, times: StreamTimes = REAL_TIMES) {
    this.#source = source;
    this.#times = times;
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
    this.#plan();
  }

  #plan(): void {
    if (this.#due) return;
    this.#due = true;
    const pauseMs = this.#pauseEndMs - this.#times.nowMs();
    if (pauseMs < 1) setImmediate(() => this.#serve());
    else setTimeout(() => this.#serve(), pauseMs).unref();
  }

  /** Goes on with the round, or begins one, for a slice. */
  #serve(): void {
    const beganMs = this.#times.nowMs();
    const spentMs = this.#times.spentMs();
    if (this.#next === this.#round.length) {
      this.#round = [...this.#readable];
      this.#readable.clear();
      this.#next = 0;
      this.#roundMs = 0;
    }
    while (this.#next < this.#round.length) {
      this.#write(this.#round[this.#next] as number);
      this.#next += 1;
      if (this.#next % STREAMS_A_LOOK === 0 && this.#times.nowMs() - beganMs >= SLICE_MS) break;
    }
    this.#roundMs += this.#times.spentMs() - spentMs;
    if (this.#next < this.#round.length) {
      setImmediate(() => this.#serve());
      return;
    }
    this.#round = [];
    this.#next = 0;
    this.#due = false;
    this.#pauseEndMs = this.#roundMs < SLICE_MS ? 0 : this.#times.nowMs() + Math.min(this.#roundMs, PAUSE_MAX_MS);
    this.#source.served?.();
    if (this.#readable.size > 0) this.#plan();
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
