/**
 * What a failed statement means. Codes are SQLSTATE as PostgreSQL and CockroachDB send them; an error without
 * one comes from the client and means that the connection is lost or does not answer.
 */
export type SqlFailure =
  /** Rolled back because of others: the same work may succeed now. */
  | "conflict"
  /** The server cannot be reached, goes down, is full, or does not answer in time. */
  | "unavailable"
  /** The statement may have taken effect, or not. */
  | "unknown"
  /** One batch names a row twice. */
  | "duplicate"
  /** A defect of ours. */
  | "defect";

const SQLSTATE = /^[0-9A-Z]{5}$/;

/** The SQLSTATE of an error; undefined where it carries none. */
export function sqlStateOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  const { code } = error;
  return typeof code === "string" && SQLSTATE.test(code) && /[0-9]/.test(code) ? code : undefined;
}

/** What it means that a statement before COMMIT failed: nothing of the transaction is in force, whatever it was. */
export function failureOf(error: unknown): SqlFailure {
  const state = sqlStateOf(error);
  if (state === undefined) return error instanceof TypeError || error instanceof RangeError ? "defect" : "unavailable";
  switch (state) {
    case "40001": // serialization failure
    case "40P01": // deadlock
    case "55P03": // lock not available within lock_timeout
      return "conflict";
    case "40003": // statement completion unknown (CockroachDB)
      return "unknown";
    case "21000": // ON CONFLICT DO UPDATE meets a row a second time
      return "duplicate";
    case "57014": // statement timeout
    case "25006": // read-only: a standby, in a failover
    case "25P03": // idle in transaction for too long
    case "3D000": // no such database: not made yet
    case "42P01": // no such table
    case "42703": // no such column: the schema is not up to date yet
      return "unavailable";
    default:
      // 08 connection, 28 authorization, 53 out of something, 57P server going down or starting, 58 I/O error.
      return /^(08|28|53|57P|58)/.test(state) ? "unavailable" : "defect";
  }
}

/** What it means that COMMIT itself failed: but for a definite refusal nobody knows. */
export function commitFailureOf(error: unknown): SqlFailure {
  const state = sqlStateOf(error);
  if (state === "40001" || state === "40P01") return "conflict";
  return "unknown";
}
