// What waits to be sent to one peer. Everything that one pump produces for a peer leaves in one frame, or in a few
// where it is much: a frame has a limit, and Raft must not wait behind a heap of anything.
import type { CausalBatch, EventualDelta, ForwardedAnswer, ForwardedCall, Heartbeat, RaftMessage, StreamRequest, TentativeFrame } from "@statemesh/contract";

/** A frame is closed when it holds about this many bytes of entries. One entry may go beyond. */
const FRAME_BYTES = 2 * 1024 * 1024;

/** About what a result takes: three ids, or an error with its words. */
const RESULT_BYTES = 384;

export class PeerFrames {
  readonly #send: (frame: StreamRequest) => void;
  #frame: StreamRequest | undefined;
  #bytes = 0;
  #isQuiet = false;

  constructor(send: (frame: StreamRequest) => void) {
    this.#send = send;
  }

  raft(message: RaftMessage): void {
    let bytes = 64;
    for (const entry of message.entries) bytes += entry.data.length + 16;
    // A frame that is too large for the peer would break the connection again and again.
    if (this.#bytes + bytes > FRAME_BYTES) this.flush();
    this.#open().raft.push(message);
    this.#bytes += bytes;
    this.#close();
  }

  /** `bytes`: about what the call takes. */
  call(call: ForwardedCall, bytes: number): void {
    this.#open().calls.push(call);
    this.#bytes += bytes;
    this.#close();
  }

  answer(answer: ForwardedAnswer): void {
    this.#open().answers.push(answer);
    this.#bytes += answer.results.length * RESULT_BYTES + 64;
    this.#close();
  }

  delta(delta: EventualDelta): void {
    this.#open().deltas.push(delta);
    this.#bytes += (delta.values.length + delta.unchanged.length) * 128;
    this.#close();
  }

  causal(batch: CausalBatch): void {
    this.#open().causal.push(batch);
    this.#bytes += batch.events.length * 256;
    this.#close();
  }

  /** What the sender and others say of whom they hear; at most one list a frame. */
  heartbeats(heartbeats: readonly Heartbeat[]): void {
    this.#open().heartbeats = [...heartbeats];
    this.#bytes += heartbeats.length * 128;
    this.#close();
  }

  /** `bytes`: about what it takes. */
  tentative(frame: TentativeFrame, bytes: number): void {
    this.#open().tentative.push(frame);
    this.#bytes += bytes;
    this.#close();
  }

  /** Sends what waits. */
  flush(): void {
    const frame = this.#frame;
    if (frame === undefined) return;
    this.#frame = undefined;
    this.#bytes = 0;
    this.#isQuiet = false;
    this.#send(frame);
  }

  /** An empty frame, where nothing was sent since the last beat: the peer shall know that this node lives. */
  beat(): void {
    if (this.#isQuiet) this.#open();
    this.flush();
    this.#isQuiet = true;
  }

  #open(): StreamRequest {
    this.#frame ??= { hello: undefined, raft: [], calls: [], answers: [], deltas: [], causal: [], heartbeats: [], tentative: [] };
    return this.#frame;
  }

  #close(): void {
    if (this.#bytes >= FRAME_BYTES) this.flush();
  }
}
