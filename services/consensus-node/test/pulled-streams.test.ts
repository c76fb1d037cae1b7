import { setImmediate as turn } from "node:timers/promises";
import type { MeshError } from "@statemesh/contract";
import { expect, it, vi } from "vitest";
import { PulledStreams } from "../src/pulled-streams.ts";

/** What takes no time is followed by no pause. */
const STANDING = { nowMs: (): number => 0, spentMs: (): number => 0 };

/** A caller who reads nothing until it is told to. */
class Caller {
  over = false;
  writable = false;
  readonly read: number[] = [];
  waiting: (() => void)[] = [];
  #ends: (() => void)[] = [];

  readonly taken: (() => void)[] = [];

  write(message: number, sent?: () => void): boolean {
    this.read.push(message);
    if (sent !== undefined) this.taken.push(sent);
    return this.writable;
  }

  onWritable(run: () => void): void {
    this.waiting.push(run);
  }

  catchUp(): void {
    this.writable = true;
    for (const run of this.waiting.splice(0)) run();
  }

  fail(error: MeshError): void {
    throw error;
  }

  onEnd(run: () => void): void {
    this.#ends.push(run);
  }

  onShutdown(): void {}

  goAway(): void {
    this.over = true;
    for (const run of this.#ends) run();
    this.catchUp();
  }
}

it("asks once to hear of a reader that does not read, however often there is more for it", async () => {
  const messages = [1, 2, 3];
  const streams = new PulledStreams<number>({ next: () => messages.shift(), close: () => {} }, STANDING);
  const caller = new Caller();
  streams.serve(1, caller, caller);
  for (let looks = 0; looks < 100; looks += 1) {
    streams.note(1);
    await turn();
  }
  expect(caller.waiting).toHaveLength(1);
  caller.catchUp();
  await turn();
  expect(caller.read).toEqual([1, 2, 3]);
  // And once again the next time.
  caller.writable = false;
  messages.push(4);
  for (let looks = 0; looks < 100; looks += 1) {
    streams.note(1);
    await turn();
  }
  expect(caller.waiting).toHaveLength(1);
  caller.goAway();
  await turn();
  expect(caller.read).toEqual([1, 2, 3]);
});

it("holds 64 KiB and one message for a reader that takes nothing, and goes on once the connection takes them", async () => {
  let serial = 0;
  const streams = new PulledStreams<number>({ next: () => (serial < 10 ? (serial += 1) : undefined), close: () => {}, sizeOf: () => 30_000 }, STANDING);
  const caller = new Caller();
  caller.writable = true;
  streams.serve(1, caller, caller);
  for (let looks = 0; looks < 10; looks += 1) {
    streams.note(1);
    await turn();
  }
  expect(caller.read).toEqual([1, 2, 3]);
  caller.taken.shift()?.();
  await turn();
  expect(caller.read).toEqual([1, 2, 3, 4]);
  while (caller.taken.length > 0) {
    caller.taken.shift()?.();
    await turn();
  }
  expect(caller.read).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  caller.goAway();
  for (const sent of caller.taken) sent();
  streams.note(1);
  await turn();
  expect(caller.read).toHaveLength(10);
});

/** Many readers, each message to one of whom takes a while. */
function crowd(size: number, messageMs: number): { streams: PulledStreams<number>; callers: Caller[]; served: () => number; change: () => void; clock: { nowMs: number } } {
  const clock = { nowMs: 0 };
  const waiting = new Set<number>();
  let served = 0;
  const streams = new PulledStreams<number>({
    next: (id) => {
      if (!waiting.delete(id)) return undefined;
      clock.nowMs += messageMs;
      return id;
    },
    close: () => {},
    served: () => (served += 1),
  }, { nowMs: () => clock.nowMs, spentMs: () => clock.nowMs });
  const callers = Array.from({ length: size }, (_, id) => {
    const caller = new Caller();
    caller.writable = true;
    streams.serve(id, caller, caller);
    return caller;
  });
  const change = (): void => {
    for (let id = 0; id < size; id += 1) {
      waiting.add(id);
      streams.note(id);
    }
  };
  return { streams, callers, served: () => served, change, clock };
}

it("lets other work have its turn while it serves many readers", async () => {
  const { callers, change, served } = crowd(1_000, 0.1);
  await turn();
  change();
  const has = (): number => callers.filter(({ read }) => read.length > 0).length;
  const progress: number[] = [];
  for (let turns = 0; has() < 1_000; turns += 1) {
    await turn();
    progress.push(has());
  }
  // 5 ms at a time, which are 50 messages and up to 16 more before the clock is looked at.
  expect(Math.max(...progress.map((count, at) => count - (progress[at - 1] ?? 0)))).toBeLessThanOrEqual(66);
  expect(progress.length).toBeGreaterThanOrEqual(15);
  await turn();
  expect(served()).toBe(2);
});

it("pauses after a round for as long as it took, at most 50 ms, and serves what came meanwhile together", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout"] });
  const turns = async (): Promise<void> => {
    for (let at = 0; at < 20; at += 1) await turn();
  };
  try {
    const { callers, change, clock } = crowd(100, 1);
    const reads = (): number[] => [...new Set(callers.map(({ read }) => read.length))];
    await turns();
    change();
    await turns();
    expect(reads()).toEqual([1]);
    for (const _ of [1, 2, 3]) change();
    await vi.advanceTimersByTimeAsync(49);
    await turns();
    expect(reads()).toEqual([1]);
    clock.nowMs += 50;
    await vi.advanceTimersByTimeAsync(1);
    await turns();
    expect(reads()).toEqual([2]);
  } finally {
    vi.useRealTimers();
  }
});

it("makes no pause after a round that took less than 5 ms", async () => {
  const { callers, change } = crowd(4, 1);
  for (let round = 1; round <= 5; round += 1) {
    change();
    await turn();
    expect(callers.map(({ read }) => read.length)).toEqual([round, round, round, round]);
  }
});
