import { createHash, randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { sqlStateOf } from "@statemesh/store";
import type { Sql, Statement } from "./database.ts";

/** One step of the schema: a single idempotent DDL statement. */
export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly text: string;
  /** SHA-256 of the text in hex. */
  readonly checksum: string;
}

/** A step that was applied has another text now, or the steps are not numbered 1, 2, 3...: an operator must look. */
export class MigrationError extends Error {
  override readonly name = "MigrationError";
}

/** Where the steps are. */
export const MIGRATIONS_FOLDER = new URL("../../migrations/", import.meta.url);

/** How long a replica may take for one step before others take over, milliseconds. Steps are idempotent, so that is safe. */
const CLAIM_MS = 30_000;
const POLL_MS = 100;
/** Tries of one DDL statement that collides with another session's. */
const DDL_ATTEMPTS = 50;
/** unique violation, duplicate table, duplicate object, serialization failure */
const DDL_COLLISIONS: ReadonlySet<string> = new Set(["23505", "42P07", "42710", "40001"]);
const FILE_NAME = /^(\d{4})_([a-z0-9_]+)\.sql$/;

const CREATE_APPLIED: Statement = {
  text: `CREATE TABLE IF NOT EXISTS schema_migrations (
    version INT8 NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at_ms INT8 NOT NULL)`,
};
const CREATE_CLAIM: Statement = {
  text: `CREATE TABLE IF NOT EXISTS schema_migration_claim (
    id INT8 NOT NULL PRIMARY KEY, holder TEXT NOT NULL, expires_at_ms INT8 NOT NULL)`,
};
const SELECT_APPLIED: Statement = { text: "SELECT version, name, checksum FROM schema_migrations ORDER BY version" };
const INSERT_APPLIED: Statement = {
  text: "INSERT INTO schema_migrations (version, name, checksum, applied_at_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (version) DO NOTHING",
};
const TAKE_CLAIM: Statement = {
  text: `INSERT INTO schema_migration_claim (id, holder, expires_at_ms) VALUES (1, $1, $2)
    ON CONFLICT (id) DO UPDATE SET holder = excluded.holder, expires_at_ms = excluded.expires_at_ms
    WHERE schema_migration_claim.holder = excluded.holder OR schema_migration_claim.expires_at_ms < $3
    RETURNING holder`,
};
const DROP_CLAIM: Statement = { text: "DELETE FROM schema_migration_claim WHERE id = 1 AND holder = $1" };

/** Reads the steps from a folder, in order. */
export async function readMigrations(folder: URL): Promise<Migration[]> {
  const names = (await readdir(folder)).sort();
  const migrations: Migration[] = [];
  for (const file of names) {
    const match = FILE_NAME.exec(file);
    if (match === null) throw new MigrationError(`${file}: must be named NNNN_name.sql`);
    const version = Number(match[1]);
    if (version !== migrations.length + 1) throw new MigrationError(`${file}: expected number ${migrations.length + 1}`);
    const text = await readFile(new URL(file, folder), "utf8");
    migrations.push({ version, name: match[2] ?? "", text, checksum: createHash("sha256").update(text).digest("hex") });
  }
  return migrations;
}

/**
 * Brings the schema up to date. Any number of replicas may start at once: one claims the work with a row, the
 * others wait; no advisory locks, which CockroachDB does not have. Steps that a newer release applied are left alone.
 *
 * @returns how many steps this call applied
 * @throws MigrationError; MeshError STORE_UNAVAILABLE
 */
export async function migrate(database: Sql, migrations: readonly Migration[], nowMs: () => number): Promise<number> {
  const holder = randomUUID();
  await runDdl(database, CREATE_APPLIED);
  await runDdl(database, CREATE_CLAIM);
  let applied = 0;
  for (;;) {
    const pending = await pendingOf(database, migrations);
    const next = pending[0];
    if (next === undefined) {
      if (applied > 0) await database.transaction((session) => session.run(DROP_CLAIM, [holder]), { decidesRepeats: true });
      return applied;
    }
    if (!(await claim(database, holder, nowMs()))) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      continue;
    }
    // Looked at again under the claim: the one before us may just have finished.
    if ((await pendingOf(database, migrations))[0] !== next) continue;
    await runDdl(database, { text: next.text });
    await database.transaction((session) => session.run(INSERT_APPLIED, [next.version, next.name, next.checksum, nowMs()]), { decidesRepeats: true });
    applied += 1;
  }
}

async function claim(database: Sql, holder: string, nowMs: number): Promise<boolean> {
  const { rows } = await database.transaction((session) => session.run<{ holder: string }>(TAKE_CLAIM, [holder, nowMs + CLAIM_MS, nowMs]), { decidesRepeats: true });
  return rows.length > 0;
}

async function pendingOf(database: Sql, migrations: readonly Migration[]): Promise<Migration[]> {
  const applied = await database.read<{ version: number; name: string; checksum: string }>(SELECT_APPLIED, []);
  const byVersion = new Map(applied.map((row) => [row.version, row]));
  return migrations.filter((migration) => {
    const row = byVersion.get(migration.version);
    if (row === undefined) return true;
    if (row.checksum !== migration.checksum) {
      throw new MigrationError(`migration ${migration.version} was applied as ${row.name} with another text: steps that were released never change`);
    }
    return false;
  });
}

/**
 * Runs a DDL statement that says IF NOT EXISTS. Of two sessions at once one can still collide in PostgreSQL's catalogue, with
 * the name of the table, of its row type, or with a unique index of the catalogue: then it is there, or is soon.
 */
async function runDdl(database: Sql, statement: Statement): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await database.runAlone(statement, []);
      return;
    } catch (error) {
      if (attempt === DDL_ATTEMPTS || !DDL_COLLISIONS.has(sqlStateOf(error) ?? "")) throw error;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}
