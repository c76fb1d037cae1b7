// A SQL database on virtual time: transactions that are serializable, connections that break, and answers that get lost.
import { MeshError } from "@statemesh/contract";
import type { Connection } from "@statemesh/store";
import type { SimRandom } from "../sim-random.ts";
import type { Simulation } from "../simulation.ts";

/** How the database and the way to it behave. All may be changed while it runs; probabilities are of one statement each. */
export interface SqlWeather {
  /** Shortest and longest time of a statement, milliseconds, uniform between. */
  minDelayMs: number;
  maxDelayMs: number;
  /** A connection is refused. */
  refusal: number;
  /** A statement, or COMMIT, fails with 40001 though nobody was in its way. */
  serialization: number;
  /** A statement takes until its timeout, and fails with 57014. */
  slowness: number;
  /** The connection is lost at COMMIT: half of the time it took effect. */
  unknownCommit: number;
}

export const CALM_SQL: SqlWeather = { minDelayMs: 0.3, maxDelayMs: 2, refusal: 0, serialization: 0, slowness: 0, unknownCommit: 0 };

/** What happens to the next COMMIT, whatever the weather. */
export type CommitFate = "lose answer" | "lose request" | "40003";

/** After this the server gives a statement up, milliseconds. */
export const STATEMENT_TIMEOUT_MS = 5_000;
/** Connections of one client at once; further ones are OVERLOADED. */
const CONNECTIONS_MAX = 64;

/** Rows of all tables by a key that begins with the table's name. A row is never changed in place. */
type Rows = Map<string, object>;

/** An error as a driver throws it. Without a code: the connection is gone. */
export class SimSqlError extends Error {
  override readonly name = "SimSqlError";
  readonly code: string | undefined;

  constructor(message: string, code?: string) {
    super(message);
    this.code = code;
  }
}

export class SimSql {
  readonly #simulation: Simulation;
  readonly #random: SimRandom;
  readonly #rows: Rows = new Map();
  readonly #connections = new Set<SimConnection>();
  #upAtMs = 0;
  #fate: CommitFate | undefined;
  weather: SqlWeather;
  readonly counts = { connections: 0, refused: 0, statements: 0, commits: 0, conflicts: 0, serialization: 0, slow: 0, unknownDone: 0, unknownNotDone: 0, failovers: 0 };

  constructor(simulation: Simulation, weather: SqlWeather = { ...CALM_SQL }) {
    this.#simulation = simulation;
    this.#random = simulation.random.fork();
    this.weather = weather;
  }

  /** The next COMMIT gets this fate. */
  nextCommit(fate: CommitFate): void {
    this.#fate = fate;
  }

  get isUp(): boolean {
    return this.#simulation.nowMs >= this.#upAtMs;
  }

  /** Every connection breaks, and new ones are refused for so long. Nothing that was committed is lost. */
  failover(downMs: number): void {
    this.counts.failovers++;
    this.#upAtMs = Math.max(this.#upAtMs, this.#simulation.nowMs + downMs);
    for (const connection of this.#connections) connection.broken = true;
    this.#connections.clear();
  }

  /** Committed rows whose keys begin so, in the order of their keys. */
  committed<Row extends object>(prefix: string): Row[] {
    return [...this.#rows].filter(([key]) => key.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row as Row);
  }

  async connect(client: SimSqlClient): Promise<SimConnection> {
    if (client.open >= CONNECTIONS_MAX) throw new MeshError("OVERLOADED", `${CONNECTIONS_MAX} connections are open`);
    client.open++;
    await this.pass(client);
    if (this.#simulation.nowMs < this.#upAtMs || this.#random.chance(this.weather.refusal)) {
      client.open--;
      this.counts.refused++;
      throw new SimSqlError("connection refused");
    }
    this.counts.connections++;
    const connection = new SimConnection(this, client);
    this.#connections.add(connection);
    return connection;
  }

  closed(connection: SimConnection): void {
    this.#connections.delete(connection);
  }

  /** One way there and back; never comes back where the client is gone. */
  async pass(client: SimSqlClient, delayMs = this.#delayMs()): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#simulation.after(delayMs, () => {
        if (client.isAlive) resolve();
      });
    });
  }

  /** A statement reaches the server and its answer comes back, if it does. */
  async statement<T>(connection: SimConnection, run: (rows: Transaction) => T): Promise<T> {
    const { client } = connection;
    this.counts.statements++;
    const slow = this.#random.chance(this.weather.slowness);
    if (slow) this.counts.slow++;
    await this.pass(client, slow ? STATEMENT_TIMEOUT_MS : this.#delayMs());
    if (connection.broken) throw new SimSqlError("connection terminated");
    if (slow) throw new SimSqlError("canceling statement due to statement timeout", "57014");
    if (this.#random.chance(this.weather.serialization)) {
      this.counts.serialization++;
      throw new SimSqlError("could not serialize access", "40001");
    }
    if (connection.transaction !== undefined) return run(connection.transaction);
    const alone = new Transaction(this.#rows);
    const result = run(alone);
    alone.commit();
    return result;
  }

  async commit(connection: SimConnection): Promise<void> {
    const { client, transaction } = connection;
    if (transaction === undefined) throw new SimSqlError("there is no transaction in progress", "25P01");
    const fate = this.#fate ?? (this.#random.chance(this.weather.unknownCommit) ? this.#random.pick(["lose answer", "lose request"] as const) : undefined);
    this.#fate = undefined;
    // The server takes it at a moment of its own: also where the client dies meanwhile.
    const outcome = await new Promise<SimSqlError | undefined>((resolve) => {
      this.#simulation.after(this.#delayMs() / 2, () => {
        const error = this.#decide(connection, transaction, fate);
        this.#simulation.after(this.#delayMs() / 2, () => {
          if (client.isAlive) resolve(error);
        });
      });
    });
    connection.transaction = undefined;
    if (outcome === undefined) return;
    if (outcome.code === undefined || outcome.code === "40003") connection.broken = true;
    throw outcome;
  }

  #decide(connection: SimConnection, transaction: Transaction, fate: CommitFate | undefined): SimSqlError | undefined {
    if (connection.broken || fate === "lose request") {
      this.counts.unknownNotDone++;
      return new SimSqlError("connection terminated");
    }
    if (this.#random.chance(this.weather.serialization)) {
      this.counts.serialization++;
      return new SimSqlError("could not serialize access", "40001");
    }
    if (!transaction.isValid()) {
      this.counts.conflicts++;
      return new SimSqlError("could not serialize access due to concurrent update", "40001");
    }
    transaction.commit();
    this.counts.commits++;
    if (fate === undefined) return undefined;
    this.counts.unknownDone++;
    return fate === "40003" ? new SimSqlError("statement completion unknown", "40003") : new SimSqlError("connection terminated");
  }

  get rows(): Rows {
    return this.#rows;
  }

  #delayMs(): number {
    const { minDelayMs, maxDelayMs } = this.weather;
    return minDelayMs + this.#random.next() * (maxDelayMs - minDelayMs);
  }
}

