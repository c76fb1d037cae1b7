/** Checks of text that comes in: its length in UTF-8 bytes, and whether it is fit to be a name. */

/** What keeps a text from being a name. */
export type TextProblem = "too_long" | "control" | "surrogate";

/**
 * Checks a name: at most `maxBytes` in UTF-8, no control characters, no lone surrogates. One pass, no allocation.
 *
 * @returns undefined where the text is fine
 */
export function nameProblem(text: string, maxBytes: number): TextProblem | undefined {
  const length = text.length;
  // A UTF-16 unit is at least one byte in UTF-8: nothing longer is worth a walk.
  if (length > maxBytes) return "too_long";
  let bytes = length;
  for (let at = 0; at < length; at++) {
    const unit = text.charCodeAt(at);
    if (unit < 0x80) {
      if (unit < 0x20 || unit === 0x7f) return "control";
    } else if (unit < 0x800) {
      if (unit < 0xa0) return "control";
      bytes += 1;
    } else if (unit < 0xd800 || unit > 0xdfff) {
      // The line and paragraph separators break lines as control characters do.
      if (unit === 0x2028 || unit === 0x2029) return "control";
      bytes += 2;
    } else {
      const next = unit < 0xdc00 && at + 1 < length ? text.charCodeAt(at + 1) : 0;
      if (next < 0xdc00 || next > 0xdfff) return "surrogate";
      // Two units, four bytes.
      bytes += 2;
      at += 1;
    }
  }
  return bytes > maxBytes ? "too_long" : undefined;
}

/** Whether a text of any content fits in `maxBytes` of UTF-8. Lone surrogates count 3 bytes, as encoders replace them. */
export function fitsUtf8(text: string, maxBytes: number): boolean {
  if (text.length * 3 <= maxBytes) return true;
  if (text.length > maxBytes) return false;
  let bytes = text.length;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit < 0x80) continue;
    if (unit < 0x800) {
      bytes += 1;
      continue;
    }
    bytes += 2;
    if (unit >= 0xd800 && unit < 0xdc00) {
      const next = text.charCodeAt(at + 1);
      if (next >= 0xdc00 && next <= 0xdfff) at += 1;
    }
  }
  return bytes <= maxBytes;
}

export { compareUtf8 } from "@statemesh/merge";
