import { MeshError } from "@statemesh/contract";
import pg from "pg";
import { commitFailureOf, failureOf } from "./sql-error.ts";

/** A statement of ours; prepared once a connection under its name. Without a name it is sent whole each time. */
export interface Statement {
  readonly name?: string;
  readonly text: string;
}

/** Runs statements, one at a time: a transaction, or single statements of their own. */
export interface SqlSession {
  /** Rows, and how many were returned or changed. Throws what the driver throws. */
  run<Row extends object = Record<string, never>>(statement: Statement, values: readonly unknown[]): Promise<{ rows: Row[]; count: number }>;
}

/** Who asks: work for a caller that has gone is not begun. */
export interface Caller {
  readonly cancelled: boolean;
  /** Milliseconds until the caller gives up; Infinity: never. */
  readonly remainingMs: number;
}

export interface DatabaseOptions {
  readonly url: string;
  /** Most connections. */
  readonly poolSize: number;
  /** Most calls that wait for a connection; further ones get OVERLOADED. */
  readonly waitingMax: number;
  /** Milliseconds to get a connection. */
  readonly connectTimeoutMs: number;
  /** Milliseconds for one statement. */
  readonly statementTimeoutMs: number;
  /** Hears of connections that broke while idle. */
  readonly onIdleError: (error: Error) => void;
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
const RETRY_DELAY_MS = 500;

/** int8 as a number: every column that we read as one holds at most 2^53-1 by validation. Morton keys are read as text. */
function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`int8 ${text} passes 2^53-1`);
  return value;
}

/** A pool of connections to PostgreSQL or CockroachDB. */
export class Database {
  readonly #pool: pg.Pool;
  readonly #waitingMax: number;

