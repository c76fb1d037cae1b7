import { setImmediate as turn } from "node:timers/promises";
import type { MeshError } from "@statemesh/contract";
import { expect, it } from "vitest";
import { PulledStreams } from "../src/pulled-streams.ts";

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
  const streams = new PulledStreams<number>({ next: () => messages.shift(), close: () => {} });
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
  const streams = new PulledStreams<number>({ next: () => (serial < 10 ? (serial += 1) : undefined), close: () => {}, sizeOf: () => 30_000 });
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
