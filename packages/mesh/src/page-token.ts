// What binds a page token to the call that it is for: one from elsewhere is told apart.
import { MeshError } from "@statemesh/contract";

/** @param context what was asked, the page apart @param body where the page ended */
export function pageChecksum(context: string, body: string): string {
  const text = `${context}\n${body}`;
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(36);
}

/** INVALID_PAGE_TOKEN. */
export function foreignPageToken(): MeshError {
  return new MeshError("INVALID_PAGE_TOKEN", "page_token: not from an earlier page of this read", { field: "page_token" });
}