  constructor(options: DatabaseOptions) {
    this.#waitingMax = options.waitingMax;
    this.#pool = new pg.Pool({
      connectionString: options.url,
      max: options.poolSize,
      connectionTimeoutMillis: options.connectTimeoutMs,
      idleTimeoutMillis: 60_000,
      keepAlive: true,
      application_name: "statemesh-region-store",
      statement_timeout: options.statementTimeoutMs,
      lock_timeout: options.statementTimeoutMs,
      // A connection that lost its client must not hold locks for long.
      idle_in_transaction_session_timeout: options.statementTimeoutMs * 2,
      // For servers that no longer answer at all: the server's own timeout comes first.
      query_timeout: options.statementTimeoutMs + 1_000,
      types: {
        getTypeParser: (oid: number, format?: "text" | "binary") => (oid === pg.types.builtins.INT8 && format !== "binary" ? safeInteger : pg.types.getTypeParser(oid, format)),
      },
    });
    // A connection that breaks between two statements of a transaction has nobody else to tell; the next statement
    // fails. Told without the driver's own fields: they hold the whole client, its password too.
    this.#pool.on("connect", (client) => client.on("error", (error) => options.onIdleError(new Error(error.message))));
    // The same error of an idle connection, which the pool then drops.
    this.#pool.on("error", () => undefined);
  }

  /** Connections in use, idle, and calls that wait for one. */
  get load(): { busy: number; idle: number; waiting: number } {
    return { busy: this.#pool.totalCount - this.#pool.idleCount, idle: this.#pool.idleCount, waiting: this.#pool.waitingCount };
  }

  /**
   * Runs one statement by itself that changes nothing, or that may run twice. A connection that turns out to be
   * broken is replaced, once. Throws MeshError.
   */
  async read<Row extends object>(statement: Statement, values: readonly unknown[], caller?: Caller): Promise<Row[]> {
    for (let attempt = 1; ; attempt++) {
      const client = await this.#connect(caller, false);
      try {
        const { rows } = await sessionOf(client).run<Row>(statement, values);
        client.release();
        return rows;
      } catch (error) {
        const failure = failureOf(error);
        client.release(failure === "unavailable" || failure === "unknown");
        if (failure === "defect" || failure === "duplicate") throw MeshError.from(error);
        if (attempt >= BROKEN_MAX) throw unavailable(error);
        if (failure === "conflict") await backoff(attempt);
      }
    }
  }

  /**
   * Runs `work` in one transaction, and again as a whole where others got in its way (serialization failure,
   * deadlock, WorkConflict), at most 12 times. A MeshError of the work rolls back and is thrown on.
   *
   * @throws MeshError STORE_UNAVAILABLE (nothing is in force), OUTCOME_UNKNOWN, OVERLOADED, or the work's own
   */
  async transaction<T>(work: (session: SqlSession) => Promise<T>, options: TransactionOptions): Promise<T> {
    let unknown = false;
    let broken = 0;
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      const client = await this.#connect(options.caller, unknown);
      let committing = false;
      try {
        const session = sessionOf(client);
        await session.run({ text: "BEGIN" }, []);
        const result = await work(session);
        committing = true;
        await session.run({ text: "COMMIT" }, []);
        client.release();
        return result;
      } catch (error) {
        const usable = await rollBack(client, error);
        client.release(!usable);
        if (error instanceof MeshError) throw error;
        const failure = error instanceof WorkConflict ? "conflict" : committing ? commitFailureOf(error) : failureOf(error);
        if (failure === "unknown") {
          if (!options.decidesRepeats) throw outcomeUnknown(error);
          unknown = true;
        }
        if (failure === "duplicate") throw new MeshError("INVALID_FIELD", "one row is named twice in one list", { cause: error });
        if (failure === "defect") throw unknown ? outcomeUnknown(error) : MeshError.from(error);
        if (failure !== "conflict" && ++broken >= BROKEN_MAX) throw unknown ? outcomeUnknown(error) : unavailable(error);
        await backoff(attempt);
      }
    }
    const busy = new MeshError("OVERLOADED", "others keep changing the same rows", { retryDelayMs: RETRY_DELAY_MS });
    throw unknown ? outcomeUnknown(busy) : busy;
  }

  /** Runs one statement outside of any transaction; for DDL, which commits by itself. Throws what the driver throws. */
  async runAlone(statement: Statement, values: readonly unknown[]): Promise<void> {
    const client = await this.#connect(undefined, false);
    try {
      await sessionOf(client).run(statement, values);
      client.release();
    } catch (error) {
      client.release(failureOf(error) === "unavailable");
      throw error;
    }
  }

  /** Whether the server answers. */
  async ping(): Promise<boolean> {
    try {
      await this.read({ text: "SELECT 1" }, []);
      return true;
    } catch (error) {
      if (error instanceof MeshError && (error.reason === "STORE_UNAVAILABLE" || error.reason === "OVERLOADED")) return error.reason === "OVERLOADED";
      throw error;
    }
  }

  /** Closes idle connections at once and busy ones when they are given back. */
  async close(): Promise<void> {
    await this.#pool.end();
  }

  async #connect(caller: Caller | undefined, unknown: boolean): Promise<pg.PoolClient> {
    // Once an outcome is unknown, only its clearing up can be answered: the caller is not let go with less.
    if (!unknown && caller !== undefined) {
      if (caller.remainingMs <= 0) throw new MeshError("DEADLINE_EXCEEDED", "the deadline passed before anything was written");
      if (caller.cancelled) throw new MeshError("CANCELLED", "cancelled before anything was written");
    }
    if (this.#pool.waitingCount >= this.#waitingMax) {
      const overloaded = new MeshError("OVERLOADED", `${this.#waitingMax} calls wait for SQL`, { retryDelayMs: RETRY_DELAY_MS });
      throw unknown ? outcomeUnknown(overloaded) : overloaded;
    }
    try {
      return await this.#pool.connect();
    } catch (error) {
      if (failureOf(error) === "defect") throw MeshError.from(error);
      throw unknown ? outcomeUnknown(error) : unavailable(error);
    }
  }
}

function sessionOf(client: pg.PoolClient): SqlSession {
  return {
    async run<Row extends object>(statement: Statement, values: readonly unknown[]) {
      const config = { text: statement.text, values: values as unknown[], ...(statement.name === undefined ? {} : { name: statement.name }) };
      const result = await client.query<Row>(config);
      return { rows: result.rows, count: result.rowCount ?? 0 };
    },
  };
}

/** Rolls back; false where the connection is of no more use. */
async function rollBack(client: pg.PoolClient, error: unknown): Promise<boolean> {
  const failure = error instanceof MeshError || error instanceof WorkConflict ? "conflict" : failureOf(error);
  if (failure === "unavailable" || failure === "unknown") return false;
  try {
    await client.query("ROLLBACK");
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

/** Full jitter: others that met the same conflict come back at other times. */
async function backoff(attempt: number): Promise<void> {
  const limitMs = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** attempt);
  await new Promise((resolve) => setTimeout(resolve, Math.random() * limitMs));
}
