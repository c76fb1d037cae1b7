import { MeshError } from "@statemesh/contract";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CircuitBreaker, commitFailureOf, failureOf } from "@statemesh/store";
import { makePageToken, readPageToken } from "../src/page-token.ts";
import { byteaArray, int8Array, textArray } from "../src/sql/array-literal.ts";
import { Database } from "../src/sql/database.ts";
import { eventually, TestWorld } from "./world.ts";

describe("array literals", () => {
  let world: TestWorld;
  let database: Database;

  beforeAll(async () => {
    world = await TestWorld.start();
    database = new Database({ url: world.postgres.url, poolSize: 1, reservedConnections: 1, bulkConnections: 2, waitingMax: 10, connectTimeoutMs: 5_000, statementTimeoutMs: 5_000, onIdleError: () => undefined });
  });

  afterAll(async () => {
    await database.close();
    await world.stop();
  });

  it("arrive in SQL as they were, whatever they hold", async () => {
    const text = fc.string({ unit: "binary", maxLength: 20 }).map((value) => value.replaceAll("\0", ""));
    const rows = fc.array(fc.record({ t: fc.oneof(text, fc.constantFrom("", "NULL", "{}", '"', "\\", ",", " ")), n: fc.maxSafeInteger(), b: fc.uint8Array({ maxLength: 20 }) }), { maxLength: 10 });
    const echo = { text: "SELECT t, n, b FROM unnest($1::TEXT[], $2::INT8[], $3::BYTEA[]) AS u(t, n, b)" };
    await fc.assert(
      fc.asyncProperty(rows, async (sent) => {
        const values = [textArray(sent.map((row) => row.t)), int8Array(sent.map((row) => row.n)), byteaArray(sent.map((row) => row.b))];
        const back = await database.consensus.read<{ t: string; n: number; b: Buffer }>(echo, values);
        expect(back.map((row) => ({ ...row, b: [...row.b] }))).toEqual(sent.map((row) => ({ ...row, b: [...row.b] })));
      }),
      { numRuns: 200 },
    );
  });
});

describe("connections that kinds of work share", () => {
  let world: TestWorld;
  let database: Database;

  beforeAll(async () => {
    world = await TestWorld.start();
    database = new Database({ url: world.postgres.url, poolSize: 2, reservedConnections: 1, bulkConnections: 1, waitingMax: 2, connectTimeoutMs: 10_000, statementTimeoutMs: 5_000, onIdleError: () => undefined });
  });

  afterAll(async () => {
    await database.close();
    await world.stop();
  });

  it("are left to what nodes need, whatever else is long; a query goes before a scan, and one that nobody waits for is never run", async () => {
    const caller = { peer: "10.0.0.1:1", cancelled: false, remainingMs: 10_000 };
    const order: string[] = [];
    const held = Promise.withResolvers<void>();
    const run = async (kind: "query" | "bulk", name: string, remainingMs = 10_000) =>
      await database[kind].readAll(
        async () => {
          order.push(name);
          if (name === "first scan") await held.promise;
        },
        { ...caller, remainingMs },
      );
    const reasonOf = (error: unknown) => (error instanceof MeshError ? error.reason : error);
    const scan = run("bulk", "first scan");
    await eventually(() => order.length === 1, "the scan");
    const second = run("bulk", "second scan");
    const late = run("query", "late", 50).catch(reasonOf);
    const query = run("query", "query");
    expect(await run("query", "one too many").catch(reasonOf)).toBe("OVERLOADED");
    expect(await database.consensus.read({ text: "SELECT 1 AS n" }, [])).toEqual([{ n: 1 }]);
    expect(await late).toBe("DEADLINE_EXCEEDED");
    held.resolve();
    await Promise.all([scan, second, query]);
    expect(order).toEqual(["first scan", "query", "second scan"]);
    expect(database.loadOf("query")).toEqual({ busy: 0, waiting: 0, refused: 1, expired: 1 });
  });
});

describe("failures of SQL", () => {
  const state = (code: string) => Object.assign(new Error(code), { code });

  it.each([
    ["40001", "conflict", "conflict"],
    ["40P01", "conflict", "conflict"],
    ["40003", "unknown", "unknown"],
    ["57P01", "unavailable", "unknown"],
    ["57014", "unavailable", "unknown"],
    ["53300", "unavailable", "unknown"],
    ["08006", "unavailable", "unknown"],
    ["21000", "duplicate", "unknown"],
    ["42703", "unavailable", "unknown"],
    ["42P01", "unavailable", "unknown"],
    ["ECONNREFUSED", "unavailable", "unknown"],
    ["EPIPE", "unavailable", "unknown"],
  ])("%s before COMMIT is %s, at COMMIT %s", (code, before, at) => {
    expect([failureOf(state(code)), commitFailureOf(state(code))]).toEqual([before, at]);
  });

  it("is a lost connection where the driver gives no code", () => {
    expect(failureOf(new Error("Connection terminated unexpectedly"))).toBe("unavailable");
    expect(failureOf(new TypeError("a mistake of ours"))).toBe("defect");
  });
});

describe("page tokens", () => {
  it("give the cursor back to the same call and arguments only", () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { minLength: 1, maxLength: 4 }), fc.uint8Array(), fc.uint8Array(), (cursor, args, other) => {
        const token = makePageToken("List", args, cursor);
        expect(readPageToken("List", args, token, cursor.length)).toEqual(cursor);
        expect(() => readPageToken("Query", args, token, cursor.length)).toThrow("page token");
        expect(() => readPageToken("List", args, token, cursor.length + 1)).toThrow("page token");
        if (Buffer.compare(args, other) !== 0) expect(() => readPageToken("List", other, token, cursor.length)).toThrow("page token");
      }),
    );
  });
});

describe("the circuit breaker", () => {
  it("opens after five failures in a row, lets one probe a second through, and closes with a success", () => {
    let now = 0;
    const breaker = new CircuitBreaker(() => now);
    for (let failure = 0; failure < 5; failure++) {
      expect(breaker.allows()).toBe(true);
      breaker.failed();
    }
    expect(breaker.allows()).toBe(false);
    now = 1_000;
    expect([breaker.allows(), breaker.allows()]).toEqual([true, false]);
    breaker.failed();
    now = 1_999;
    expect(breaker.allows()).toBe(false);
    now = 2_000;
    expect(breaker.allows()).toBe(true);
    breaker.succeeded();
    expect([breaker.allows(), breaker.allows()]).toEqual([true, true]);
  });
});
