/** A read that may be served: the state machine has to have applied `index`. */
export interface ReadState {
  /** What the caller passed to `readIndex`. */
  context: number;
  index: number;
}

interface Round {
  counter: number;
  index: number;
  contexts: number[];
}

/** Rounds under way at once; later reads wait and share the next round. */
const MAX_ROUNDS = 4;

/**
 * Reads that wait for proof that their leader still leads. Reads gather into rounds; a round has the
 * leader's own counter, which heartbeats carry and peers echo. A round is confirmed by a quorum of
 * echoes of its counter or a later one, so a lost echo costs nothing and a client's number is never a key.
 */
export class ReadQueue {
  readonly #limit: number;
  #counter = 0;
  #gathering: number[] = [];
  #rounds: Round[] = [];
  #size = 0;
  #served: ReadState[] = [];
  #aborted: number[] = [];

  /** @param limit Reads that may wait. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Counter of the latest round: what heartbeats carry. */
  get counter(): number {
    return this.#counter;
  }

  get waiting(): number {
    return this.#size;
  }

  get full(): boolean {
    return this.#size >= this.#limit;
  }

  add(context: number): void {
    this.#gathering.push(context);
    this.#size++;
  }

  /** Opens a round for what has gathered, at commit index `index`. True where heartbeats are to carry it now. */
  open(index: number): boolean {
    if (this.#gathering.length === 0 || this.#rounds.length >= MAX_ROUNDS) return false;
    this.#counter++;
    this.#rounds.push({ counter: this.#counter, index, contexts: this.#gathering });
    this.#gathering = [];
    return true;
  }

  /** Opens a round that no read waits for: a lease wants to know which heartbeat was answered. Returns its counter. */
  openEmpty(): number {
    return ++this.#counter;
  }

  /** A read may be served at once. */
  serve(context: number, index: number): void {
    this.#served.push({ context, index });
  }

  /** A quorum echoed `counter` or later: its reads and all earlier ones may be served. */
  confirm(counter: number): void {
    while (this.#rounds.length > 0 && this.#rounds[0]!.counter <= counter) {
      const round = this.#rounds.shift()!;
      for (const context of round.contexts) this.serve(context, round.index);
      this.#size -= round.contexts.length;
    }
  }

  /** The node no longer leads: nothing that waits may be served. The counter goes on, so old echoes never count. */
  abort(): void {
    for (const round of this.#rounds) this.#aborted.push(...round.contexts);
    this.#aborted.push(...this.#gathering);
    this.#rounds = [];
    this.#gathering = [];
    this.#size = 0;
  }

  get hasAnswers(): boolean {
    return this.#served.length > 0 || this.#aborted.length > 0;
  }

  /** Takes what became of reads since the last call. */
  takeAnswers(): { readStates: ReadState[]; abortedReads: number[] } {
    const taken = { readStates: this.#served, abortedReads: this.#aborted };
    this.#served = [];
    this.#aborted = [];
    return taken;
  }
}
