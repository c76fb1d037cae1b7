// How a leader spreads its batches over arbiters, and what it does where they don't answer.
import { ArbitrateRequest, type ArbitrateResponse } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { ArbiterPool } from "../src/arbiter-pool.ts";
import type { ArbiterPort } from "../src/node-ports.ts";

interface Call {
  readonly timeoutMs: number;
  answer(): void;
  fail(otherPolicy?: boolean): void;
}

class FakeArbiter implements ArbiterPort {
  readonly address: string;
  readonly calls: Call[] = [];
  closed = false;
  constructor(address: string) {
    this.address = address;
  }
  ask(_: ArbitrateRequest, timeoutMs: number, answered: (response: ArbitrateResponse) => void, failed: (reason: string, otherPolicy?: boolean) => void): void {
    this.calls.push({ timeoutMs, answer: () => answered({ sets: [] }), fail: (otherPolicy = false) => failed("away", otherPolicy) });
  }
  close(): void {
    this.closed = true;
  }
  /** The call that was made last, which is then taken off. */
  last(): Call {
    return this.calls.pop() ?? expect.fail(`${this.address} was not asked`);
  }
}

function pool(count: number, timeoutMs = 500) {
  const arbiters = Array.from({ length: count }, (_, n) => new FakeArbiter(`arbiter-${n}`));
  const time = { nowMs: 0 };
  const warnings: string[] = [];
  const warn = (message: string): void => {
    warnings.push(message);
  };
  const silent = (): void => undefined;
  const own = new ArbiterPool(arbiters, timeoutMs, { wallMs: () => time.nowMs, monotonicMs: () => time.nowMs }, (task) => task(), { debug: silent, info: silent, warn, error: silent });
  const outcomes: string[] = [];
  const ask = (candidates = 1, callersMs = Infinity): void => {
    const set = { incumbents: [], candidates: Array.from({ length: candidates }, () => ({})) };
    own.arbitrate(ArbitrateRequest.fromPartial({ sets: [set] }), callersMs, (response) => outcomes.push(response === undefined ? "here" : "arbiter"));
  };
  return { arbiters, time, ask, outcomes, warnings, own };
}

