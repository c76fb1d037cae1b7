import { MeshError } from "@statemesh/contract";
import type { SqlSession, Statement } from "../sql/database.ts";

// Of two transactions with one id the second waits here for the first to end, also one whose client was lost at COMMIT.
const CLAIM: Statement = {
  name: "requests_claim",
  text: "INSERT INTO requests (request_id, fingerprint, response, expires_at_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (request_id) DO NOTHING",
};
const FIND: Statement = { name: "requests_find", text: "SELECT fingerprint, response FROM requests WHERE request_id = $1" };
const ANSWER: Statement = { name: "requests_answer", text: "UPDATE requests SET response = $2 WHERE request_id = $1" };
/** Few at a time, so that no transaction is long. */
export const PURGE: Statement = {
  name: "requests_purge",
  text: "DELETE FROM requests WHERE request_id IN (SELECT request_id FROM requests WHERE expires_at_ms < $1 ORDER BY expires_at_ms LIMIT 1000)",
};

/**
 * Claims a request id in the transaction that does the work. Answers the response of the request that had the
 * id before, or undefined where this is the first.
 *
 * @throws MeshError REQUEST_ID_REUSED where the earlier one had other content
 */
export async function claimRequest(session: SqlSession, requestId: string, fingerprint: Buffer, expiresAtMs: number): Promise<Buffer | undefined> {
  const { count } = await session.run(CLAIM, [requestId, fingerprint, Buffer.alloc(0), expiresAtMs]);
  if (count === 1) return undefined;
  const { rows } = await session.run<{ fingerprint: Buffer; response: Buffer }>(FIND, [requestId]);
  const earlier = rows[0];
  // It was purged between the two statements.
  if (earlier === undefined) return await claimRequest(session, requestId, fingerprint, expiresAtMs);
  if (earlier.fingerprint.equals(fingerprint)) return earlier.response;
  throw new MeshError("REQUEST_ID_REUSED", `request id ${JSON.stringify(requestId)} was used with other content`, {
    metadata: { request_id: requestId, first_fingerprint: earlier.fingerprint.toString("hex"), fingerprint: fingerprint.toString("hex") },
  });
}

/** Keeps the response for repeats. */
export async function answerRequest(session: SqlSession, requestId: string, response: Uint8Array): Promise<void> {
  await session.run(ANSWER, [requestId, Buffer.from(response)]);
}
