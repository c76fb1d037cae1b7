import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Database } from "../src/sql/database.ts";
import { MIGRATIONS_FOLDER, type Migration, MigrationError, migrate, readMigrations } from "../src/sql/migrations.ts";
import { TestWorld } from "./world.ts";

// CockroachDB has no binary that tests can start here: what it refuses, or takes and does not do, must not be in our SQL.
const REFUSED: readonly [RegExp, string][] = [
  [/pg_(try_)?advisory/i, "advisory locks do nothing there and say yes"],
  [/\b(big|small)?serial\b/i, "SERIAL is not dense and passes 2^53 there"],
  [/\bexclude\b/i, "no exclusion constraints"],
  [/\b(listen|notify)\b\s+\w/i, "no LISTEN and NOTIFY"],
  [/\block\s+table\b/i, "no LOCK TABLE"],
  [/\bmerge\s+into\b/i, "no MERGE"],
  [/\busing\s+(brin|hash|gist|spgist)\b/i, "no such indexes"],
  [/\bdeferrable\b/i, "no deferrable constraints"],
  [/\bcreate\s+(trigger|rule|extension|domain)\b/i, "no triggers, rules, extensions or domains"],
  [/\b(tablespace|unlogged|inherits|fillfactor)\b/i, "storage options of PostgreSQL"],
  [/\b(ctid|xmin|oid)\b/i, "system columns of PostgreSQL"],
  [/\bint(eger)?\b(?!\d)|\bint[24]\b|\bbigint\b/i, "INT has other widths there: INT8"],
  [/[^/*]\/\s*\d/, "the quotient of integers is a decimal there"],
  [/\bon\s+conflict\s+on\s+constraint\b/i, "columns, not a constraint's name"],
];

/** What a text of SQL breaks. */
function broken(sql: string): string[] {
  const code = sql.replaceAll(/--.*$/gm, "");
  return REFUSED.flatMap(([pattern, why]) => (pattern.test(code) ? [why] : []));
}

/** Every template and string in the sources that reads like SQL. */
function statementsInSources(): { file: string; text: string }[] {
  const root = fileURLToPath(new URL("../src/", import.meta.url));
  const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts") && statSync(join(root, name)).isFile());
  return files.flatMap((file) => {
    const source = readFileSync(join(root, file), "utf8");
    const texts = source.match(/`[^`]*`|"(?:[^"\\\n]|\\.)*"/g) ?? [];
    return texts.filter((text) => /\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE)\b/.test(text)).map((text) => ({ file, text }));
  });
}

describe("what is sent to SQL", () => {
  it("is only what PostgreSQL and CockroachDB both take", async () => {
    const statements = statementsInSources();
    expect(statements.length).toBeGreaterThan(25);
    for (const { file, text } of statements) expect({ file, text, broken: broken(text) }).toEqual({ file, text, broken: [] });
    for (const { name, text } of await readMigrations(MIGRATIONS_FOLDER)) expect({ name, broken: broken(text) }).toEqual({ name, broken: [] });
  });

  it.each(["SELECT pg_advisory_lock(1)", "CREATE TABLE t (id BIGSERIAL)", "LISTEN changes", "LOCK TABLE t", "MERGE INTO t", "CREATE INDEX i ON t USING brin (a)", "SELECT a / 2 FROM t", "CREATE TABLE t (a INT)"])(
    "would be found otherwise: %s",
    (sql) => {
      expect(broken(sql)).not.toEqual([]);
    },
  );

  it("changes the schema by one idempotent statement a step", async () => {
    for (const { name, text } of await readMigrations(MIGRATIONS_FOLDER)) {
      const code = text.replaceAll(/--.*$/gm, "").trim().replace(/;$/, "");
      expect({ name, several: code.includes(";"), idempotent: /\bIF NOT EXISTS\b/.test(code) }).toEqual({ name, several: false, idempotent: true });
    }
  });
});

describe("migrations", () => {
  let world: TestWorld;
  const open: Database[] = [];

  beforeAll(async () => {
    world = await TestWorld.start();
  });

  afterAll(async () => {
    for (const database of open) await database.close();
    await world.stop();
  });

  function connect(url: string): Database {
    const database = new Database({ url, poolSize: 4, reservedConnections: 1, bulkConnections: 2, waitingMax: 100, connectTimeoutMs: 5_000, statementTimeoutMs: 10_000, onIdleError: () => undefined });
    open.push(database);
    return database;
  }

  it("are applied once, however many replicas start at the same moment", async () => {
    const url = await world.database();
    const migrations = await readMigrations(MIGRATIONS_FOLDER);
    const applied = await Promise.all(Array.from({ length: 6 }, () => migrate(connect(url).consensus, migrations, Date.now)));
    expect(applied.reduce((sum, each) => sum + each, 0)).toBe(migrations.length);
    expect(await migrate(connect(url).consensus, migrations, Date.now)).toBe(0);
  });

  it("go on after a collision in the catalogue: IF NOT EXISTS of two sessions at once is no error", async () => {
    const url = await world.database();
    const migrations = await readMigrations(MIGRATIONS_FOLDER);
    const other = connect(url);
    // What a session that is in the middle of creating the table shows to others: the name of its row type is taken.
    await other.consensus.runAlone({ text: "CREATE TYPE schema_migrations AS ENUM ('taken')" }, []);
    const applied = migrate(connect(url).consensus, migrations, Date.now);
    const collided = applied.then(() => undefined, (error: unknown) => error);
    await other.consensus.runAlone({ text: "SELECT pg_sleep(0.3)" }, []);
    await other.consensus.runAlone({ text: "DROP TYPE schema_migrations" }, []);
    expect(await collided).toBeUndefined();
    expect(await applied).toBe(migrations.length);
  });

  it("are taken over from a replica that died in the middle", async () => {
    const url = await world.database();
    const migrations = await readMigrations(MIGRATIONS_FOLDER);
    const first = connect(url);
    await migrate(first.consensus, migrations.slice(0, 3), Date.now);
    // It held the claim and had made the fourth step's table, but not noted it.
    await first.consensus.runAlone({ text: migrations[3]?.text ?? "" }, []);
    await first.consensus.transaction((session) => session.run({ text: "INSERT INTO schema_migration_claim VALUES (1, 'dead', $1)" }, [Date.now() + 300]), { decidesRepeats: true });
    expect(await migrate(connect(url).consensus, migrations, Date.now)).toBe(migrations.length - 3);
  });

  it("refuse a step that was applied with another text, and leave a newer release's steps alone", async () => {
    const url = await world.database();
    const migrations = await readMigrations(MIGRATIONS_FOLDER);
    const database = connect(url);
    await migrate(database.consensus, migrations, Date.now);
    expect(await migrate(database.consensus, migrations.slice(0, 2), Date.now)).toBe(0);
    const changed = migrations.map((each): Migration => (each.version === 2 ? { ...each, checksum: "other" } : each));
    await expect(migrate(database.consensus, changed, Date.now)).rejects.toBeInstanceOf(MigrationError);
  });
});
