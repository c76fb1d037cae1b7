// Who is let in, in which order, and what becomes of those who wait for too long. On virtual time.
import { MeshError } from "@statemesh/contract";
import type { Cancel, Clock, Timers } from "@statemesh/ports";
import { describe, expect, it } from "vitest";
import { CallPlaces, type PlaceCaller, type Release } from "../src/index.ts";

class VirtualTime implements Clock, Timers {
  nowMs = 0;
  readonly #due = new Map<symbol, { readonly atMs: number; readonly run: () => void }>();

  wallMs(): number {
    return this.nowMs;
  }

  monotonicMs(): number {
    return this.nowMs;
  }

  after(delayMs: number, run: () => void): Cancel {
    const key = Symbol("timer");
    this.#due.set(key, { atMs: this.nowMs + delayMs, run });
    return () => void this.#due.delete(key);
  }

  every(): Cancel {
    throw new Error("nothing here repeats");
  }

  get timers(): number {
    return this.#due.size;
  }

  async pass(ms: number): Promise<void> {
    this.nowMs += ms;
    for (const [key, { atMs, run }] of this.#due) {
      if (atMs > this.nowMs) continue;
      this.#due.delete(key);
      run();
    }
    await settled();
  }
}

async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

function world(places: number, waitingMax = 10) {
  const time = new VirtualTime();
  const limits = { waitingMax, waitMaxMs: 1_000 };
  const own = new CallPlaces(places, { urgent: { ...limits, placesMax: places }, usual: { ...limits, placesMax: Math.max(1, places - 1) }, slow: { ...limits, placesMax: Math.max(1, places - 1) } }, time, time);
  /** Whoever is let in, in that order, and how to end it. */
  const admitted: string[] = [];
  const running = new Map<string, Release>();
  const refused = new Map<string, MeshError>();
  const ask = async (name: string, kind: "urgent" | "usual" | "slow" = "slow", caller: Partial<PlaceCaller> = {}): Promise<void> => {
    own.take(kind, { peer: name.slice(0, 1), cancelled: false, remainingMs: Infinity, ...caller }).then(
      (release) => {
        admitted.push(name);
        running.set(name, release);
      },
      (error: unknown) => refused.set(name, MeshError.from(error)),
    );
    await settled();
  };
  const end = async (name: string): Promise<void> => {
    running.get(name)?.();
    await settled();
  };
  return { time, own, admitted, refused, ask, end };
}

describe("calls that share places", () => {
  it("are let in at once while there are places, and in turn as they come free", async () => {
    const { admitted, ask, end, own } = world(3);
    for (const name of ["a1", "a2", "a3"]) await ask(name);
    expect(admitted).toEqual(["a1", "a2"]);
    expect(own.load("slow")).toEqual({ busy: 2, waiting: 1, refused: 0, expired: 0 });
    await end("a1");
    await end("a1");
    expect(admitted).toEqual(["a1", "a2", "a3"]);
    expect(own.load("slow")).toMatchObject({ busy: 2, waiting: 0 });
  });

  it("leave a place to those that come first in the order, whatever they do, and wait behind them", async () => {
    const { admitted, ask, end } = world(2);
    await ask("a1");
    await ask("a2");
    await ask("n1", "urgent");
    expect(admitted).toEqual(["a1", "n1"]);
    await ask("n2", "urgent");
    await end("a1");
    expect(admitted).toEqual(["a1", "n1", "n2"]);
    await end("n1");
    expect(admitted).toEqual(["a1", "n1", "n2", "a2"]);
  });

  it("of several later kinds leave that place to the first together, not each for itself", async () => {
    const { admitted, ask, end } = world(3);
    await ask("q1", "usual");
    await ask("a1");
    await ask("a2");
    await ask("q2", "usual");
    expect(admitted).toEqual(["q1", "a1"]);
    await ask("n1", "urgent");
    await end("a1");
    expect(admitted).toEqual(["q1", "a1", "n1", "q2"]);
    await end("q1");
    expect(admitted).toEqual(["q1", "a1", "n1", "q2", "a2"]);
  });

  it("of a later kind go on, if slowly, while there is always one that comes first", async () => {
    const { admitted, ask, end } = world(1);
    await ask("u0", "urgent");
    for (const name of ["a1", "b1"]) await ask(name);
    for (let n = 1; n <= 40; n++) {
      await ask(`u${n}`, "urgent");
      await end(admitted.at(-1) ?? "");
    }
    const slow = admitted.flatMap((name, at) => (name.startsWith("u") ? [] : [at]));
    expect(slow).toEqual([9, 18]);
  });

  it("take turns by caller: one that asks for much waits for itself", async () => {
    const { admitted, ask, end } = world(1);
    for (const name of ["a1", "a2", "a3", "a4", "b1", "c1", "b2"]) await ask(name);
    for (const name of ["a1", "a2", "b1", "c1", "a3", "b2"]) await end(name);
    expect(admitted).toEqual(["a1", "a2", "b1", "c1", "a3", "b2", "a4"]);
  });

  it("are refused beyond what may wait, with a delay by how long calls take; who has least waiting comes in for who has most", async () => {
    const { time, admitted, refused, ask, end } = world(1, 3);
    await ask("a1");
    await time.pass(800);
    await end("a1");
    for (const name of ["a2", "a3", "a4", "a5", "a6"]) await ask(name);
    expect([...refused.keys()]).toEqual(["a6"]);
    expect(refused.get("a6")?.reason).toBe("OVERLOADED");
    // Four calls of a hundred milliseconds, as the mean of the one that there was.
    expect(refused.get("a6")?.retryDelayMs).toBe(400);
    await ask("b1");
    expect([...refused.keys()]).toEqual(["a6", "a5"]);
    for (const name of ["a2", "a3", "b1", "a4"]) await end(name);
    expect(admitted).toEqual(["a1", "a2", "a3", "b1", "a4"]);
  });

  it("are dropped and never begun when nobody waits for them any more", async () => {
    const { time, admitted, refused, ask, end, own } = world(1);
    await ask("a1");
    await ask("a2", "slow", { remainingMs: 100 });
    const gone = { cancelled: false };
    await ask("a3", "slow", gone);
    await ask("a4");
    await time.pass(100);
    expect(refused.get("a2")?.reason).toBe("DEADLINE_EXCEEDED");
    const { own: other, ask: askOther, end: endOther, refused: refusedThere, admitted: admittedThere } = world(1);
    await askOther("a1");
    const caller = { peer: "b", cancelled: false, remainingMs: Infinity };
    const taken = other.take("slow", caller).catch((error: unknown) => MeshError.from(error).reason);
    caller.cancelled = true;
    await endOther("a1");
    expect(await taken).toBe("CANCELLED");
    expect(other.load("slow")).toEqual({ busy: 0, waiting: 0, refused: 0, expired: 1 });
    expect([refusedThere.size, admittedThere]).toEqual([0, ["a1"]]);
    await end("a1");
    expect(admitted).toEqual(["a1", "a3"]);
    expect(own.load("slow").expired).toBe(1);
  });

  it("are told to come again when they waited too long", async () => {
    const { time, refused, ask, own } = world(1);
    await ask("a1");
    await ask("a2");
    await time.pass(999);
    expect(refused.size).toBe(0);
    await time.pass(1);
    expect(refused.get("a2")).toMatchObject({ reason: "OVERLOADED", retryDelayMs: 50 });
    expect(own.load("slow")).toEqual({ busy: 1, waiting: 0, refused: 1, expired: 0 });
    expect(time.timers).toBe(0);
  });
});
