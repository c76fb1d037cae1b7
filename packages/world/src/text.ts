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

/**
 * Compares by UTF-8 bytes, which is the order of code points. JavaScript's own order differs where surrogates
 * meet U+E000..U+FFFF.
 */
export function compareUtf8(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    const left = a.charCodeAt(at);
    const right = b.charCodeAt(at);
    if (left !== right) {
      const leftSurrogate = left >= 0xd800 && left <= 0xdfff;
      const rightSurrogate = right >= 0xd800 && right <= 0xdfff;
      // A surrogate stands for a code point above every unit that is none.
      if (leftSurrogate !== rightSurrogate) return leftSurrogate ? 1 : -1;
      return left - right;
    }
  }
  return a.length - b.length;
}
