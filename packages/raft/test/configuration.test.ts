import fc from "fast-check";
import type { LogEntry } from "@statemesh/contract";
import { describe, expect, test } from "vitest";
import { ConfigurationHistory } from "../src/configuration-history.ts";
import { configurationOf, decodeConfiguration, encodeConfiguration, EntryKind, isJoint, leaveJoint, sameConfiguration, stepTowards } from "../src/index.ts";
import type { Configuration } from "../src/index.ts";

const ids = fc.uniqueArray(fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 0xffff_ffff })), { maxLength: 8 });
const targets = fc.tuple(ids, ids).map(([voters, others]): Configuration => {
  const configuration = configurationOf({ voters: [...voters, 1], learners: others.filter((id) => id !== 1 && !voters.includes(id)) });
  if (typeof configuration === "string") throw new Error(configuration);
  return configuration;
});
const configurations = fc.oneof(targets, fc.tuple(targets, targets).map(([from, to]) => stepTowards(from, to)));

describe("the data of a configuration entry", () => {
  test("holds any configuration", () => {
    fc.assert(fc.property(configurations, (configuration) => {
      expect(decodeConfiguration(encodeConfiguration(configuration))).toEqual(configuration);
    }));
  });

  test("keeps its format: one byte each for format and counts, then ids of four bytes, lowest byte first", () => {
    expect([...encodeConfiguration({ voters: [1, 258], outgoing: [3], learners: [] })]).toEqual([1, 2, 1, 0, 1, 0, 0, 0, 2, 1, 0, 0, 3, 0, 0, 0]);
  });

  test("is read wherever it stands in a buffer", () => {
    const data = encodeConfiguration({ voters: [7], outgoing: [], learners: [9] });
    const buffer = new Uint8Array(data.length + 5);
    buffer.set(data, 3);
    expect(decodeConfiguration(buffer.subarray(3, 3 + data.length))).toEqual({ voters: [7], outgoing: [], learners: [9] });
  });

  test("that is anything else is refused, and never half read", () => {
    fc.assert(fc.property(configurations, fc.nat(), fc.integer({ min: 0, max: 255 }), (configuration, at, value) => {
      const data = encodeConfiguration(configuration);
      data[at % data.length] = value;
      const read = decodeConfiguration(data);
      if (read !== undefined) expect(encodeConfiguration(read)).toEqual(data);
      expect(decodeConfiguration(data.subarray(0, data.length - 1))).toBeUndefined();
    }));
    const wrong: Configuration[] = [
      { voters: [], outgoing: [1], learners: [] }, { voters: [2, 1], outgoing: [], learners: [] }, { voters: [1, 1], outgoing: [], learners: [] },
      { voters: [0], outgoing: [], learners: [] }, { voters: [1], outgoing: [], learners: [1] },
    ];
    for (const configuration of wrong) expect(decodeConfiguration(encodeConfiguration(configuration))).toBeUndefined();
    expect(decodeConfiguration(new Uint8Array(0))).toBeUndefined();
  });
});

describe("a target", () => {
  test.each([
    [{ voters: [], learners: [1] }, "at least one voter"],
    [{ voters: [1, 2], learners: [2] }, "not both"],
    [{ voters: [1.5], learners: [] }, "whole numbers"],
    [{ voters: [1], learners: [0x1_0000_0000] }, "whole numbers"],
    [{ voters: Array.from({ length: 200 }, (_, n) => n + 1), learners: Array.from({ length: 56 }, (_, n) => n + 201) }, "at most 255"],
  ])("that cannot be is refused by rule: %j", (target, rule) => {
    expect(configurationOf(target)).toContain(rule);
  });

  test("is reached by way of a joint configuration exactly where voters change", () => {
    fc.assert(fc.property(targets, targets, (from, to) => {
      const step = stepTowards(from, to);
      expect(isJoint(step)).toBe(from.voters.join() !== to.voters.join());
      expect(sameConfiguration(leaveJoint(step), to)).toBe(true);
      if (isJoint(step)) expect(step.outgoing).toEqual(from.voters);
    }));
  });
});

test("the history of configurations is that of the log: appended, cut off, compacted and replaced with it", () => {
  const commands = fc.array(fc.tuple(fc.constantFrom("append", "configure", "cut", "compact", "install"), fc.nat(30), targets), { maxLength: 40 });
  fc.assert(fc.property(commands, targets, (steps, bootstrap) => {
    const history = new ConfigurationHistory(0, bootstrap);
    // By index: what holds there. Everything up to `floor` is forgotten, except what holds at it.
    let model: Configuration[] = [bootstrap];
    let floor = 0;
    const last = (): number => floor + model.length - 1;
    for (const [step, number, configuration] of steps) {
      const index = last() + 1;
      const entry = (kind: number): LogEntry => ({ index, term: 1, kind, data: kind === EntryKind.CONFIGURATION ? encodeConfiguration(configuration) : new Uint8Array(0) });
      if (step === "append") {
        history.replaceFrom(index, [entry(EntryKind.COMMAND)]);
        model.push(model.at(-1)!);
      } else if (step === "configure") {
        expect(history.replaceFrom(index, [entry(EntryKind.CONFIGURATION)])).toBe(true);
        model.push(configuration);
      } else if (step === "cut" && model.length > 1) {
        const first = floor + 1 + (number % (model.length - 1));
        model.length = first - floor;
        history.replaceFrom(first, []);
      } else if (step === "compact") {
        const through = floor + (number % model.length);
        history.compact(through);
        model = model.slice(through - floor);
        floor = through;
      } else if (step === "install") {
        floor = index + number;
        history.reset(floor, configuration);
        model = [configuration];
      }
      expect(history.current).toEqual(model.at(-1));
      for (let at = floor; at <= last(); at++) expect(history.at(at)).toEqual(model[at - floor]);
    }
  }));
});
