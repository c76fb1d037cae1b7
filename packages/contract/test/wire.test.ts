// The project's reader and writer against those of @bufbuild/protobuf, on the same values and the same bytes.
import { BinaryReader as TheirReader, BinaryWriter as TheirWriter, WireType } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import { expect, test } from "vitest";
import { BinaryReader, BinaryWriter } from "../src/wire.ts";

const safeInt = fc.oneof(fc.maxSafeInteger(), fc.constantFrom(0, 1, -1, 127, 128, 2 ** 31, 2 ** 32 - 1, 2 ** 32, -(2 ** 31), -(2 ** 32), Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER));
const safeNat = safeInt.map(Math.abs);
const int32 = fc.oneof(fc.integer(), fc.constantFrom(0, -1, 127, 128, 0x7fffffff, -0x80000000));
const uint32 = fc.oneof(fc.nat(), fc.constantFrom(0, 127, 128, 0xffffffff)).map((value) => value >>> 0);
const anyString = fc.oneof(fc.string(), fc.string({ unit: "binary", maxLength: 300 }), fc.string({ minLength: 60, maxLength: 20_000 }), fc.constantFrom("\ud800", "ä".repeat(63), "ä".repeat(64), "x".repeat(127), "x".repeat(128), "\ufeffbom"));

interface Op {
  readonly mine: (writer: BinaryWriter) => unknown;
  readonly theirs: (writer: TheirWriter) => unknown;
  readonly read: (mine: BinaryReader, theirs: TheirReader) => void;
}

const op: fc.Arbitrary<Op> = fc.oneof(
  uint32.map((v): Op => ({ mine: (w) => w.uint32(v), theirs: (w) => w.uint32(v), read: (m, t) => expect(m.uint32()).toBe(t.uint32()) })),
  int32.map((v): Op => ({ mine: (w) => w.int32(v), theirs: (w) => w.int32(v), read: (m, t) => expect(m.int32()).toBe(t.int32()) })),
  int32.map((v): Op => ({ mine: (w) => w.sint32(v), theirs: (w) => w.sint32(v), read: (m, t) => expect(m.sint32()).toBe(t.sint32()) })),
  safeNat.map((v): Op => ({ mine: (w) => w.uint64Number(v), theirs: (w) => w.uint64(v), read: (m, t) => expect(m.uint64Number()).toBe(Number(t.uint64())) })),
  safeInt.map((v): Op => ({ mine: (w) => w.int64Number(v), theirs: (w) => w.int64(v), read: (m, t) => expect(m.int64Number()).toBe(Number(t.int64())) })),
  safeNat.map((v): Op => ({ mine: (w) => w.fixed64Number(v), theirs: (w) => w.fixed64(v), read: (m, t) => expect(m.fixed64Number()).toBe(Number(t.fixed64())) })),
  uint32.map((v): Op => ({ mine: (w) => w.fixed32(v), theirs: (w) => w.fixed32(v), read: (m, t) => expect(m.fixed32()).toBe(t.fixed32()) })),
  fc.double().map((v): Op => ({ mine: (w) => w.double(v), theirs: (w) => w.double(v), read: (m, t) => expect(m.double()).toBe(t.double()) })),
  fc.boolean().map((v): Op => ({ mine: (w) => w.bool(v), theirs: (w) => w.bool(v), read: (m, t) => expect(m.bool()).toBe(t.bool()) })),
  anyString.map((v): Op => ({ mine: (w) => w.string(v), theirs: (w) => w.string(v), read: (m, t) => expect(m.string()).toBe(t.string()) })),
  fc.uint8Array({ maxLength: 300 }).map((v): Op => ({ mine: (w) => w.bytes(v), theirs: (w) => w.bytes(v), read: (m, t) => expect(Buffer.from(m.bytes())).toEqual(Buffer.from(t.bytes())) })),
);

test("short strings are read as they are written, however many and in whatever order they come", () => {
  // More than are remembered, so that places are shared; then all again.
  const strings = Array.from({ length: 150_000 }, (_, at) => `key-${at.toString(36)}`);
  for (const round of [strings, strings.toReversed()]) {
    const writer = new BinaryWriter();
    for (const text of round) writer.string(text);
    const reader = new BinaryReader(writer.finish());
    expect(round.find((text) => reader.string() !== text)).toBeUndefined();
  }
});

test("a text that is not UTF-8 is no text: two ids would be one", () => {
  const text = (...bytes: number[]): string => new BinaryReader(Uint8Array.of(bytes.length, ...bytes)).string();
  for (const bytes of [[0xff], [0x4d, 0xfc, 0x6c], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xe2, 0x82], Array.from({ length: 100 }, () => 0xf6)]) expect(() => text(...bytes)).toThrow("UTF-8");
  expect([text(0xef, 0xbf, 0xbd), text(0xc3, 0xbc), text(0xf0, 0x9f, 0x90, 0xba)]).toEqual(["\ufffd", "\u00fc", "\u{1f43a}"]);
});

