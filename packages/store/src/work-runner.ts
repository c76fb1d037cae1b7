import { MeshError } from "@statemesh/contract";
import type { Random, Timers } from "@statemesh/ports";
import { commitFailureOf, failureOf } from "./sql-error.ts";

/** Who asks: work for a caller that has gone is not begun. */
export interface Caller {
  /** Its connection: those that wait take turns by it. Absent: the process itself. */
  readonly peer?: string | undefined;
  readonly cancelled: boolean;
  /** Milliseconds until the caller gives up; Infinity: never. */
  readonly remainingMs: number;
}

/** One connection to SQL, for one piece of work at a time. Its errors are the driver's: with an SQLSTATE, or of the connection. */
export interface Connection<Session> {
  readonly session: Session;
  begin(): Promise<void>;
  commit(): Promise<void>;
  rollBack(): Promise<void>;
  /** Gives it back; not `usable`: it is closed. */
  release(usable: boolean): void;
}

/** Where connections come from, for a caller. Throws the driver's errors, or a MeshError where the caller is not let in: nothing was begun. */
export type Connect<Session> = (caller: Caller | undefined) => Promise<Connection<Session>>;

/** The caller's place among others, for what nobody may cancel: others wait for it too, or it has to be cleared up. */
export function withoutDeadline(caller: Caller | undefined): Caller | undefined {
  return caller === undefined ? undefined : { peer: caller.peer, cancelled: false, remainingMs: Number.POSITIVE_INFINITY };
}

/** How a transaction may be repeated. */
export interface TransactionOptions {
  /**
   * The work itself finds out whether it already took effect (by a request id or a watermark), so that an unknown
   * outcome is cleared up by running it again. Otherwise an unknown outcome is answered OUTCOME_UNKNOWN.
   */
  readonly decidesRepeats: boolean;
  readonly caller?: Caller | undefined;
}

/** The work found the rows changed under it: roll back and run it again. */
export class WorkConflict extends Error {
  override readonly name = "WorkConflict";
}

/** Attempts at one transaction before the caller hears OVERLOADED. */
const ATTEMPTS_MAX = 12;
/** Attempts after a connection that broke: a restart leaves the pool with dead ones, at most one each. */
const BROKEN_MAX = 3;
const BACKOFF_FIRST_MS = 4;
const BACKOFF_MAX_MS = 250;
export const RETRY_DELAY_MS = 500;

/** Runs work in transactions, and again where others got in its way; says what is known where it failed. */
export class WorkRunner<Session> {
  readonly #connectTo: Connect<Session>;
  readonly #timers: Timers;
  readonly #random: Random;

  constructor(connect: Connect<Session>, timers: Timers, random: Random) {
    this.#connectTo = connect;
    this.#timers = timers;
    this.#random = random;
  }

  /** Runs work that changes nothing, or that may run twice. A connection that turns out to be broken is replaced, once. Throws MeshError. */
  async read<T>(work: (session: Session) => Promise<T>, caller?: Caller): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const connection = await this.#connect(caller, false);
      try {
        const result = await work(connection.session);
        connection.release(true);
        return result;
      } catch (error) {
        const failure = failureOf(error);
        connection.release(failure !== "unavailable" && failure !== "unknown");
        if (failure === "defect" || failure === "duplicate") throw MeshError.from(error);
        if (attempt >= BROKEN_MAX) throw unavailable(error);
        if (failure === "conflict") await this.#backoff(attempt);
      }
    }
  }

  /**
   * Runs `work` in one transaction, and again as a whole where others got in its way (serialization failure,
   * deadlock, WorkConflict), at most 12 times. A MeshError of the work rolls back and is thrown on.
   *
   * @throws MeshError STORE_UNAVAILABLE (nothing is in force), OUTCOME_UNKNOWN, OVERLOADED, or the work's own
   */
  async transaction<T>(work: (session: Session) => Promise<T>, options: TransactionOptions): Promise<T> {
    let unknown = false;
    let broken = 0;
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      const connection = await this.#connect(options.caller, unknown);
      let committing = false;
      try {
        await connection.begin();
        const result = await work(connection.session);
        committing = true;
        await connection.commit();
        connection.release(true);
        return result;
      } catch (error) {
        connection.release(await rollBack(connection, error));
        if (error instanceof MeshError) throw error;
        const failure = error instanceof WorkConflict ? "conflict" : committing ? commitFailureOf(error) : failureOf(error);
        if (failure === "unknown") {
          if (!options.decidesRepeats) throw outcomeUnknown(error);
          unknown = true;
        }
        if (failure === "duplicate") throw new MeshError("INVALID_FIELD", "one row is named twice in one list", { cause: error });
        if (failure === "defect") throw unknown ? outcomeUnknown(error) : MeshError.from(error);
        if (failure !== "conflict" && ++broken >= BROKEN_MAX) throw unknown ? outcomeUnknown(error) : unavailable(error);
        await this.#backoff(attempt);
      }
    }
    const busy = new MeshError("OVERLOADED", "others keep changing the same rows", { retryDelayMs: RETRY_DELAY_MS });
    throw unknown ? outcomeUnknown(busy) : busy;
  }

  /** Runs work once, outside of any transaction. Throws what the driver throws; MeshError where there is no connection. */
  async alone<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const connection = await this.#connect(undefined, false);
    try {
      const result = await work(connection.session);
      connection.release(true);
      return result;
    } catch (error) {
      connection.release(failureOf(error) !== "unavailable");
      throw error;
    }
  }

  async #connect(caller: Caller | undefined, unknown: boolean): Promise<Connection<Session>> {
    // Once an outcome is unknown, only its clearing up can be answered: the caller is not let go with less.
    if (!unknown && caller !== undefined) {
      if (caller.remainingMs <= 0) throw new MeshError("DEADLINE_EXCEEDED", "the deadline passed before anything was written");
      if (caller.cancelled) throw new MeshError("CANCELLED", "cancelled before anything was written");
    }
    try {
      return await this.#connectTo(unknown ? withoutDeadline(caller) : caller);
    } catch (error) {
      if (unknown) throw outcomeUnknown(error);
      if (error instanceof MeshError) throw error;
      if (failureOf(error) === "defect") throw MeshError.from(error);
      throw unavailable(error);
    }
  }

  /** Full jitter: others that met the same conflict come back at other times. */
  async #backoff(attempt: number): Promise<void> {
    const limitMs = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** attempt);
    await new Promise<void>((resolve) => this.#timers.after(this.#random.next() * limitMs, resolve));
  }
}

/** Rolls back; false where the connection is of no more use. */
async function rollBack(connection: Connection<unknown>, error: unknown): Promise<boolean> {
  const failure = error instanceof MeshError || error instanceof WorkConflict ? "conflict" : failureOf(error);
  if (failure === "unavailable" || failure === "unknown") return false;
  try {
    await connection.rollBack();
    return true;
  } catch {
    return false; // The connection broke: the server rolls back by itself, and the pool drops the connection.
  }
}

function unavailable(cause: unknown): MeshError {
  return new MeshError("STORE_UNAVAILABLE", "SQL does not answer; nothing was changed", { cause, retryDelayMs: RETRY_DELAY_MS });
}

function outcomeUnknown(cause: unknown): MeshError {
  return new MeshError("OUTCOME_UNKNOWN", "the connection to SQL was lost at COMMIT: ask again with the same request id", { cause, retryDelayMs: RETRY_DELAY_MS });
}
