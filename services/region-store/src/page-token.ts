import { PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, PAGE_TOKEN_CHARS_MAX } from "@statemesh/store";
import { createHash } from "node:crypto";
import { MeshError } from "@statemesh/contract";

/** Where a page ended: the key of its last row, as texts. */
export type PageCursor = readonly string[];

const TAG_BYTES = 16;
const DOMAIN = "statemesh region-store page 1\0";

/**
 * A token that goes on after `cursor`, for this call with these arguments only. It is a checksum and not a
 * signature: who forges one only chooses where his own reading begins.
 */
export function makePageToken(call: string, args: Uint8Array, cursor: PageCursor): string {
  const body = Buffer.from(JSON.stringify(cursor), "utf8");
  return Buffer.concat([tagOf(call, args, body), body]).toString("base64url");
}

/**
 * The cursor of a token; undefined for the empty token, which is the first page.
 *
 * @param length how many texts the cursor of this call has
 * @throws MeshError INVALID_PAGE_TOKEN where the token is not from this call with these arguments
 */
export function readPageToken(call: string, args: Uint8Array, token: string, length: number): PageCursor | undefined {
  if (token === "") return undefined;
  const bytes = token.length > PAGE_TOKEN_CHARS_MAX ? Buffer.alloc(0) : Buffer.from(token, "base64url");
  const body = bytes.subarray(TAG_BYTES);
  // The way back must give the same text: base64 readers pass over what they do not know.
  if (bytes.length <= TAG_BYTES || bytes.toString("base64url") !== token || !tagOf(call, args, body).equals(bytes.subarray(0, TAG_BYTES))) throw foreign();
  const cursor: unknown = JSON.parse(body.toString("utf8"));
  if (!Array.isArray(cursor) || cursor.length !== length || !cursor.every((part) => typeof part === "string")) throw foreign();
  return cursor;
}

/** Throws INVALID_FIELD. */
export function pageSizeOf(requested: number): number {
  if (requested === 0) return PAGE_SIZE_DEFAULT;
  if (!Number.isInteger(requested) || requested < 0 || requested > PAGE_SIZE_MAX) throw MeshError.field("page_size", `must be 1..${PAGE_SIZE_MAX}, or 0 for ${PAGE_SIZE_DEFAULT}`);
  return requested;
}

function tagOf(call: string, args: Uint8Array, body: Uint8Array): Buffer {
  return createHash("sha256").update(DOMAIN).update(call).update("\0").update(String(args.length)).update("\0").update(args).update(body).digest().subarray(0, TAG_BYTES);
}

function foreign(): MeshError {
  return new MeshError("INVALID_PAGE_TOKEN", "the page token is not from this call with these arguments", { field: "page_token" });
}
