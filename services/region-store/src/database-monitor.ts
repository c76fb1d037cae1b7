import type { Database } from "./sql/database.ts";
import { migrate, type Migration, MigrationError } from "./sql/migrations.ts";

/** How often SQL is asked whether it answers, milliseconds. */
const PERIOD_MS = 1_000;

/** What the monitor tells. */
export interface MonitorEvents {
  /** SQL began or ceased to answer. */
  readonly onChange: (up: boolean, cause: unknown) => void;
  /** The schema is not one that this release can bring up to date: the process should end. */
  readonly onWrongSchema: (error: MigrationError) => void;
  readonly onMigrated: (steps: number) => void;
  /** Once a period while SQL answers. */
  readonly onTick: () => Promise<void>;
}

/**
 * Brings the schema up to date as soon as SQL answers, then keeps asking. The server starts without SQL too, and
 * recovers by itself: until then it says why it is not ready.
 */
export class DatabaseMonitor {
  readonly #database: Database;
  readonly #migrations: readonly Migration[];
  readonly #events: MonitorEvents;
  readonly #nowMs: () => number;
  #migrated = false;
  #up: boolean | undefined;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(database: Database, migrations: readonly Migration[], nowMs: () => number, events: MonitorEvents) {
    this.#database = database;
    this.#migrations = migrations;
    this.#nowMs = nowMs;
    this.#events = events;
  }

  start(): void {
    this.#running = this.#look();
  }

  /** Why calls that need SQL would fail; empty where they would not. */
  reasons(): readonly string[] {
    if (!this.#migrated) return ["the database schema is not up to date yet"];
    return this.#up === true ? [] : ["the database does not answer"];
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #look(): Promise<void> {
    try {
      await this.#lookOnce();
    } catch (error) {
      if (error instanceof MigrationError) {
        this.#stopped = true;
        this.#events.onWrongSchema(error);
        return;
      }
      this.#tell(false, error);
    }
    if (this.#stopped) return;
    this.#timer = setTimeout(() => this.start(), PERIOD_MS);
  }

  async #lookOnce(): Promise<void> {
    if (!this.#migrated) {
      const steps = await migrate(this.#database.consensus, this.#migrations, this.#nowMs);
      this.#migrated = true;
      this.#events.onMigrated(steps);
    }
    const up = await this.#database.ping();
    this.#tell(up, undefined);
    if (up) await this.#events.onTick();
  }

  #tell(up: boolean, cause: unknown): void {
    if (this.#up === up) return;
    this.#up = up;
    this.#events.onChange(up, cause);
  }
}
