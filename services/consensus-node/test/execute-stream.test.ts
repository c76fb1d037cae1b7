// What a node does with a stream of operations whose caller does not read the results.
import { type Decision, ExecuteStreamRequest, type ExecuteStreamResponse, type Operation, Outcome } from "@statemesh/contract";
import type { MeshNode, Waiter } from "@statemesh/mesh";
import type { CallContext, RequestStream, ResponseStream } from "@statemesh/service";
import { describe, expect, it, vi } from "vitest";
import { executeStream } from "../src/execute.ts";

/** A caller at the other end of a stream, on a node that decides at once. */
class Caller {
  isReading = true;
  isRead = true;
  readonly results: number[] = [];
  #send: (request: ExecuteStreamRequest) => void = () => undefined;
  readonly #wake: (() => void)[] = [];
  #number = 0;

  constructor() {
    const decide = (operations: readonly Operation[], _: number, waiter: Waiter): void => {
      for (const { operationId } of operations) waiter.decided({ operationId, outcome: Outcome.ACCEPTED } as Decision);
    };
    const node = { edge: { execute: decide }, dirty: () => undefined, host: { clock: { monotonicMs: () => 0 } } } as unknown as MeshNode;
    const requests = { onMessage: (take: (request: ExecuteStreamRequest) => void) => (this.#send = take), pause: () => (this.isRead = false), resume: () => (this.isRead = true) };
    const { isWritable, results } = { isWritable: () => this.isReading, results: this.results };
    const responses = {
      over: false,
      get writable() {
        return isWritable();
      },
      write: ({ results: found }: ExecuteStreamResponse) => results.push(found.length),
      onWritable: (run: () => void) => this.#wake.push(run),
      end: () => undefined,
    };
    executeStream(node, 1_000, requests as unknown as RequestStream<ExecuteStreamRequest>, responses as unknown as ResponseStream<ExecuteStreamResponse>, { remainingMs: Infinity, onShutdown: () => undefined } as unknown as CallContext);
  }

  /** Sends a message, if the node takes any. */
  send(operations: number): boolean {
    if (!this.isRead) return false;
    this.#send(ExecuteStreamRequest.fromPartial({ operations: Array.from({ length: operations }, () => ({ operationId: `op-${this.#number++}` })) }));
    return true;
  }

  reads(): void {
    this.isReading = true;
    for (const wake of this.#wake.splice(0)) wake();
  }
}

describe("a caller that does not read its results", () => {
  it("is not read either, and is once it reads again: nothing piles up for it", async () => {
    const caller = new Caller();
    caller.isReading = false;
    expect(caller.send(64)).toBe(true);
    await vi.waitFor(() => expect(caller.isRead).toBe(false));
    expect(caller.send(64)).toBe(false);
    expect(caller.results).toEqual([64]);
    caller.reads();
    await vi.waitFor(() => expect(caller.isRead).toBe(true));
    expect(caller.send(10)).toBe(true);
    await vi.waitFor(() => expect(caller.results).toEqual([64, 10]));
  });
});
