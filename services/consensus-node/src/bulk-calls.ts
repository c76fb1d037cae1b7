// Calls that take long on a node: large pages, snapshots of many regions, proofs over all accounts, reports. So many are at work at a time, some more
// wait, and the rest is told when to come again. What they do goes in slices, of which the event loop runs one a turn, with the node's
// other work in between: operations that are decided wait for a slice at most, and for no call.
import type { Clock, Timers } from "@statemesh/ports";
import { type CallContext, CallPlaces, type KindLoad, type Release, type Respond, unaryCallback, type UnaryMethod } from "@statemesh/service";

export interface BulkLimits {
  readonly clock: Clock;
  readonly timers: Timers;
  /** Calls at work. */
  readonly calls: number;
  /** Calls that wait. */
  readonly waiting: number;
  /** How long one waits, milliseconds; and how long one has its place whose answer is not read. */
  readonly waitMaxMs: number;
  /** Runs a task after the events that are at hand. */
  readonly defer: (task: () => void) => void;
}

export class BulkCalls {
  readonly #places: CallPlaces<"bulk">;
  readonly #timers: Timers;
  readonly #unreadMaxMs: number;
  readonly #defer: (task: () => void) => void;
  readonly #slices: (() => void)[] = [];
  #isDeferred = false;

  constructor({ calls, waiting, waitMaxMs, clock, timers, defer }: BulkLimits) {
    this.#places = new CallPlaces(calls, { bulk: { placesMax: calls, waitingMax: waiting, waitMaxMs } }, clock, timers);
    this.#timers = timers;
    this.#unreadMaxMs = waitMaxMs;
    this.#defer = defer;
  }

  get load(): KindLoad {
    return this.#places.load("bulk");
  }

  /** Runs a slice when it is its turn: one each time round the event loop. It must not throw. */
  readonly turn = (slice: () => void): void => {
    this.#slices.push(slice);
    this.#wake();
  };

  #wake(): void {
    if (this.#isDeferred || this.#slices.length === 0) return;
    this.#isDeferred = true;
    this.#defer(() => {
      this.#isDeferred = false;
      const slice = this.#slices.shift();
      this.#wake();
      slice?.();
    });
  }

  /** `turn`, for those who await it. */
  async nextTurn(): Promise<void> {
    await new Promise<void>((resolve) => this.turn(resolve));
  }

  /**
   * Runs a call in a place that it has until the call has ended: until its answer is sent, not only made. Who does not read its answer has the place for as
   * long after it was made as others wait for one, and keeps nobody out for longer.
   */
  admit<Response>(context: CallContext, respond: Respond<Response>, run: (respond: Respond<Response>) => void): void {
    this.#places.take("bulk", context).then(
      (release) => {
        context.onEnd(release);
        if (context.cancelled) return;
        const answer = answering(respond, () => this.#giveBack(context, release));
        this.turn(() => {
          try {
            run(answer);
          } catch (error) {
            answer.fail(error);
          }
        });
      },
      (error: unknown) => respond.fail(error),
    );
  }

  /** The place of a call that is answered: until the answer is sent, and not for long where it is not read. */
  #giveBack(context: CallContext, release: Release): void {
    const stop = this.#timers.after(this.#unreadMaxMs, release);
    context.onEnd(() => {
      stop();
      release();
    });
  }

  /**
   * Runs the slices of a call, each in a place that it has while it runs, and from the one that answers until the answer is sent. While the call waits for
   * something between them it holds none: what waits for a quorum that is not there keeps nobody out.
   */
  slices<Response>(context: CallContext, respond: Respond<Response>): { readonly turn: (slice: () => void) => void; readonly respond: Respond<Response> } {
    let isAnswered = false;
    const answer = answering(respond, () => (isAnswered = true));
    const turn = (slice: () => void): void => {
      this.#places.take("bulk", context).then(
        (release) =>
          this.turn(() => {
            if (!context.cancelled) slice();
            if (isAnswered) this.#giveBack(context, release);
            else release();
          }),
        (error: unknown) => answer.fail(error),
      );
    };
    return { turn, respond: answer };
  }

  /** A unary method whose calls have places. */
  unary<Request, Response>(handler: (request: Request, context: CallContext) => Promise<Response> | Response): UnaryMethod<Request, Response> {
    return unaryCallback((request, context, respond) =>
      this.admit(context, respond, (answer) => {
        Promise.resolve(handler(request, context)).then(answer, answer.fail);
      }),
    );
  }
}

/** Tells that an answer was made, right before it goes. */
function answering<Response>(respond: Respond<Response>, answered: () => void): Respond<Response> {
  return Object.assign(
    (response: Response) => {
      answered();
      respond(response);
    },
    {
      fail: (error: unknown) => {
        answered();
        respond.fail(error);
      },
    },
  );
}