test("the same values give the same bytes, and the bytes the same values", () => {
  fc.assert(
    fc.property(fc.array(op, { maxLength: 40 }), (ops) => {
      const writer = new BinaryWriter();
      const theirs = new TheirWriter();
      for (const each of ops) {
        each.mine(writer);
        each.theirs(theirs);
      }
      const bytes = writer.finish();
      expect(bytes).toEqual(Buffer.from(theirs.finish()));
      const mine = new BinaryReader(bytes);
      const other = new TheirReader(bytes);
      for (const each of ops) each.read(mine, other);
      expect(mine.pos).toBe(mine.len);
    }),
  );
});

test("nested messages of any size have the right lengths", () => {
  const nested = fc.array(fc.nat({ max: 20_000 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(nested, (sizes) => {
      const writer = new BinaryWriter();
      const theirs = new TheirWriter();
      for (const size of sizes) {
        writer.uint32(10).fork().bytes(new Uint8Array(size));
        theirs.uint32(10).fork().bytes(new Uint8Array(size));
      }
      for (const _size of sizes) {
        writer.join();
        theirs.join();
      }
      expect(writer.finish()).toEqual(Buffer.from(theirs.finish()));
    }),
  );
});

test("two writers at a time do not share bytes", () => {
  const a = new BinaryWriter().string("aaaa");
  const b = new BinaryWriter().string("bbbb");
  const first = a.finish();
  const c = new BinaryWriter().string("cccc");
  expect(first.toString()).toBe("\u0004aaaa");
  expect(b.finish().toString()).toBe("\u0004bbbb");
  expect(c.finish().toString()).toBe("\u0004cccc");
});

test("on random bytes both agree: the same value, or both refuse", () => {
  type Read = (reader: BinaryReader) => unknown;
  type TheirRead = (reader: TheirReader) => unknown;
  const pairs: [string, Read, TheirRead][] = [
    ["uint32", (r) => r.uint32(), (r) => r.uint32()],
    ["int32", (r) => r.int32(), (r) => r.int32()],
    ["uint64", (r) => BigInt(r.uint64Number()), (r) => onlySafe(r.uint64())],
    ["int64", (r) => BigInt(r.int64Number()), (r) => onlySafe(r.int64())],
    ["fixed64", (r) => BigInt(r.fixed64Number()), (r) => onlySafe(r.fixed64())],
    ["double", (r) => r.double(), (r) => r.double()],
    ["string", (r) => r.string(), (r) => r.string(true)],
    ["bytes", (r) => Buffer.from(r.bytes()), (r) => Buffer.from(r.bytes())],
  ];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 24 }), fc.constantFrom(...pairs), (bytes, [, mine, theirs]) => {
      expect(outcome(() => mine(new BinaryReader(bytes)))).toEqual(outcome(() => theirs(new TheirReader(bytes))));
    }),
    { numRuns: 3000 },
  );
});

test("skipping passes over the same bytes, or both refuse", () => {
  const types = fc.constantFrom(WireType.Varint, WireType.Bit64, WireType.LengthDelimited, WireType.Bit32);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 24 }), types, (bytes, type) => {
      const mine = new BinaryReader(bytes);
      const theirs = new TheirReader(bytes);
      expect(outcome(() => (mine.skip(type), mine.pos))).toEqual(outcome(() => (theirs.skip(type), theirs.pos)));
    }),
    { numRuns: 2000 },
  );
});

test("a group is passed over whole, and one that nests without end is refused", () => {
  const group = new TheirWriter().tag(1, WireType.StartGroup).tag(2, WireType.Varint).uint32(5).tag(3, WireType.StartGroup).tag(3, WireType.EndGroup).tag(1, WireType.EndGroup).uint32(99).finish();
  const reader = new BinaryReader(group);
  reader.skip(reader.uint32() & 7);
  expect(reader.uint32()).toBe(99);
  const deep = new BinaryReader(Buffer.alloc(100_000, (1 << 3) | 3));
  expect(() => deep.skip(deep.uint32() & 7)).toThrow("nested too deep");
});

test.each([
  ["uint32", (w: BinaryWriter) => w.uint32(-1)],
  ["uint32", (w: BinaryWriter) => w.uint32(1.5)],
  ["int32", (w: BinaryWriter) => w.int32(2 ** 31)],
  ["uint64", (w: BinaryWriter) => w.uint64Number(2 ** 53)],
  ["uint64", (w: BinaryWriter) => w.uint64Number(-1)],
  ["int64", (w: BinaryWriter) => w.int64Number(Number.NaN)],
])("a number that a %s cannot hold is refused, never cut", (_name, write) => {
  expect(() => write(new BinaryWriter())).toThrow(RangeError);
});

function onlySafe(value: bigint | string): bigint {
  const exact = BigInt(value);
  if (exact > BigInt(Number.MAX_SAFE_INTEGER) || exact < BigInt(Number.MIN_SAFE_INTEGER)) throw new RangeError("not safe");
  return exact;
}

/** What a read gave, or that it refused. */
function outcome(read: () => unknown): unknown {
  try {
    return { value: read() };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return "refused";
  }
}