describe("the arbiters of a leader", () => {
  it("share the batches: each goes to the one with the least to do", () => {
    const { arbiters, ask } = pool(3);
    ask(900);
    ask(10);
    ask(10);
    ask(10);
    ask(10);
    expect(arbiters.map(({ calls }) => calls.length).toSorted((a, b) => a - b)).toEqual([1, 2, 2]);
    expect(arbiters[0]?.calls).toHaveLength(1);
  });

  it("share them evenly where all are alike", () => {
    const { arbiters, ask } = pool(3);
    for (let n = 0; n < 30; n++) {
      ask();
      for (const arbiter of arbiters) for (const call of arbiter.calls.splice(0)) call.answer();
    }
    const counts = new Map<string, number>();
    for (let n = 0; n < 30; n++) {
      ask();
      for (const arbiter of arbiters) for (const call of arbiter.calls.splice(0)) {
        counts.set(arbiter.address, (counts.get(arbiter.address) ?? 0) + 1);
        call.answer();
      }
    }
    expect([...counts.values()]).toEqual([10, 10, 10]);
  });

  it("are not buried: what is more than they can hold is decided here at once", () => {
    const { ask, outcomes, arbiters } = pool(2);
    for (let n = 0; n < 6; n++) ask(8_192);
    expect(arbiters.map(({ calls }) => calls.length)).toEqual([2, 2]);
    expect(outcomes).toEqual(["here", "here"]);
    arbiters[0]?.last().answer();
    ask();
    expect(arbiters[0]?.calls).toHaveLength(2);
  });

  it("stand in for one another while there is time, and the leader for all of them", () => {
    const { arbiters, ask, outcomes, time } = pool(2);
    ask();
    const first = arbiters[0]?.last();
    expect(first?.timeoutMs).toBe(250);
    time.nowMs = 250;
    first?.fail();
    const second = arbiters[1]?.last();
    expect(second?.timeoutMs).toBe(250);
    second?.answer();
    expect(outcomes).toEqual(["arbiter"]);
    ask();
    time.nowMs = 750;
    arbiters[1]?.last().fail();
    expect(outcomes).toEqual(["arbiter", "here"]);
    expect(arbiters.flatMap(({ calls }) => calls)).toEqual([]);
  });

  it("are asked for no longer than somebody waits, and what callers cut short is not held against them", () => {
    const { arbiters, ask, outcomes, time, warnings } = pool(1);
    ask(1, 40);
    expect(arbiters[0]?.calls[0]?.timeoutMs).toBe(40);
    time.nowMs = 40;
    arbiters[0]?.last().fail();
    expect(outcomes).toEqual(["here"]);
    // The next is asked at once, for as long as an arbiter may take.
    ask(1, 10_000);
    expect(arbiters[0]?.calls[0]?.timeoutMs).toBe(500);
    arbiters[0]?.last().answer();
    ask(1, 40);
    expect(outcomes).toEqual(["here", "arbiter", "here"]);
    expect(warnings).toEqual([]);
  });

  it("that hang do not hold up callers in a hurry for ever: they are passed over, and tried again later", () => {
    const { arbiters, ask, outcomes, time, warnings } = pool(1);
    for (let n = 0; n < 3; n++) {
      ask(1, time.nowMs + 40);
      time.nowMs += 40;
      arbiters[0]?.last().fail();
    }
    ask(1, time.nowMs + 40);
    expect([arbiters[0]?.calls.length, outcomes, warnings.length]).toEqual([0, ["here", "here", "here", "here"], 1]);
    time.nowMs += 250;
    ask(1, time.nowMs + 40);
    time.nowMs += 40;
    arbiters[0]?.last().fail();
    ask(1, time.nowMs + 40);
    expect(arbiters[0]?.calls).toHaveLength(0);
    time.nowMs += 500;
    ask(1, time.nowMs + 40);
    arbiters[0]?.last().answer();
    ask(1, time.nowMs + 40);
    expect(arbiters[0]?.calls).toHaveLength(1);
  });

  it("that failed are passed over, longer each time, and then tried with one batch at a time", () => {
    const { arbiters, ask, time, warnings, outcomes } = pool(1);
    let passedMs = 250;
    for (let round = 0; round < 7; round++) {
      ask();
      ask();
      if (round > 0) expect(arbiters[0]?.calls).toHaveLength(1);
      for (const call of arbiters[0]?.calls.splice(0) ?? []) call.fail();
      passedMs = round === 0 ? 500 : Math.min(passedMs * 2, 4_000);
      time.nowMs += passedMs - 1;
      ask();
      expect(arbiters[0]?.calls).toEqual([]);
      time.nowMs += 1;
    }
    expect(warnings).toHaveLength(1);
    expect(outcomes.every((outcome) => outcome === "here")).toBe(true);
    ask();
    arbiters[0]?.last().answer();
    ask();
    ask();
    expect(arbiters[0]?.calls).toHaveLength(2);
  });

  it("that go by another policy decide nothing, are named, told of once each, and asked again once theirs is the same", () => {
    const { arbiters, ask, outcomes, warnings, own, time } = pool(2);
    ask();
    arbiters[0]?.last().fail(true);
    arbiters[1]?.last().answer();
    expect([outcomes, own.ofOtherPolicy]).toEqual([["arbiter"], ["arbiter-0"]]);
    expect(warnings).toEqual(["an arbiter goes by another policy: it decides nothing for this node"]);
    for (let round = 0; round < 5; round++) {
      time.nowMs += 4_000;
      ask();
      ask();
      for (const call of arbiters[0]?.calls.splice(0) ?? []) call.fail(true);
      for (const call of arbiters[1]?.calls.splice(0) ?? []) call.answer();
    }
    expect(outcomes.every((outcome) => outcome === "arbiter")).toBe(true);
    expect(warnings).toHaveLength(1);
    time.nowMs += 4_000;
    ask();
    ask();
    for (const call of arbiters[0]?.calls.splice(0) ?? []) call.answer();
    expect(own.ofOtherPolicy).toEqual([]);
  });

  it("need not be there", () => {
    const { ask, outcomes, own } = pool(0);
    ask();
    expect(outcomes).toEqual(["here"]);
    own.close();
  });
});