/** One process that uses the database. */
export class SimSqlClient {
  readonly sql: SimSql;
  /** Connections that are open. */
  open = 0;
  isAlive = true;

  constructor(sql: SimSql) {
    this.sql = sql;
  }

  async connect(): Promise<Connection<SimConnection>> {
    return await this.sql.connect(this);
  }

  /** The process is gone: it hears no answer any more. A COMMIT under way may still take effect. */
  kill(): void {
    this.isAlive = false;
  }
}

/** A connection, and the session on it. */
export class SimConnection implements Connection<SimConnection> {
  readonly #sql: SimSql;
  readonly client: SimSqlClient;
  transaction: Transaction | undefined;
  broken = false;

  constructor(sql: SimSql, client: SimSqlClient) {
    this.#sql = sql;
    this.client = client;
  }

  get session(): this {
    return this;
  }

  async begin(): Promise<void> {
    await this.#sql.statement(this, () => undefined);
    this.transaction = new Transaction(this.#sql.rows);
  }

  async run<T>(statement: (rows: Transaction) => T): Promise<T> {
    return await this.#sql.statement(this, statement);
  }

  async commit(): Promise<void> {
    await this.#sql.commit(this);
  }

  async rollBack(): Promise<void> {
    this.transaction = undefined;
    await this.#sql.statement(this, () => undefined);
  }

  release(): void {
    this.client.open--;
    this.transaction = undefined;
    this.#sql.closed(this);
  }
}

/**
 * Reads the latest committed rows and its own. At COMMIT every row that it read must still be the one that it read:
 * so transactions are serializable, and the later of two in each other's way fails.
 */
export class Transaction {
  readonly #committed: Rows;
  readonly #seen = new Map<string, object | undefined>();
  /** undefined: removed. */
  readonly #written = new Map<string, object | undefined>();

  constructor(committed: Rows) {
    this.#committed = committed;
  }

  get<Row extends object>(key: string): Row | undefined {
    if (this.#written.has(key)) return this.#written.get(key) as Row | undefined;
    const row = this.#committed.get(key);
    if (!this.#seen.has(key)) this.#seen.set(key, row);
    return row as Row | undefined;
  }

  put(key: string, row: object): void {
    this.#written.set(key, row);
  }

  remove(key: string): void {
    this.#written.set(key, undefined);
  }

  /** Rows whose keys begin so. */
  scan<Row extends object>(prefix: string): [string, Row][] {
    const keys = new Set([...this.#committed.keys(), ...this.#written.keys()].filter((key) => key.startsWith(prefix)));
    return [...keys].sort().flatMap((key) => {
      const row = this.get<Row>(key);
      return row === undefined ? [] : [[key, row] as [string, Row]];
    });
  }

  isValid(): boolean {
    for (const [key, row] of this.#seen) if (this.#committed.get(key) !== row) return false;
    return true;
  }

  commit(): void {
    for (const [key, row] of this.#written) {
      if (row === undefined) this.#committed.delete(key);
      else this.#committed.set(key, row);
    }
  }
}
