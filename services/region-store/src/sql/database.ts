import { MeshError } from "@statemesh/contract";
import { SystemClock, SystemRandom, SystemTimers } from "@statemesh/ports";
import { CallPlaces, type KindLoad } from "@statemesh/service";
import { type Caller, type Connection, type TransactionOptions, WorkRunner } from "@statemesh/store";
import pg from "pg";

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

export interface DatabaseOptions {
  readonly url: string;
  /** Most connections. */
  readonly poolSize: number;
  /** Connections that the consensus has for itself, where there are more. */
  readonly reservedConnections: number;
  /** Most connections that bulk work holds. */
  readonly bulkConnections: number;
  /** Most calls of each kind that wait for a connection; further ones get OVERLOADED. */
  readonly waitingMax: number;
  /** Milliseconds to wait for one's turn, and then to get a connection. */
  readonly connectTimeoutMs: number;
  /** Milliseconds for one statement. */
  readonly statementTimeoutMs: number;
  /** Hears of connections that broke while idle. */
  readonly onIdleError: (error: Error) => void;
}

/** Work on SQL, in the order in which it gets connections: what nodes need, calls of game servers and operators, and long reads. */
export const WORK_KINDS = ["consensus", "query", "bulk"] as const;
export type WorkKind = (typeof WORK_KINDS)[number];

const NOBODY: Caller = { cancelled: false, remainingMs: Number.POSITIVE_INFINITY };

const BEGIN: Statement = { text: "BEGIN" };
const COMMIT: Statement = { text: "COMMIT" };
const ROLLBACK: Statement = { text: "ROLLBACK" };

/** int8 as a number: every column that we read as one holds at most 2^53-1 by validation. Morton keys are read as text. */
function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`int8 ${text} passes 2^53-1`);
  return value;
}

/** Runs work of one kind. */
export class Sql {
  readonly #runner: WorkRunner<SqlSession>;

  constructor(connect: (caller: Caller | undefined) => Promise<Connection<SqlSession>>) {
    this.#runner = new WorkRunner(connect, new SystemTimers(), new SystemRandom());
  }

  /**
   * Runs one statement by itself that changes nothing, or that may run twice. A connection that turns out to be
   * broken is replaced, once. Throws MeshError.
   */
  async read<Row extends object>(statement: Statement, values: readonly unknown[], caller?: Caller): Promise<Row[]> {
    return await this.#runner.read(async (session) => (await session.run<Row>(statement, values)).rows, caller);
  }

  /** Runs statements that change nothing on one connection, without a transaction. Throws MeshError. */
  async readAll<T>(work: (session: SqlSession) => Promise<T>, caller?: Caller): Promise<T> {
    return await this.#runner.read(work, caller);
  }

  /** Runs `work` in one transaction: see WorkRunner.transaction. */
  async transaction<T>(work: (session: SqlSession) => Promise<T>, options: TransactionOptions): Promise<T> {
    return await this.#runner.transaction(work, options);
  }

  /** Runs one statement outside of any transaction; for DDL, which commits by itself. Throws what the driver throws. */
  async runAlone(statement: Statement, values: readonly unknown[]): Promise<void> {
    await this.#runner.alone((session) => session.run(statement, values));
  }
}

/** A pool of connections to PostgreSQL or CockroachDB, shared by kinds of work. */
export class Database {
  readonly #pool: pg.Pool;
  readonly #places: CallPlaces<WorkKind>;
  /** What nodes need, and what the store itself does. */
  readonly consensus = this.#of("consensus");
  readonly query = this.#of("query");
  readonly bulk = this.#of("bulk");

  constructor(options: DatabaseOptions) {
    const { poolSize, reservedConnections, bulkConnections } = options;
    const waits = { waitingMax: options.waitingMax, waitMaxMs: options.connectTimeoutMs };
    const others = Math.max(1, poolSize - reservedConnections);
    const kinds = { consensus: { ...waits, placesMax: poolSize }, query: { ...waits, placesMax: others }, bulk: { ...waits, placesMax: Math.min(bulkConnections, others) } };
    this.#places = new CallPlaces(poolSize, kinds, new SystemClock(), new SystemTimers());
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
    const waiting = WORK_KINDS.reduce((sum, kind) => sum + this.#places.load(kind).waiting, 0);
    return { busy: this.#pool.totalCount - this.#pool.idleCount, idle: this.#pool.idleCount, waiting };
  }

  loadOf(kind: WorkKind): KindLoad {
    return this.#places.load(kind);
  }

  /** Whether the server answers. */
  async ping(): Promise<boolean> {
    try {
      await this.consensus.read({ text: "SELECT 1" }, []);
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

  #of(kind: WorkKind): Sql {
    return new Sql(async (caller) => {
      const release = await this.#places.take(kind, caller ?? NOBODY);
      try {
        return connectionOf(await this.#pool.connect(), release);
      } catch (error) {
        release();
        throw error;
      }
    });
  }
}

function connectionOf(client: pg.PoolClient, done: () => void): Connection<SqlSession> {
  const session = sessionOf(client);
  return {
    session,
    begin: async () => void (await session.run(BEGIN, [])),
    commit: async () => void (await session.run(COMMIT, [])),
    rollBack: async () => void (await session.run(ROLLBACK, [])),
    release: (usable) => {
      client.release(!usable);
      done();
    },
  };
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
