import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareUtf8, fitsUtf8, nameProblem } from "../src/index.ts";

const unicode = fc.string({ unit: "binary" });

describe("names", () => {
  it("fit by their bytes in UTF-8, not by their characters", () => {
    fc.assert(fc.property(unicode, fc.integer({ min: 0, max: 40 }), (text, max) => {
      const bytes = Buffer.byteLength(text);
      expect(fitsUtf8(text, max)).toBe(bytes <= max);
      if (nameProblem(text, 1000) === undefined) expect(nameProblem(text, max)).toBe(bytes <= max ? undefined : "too_long");
    }));
  });

  it.each(["a\u0000", "\n", "\u001b[0m", "\u007f", "\u0085", "\u2028"])("have no control characters: %j", (text) => expect(nameProblem(text, 64)).toBe("control"));
  it.each(["\ud800", "a\udc00", "\ud83d\ud83d"])("have no lone surrogates: %j", (text) => expect(nameProblem(text, 64)).toBe("surrogate"));
  it.each(["ore", "Ünïcödé", "鉱石", "🪨", "a b"])("may be any other text: %s", (text) => expect(nameProblem(text, 64)).toBeUndefined());
});

describe("compareUtf8", () => {
  it("orders as the bytes do", () => {
    fc.assert(fc.property(unicode, unicode, (a, b) => {
      expect(Math.sign(compareUtf8(a, b))).toBe(Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))));
    }));
    expect(compareUtf8("\u{1f600}", "\uffff")).toBeGreaterThan(0);
  });
});
