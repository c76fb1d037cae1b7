import { ClientHistory, type Request } from "../client-history.ts";
import type { Recorder } from "../recorder.ts";

/** What a state machine of registers holds under a key. */
export interface Register {
  value: number;
  /** Index of the entry that wrote it. */
  index: number;
}

/** State of a replica: the registers by key. */
export type Registers = Map<number, Register>;

export function encodeWrite(key: number, value: number, bytes: number): Uint8Array {
  return Buffer.from(`${key} ${value} `.padEnd(bytes, "x"), "latin1");
}

export function applyWrite(registers: Registers, data: Uint8Array, index: number): { key: number; value: number } {
  const [key, value] = Buffer.from(data).toString("latin1").split(" ", 2).map(Number);
  registers.set(key!, { value: value!, index });
  return { key: key!, value: value! };
}

export function encodeRegisters(registers: Registers): Uint8Array {
  return Buffer.from(JSON.stringify([...registers].toSorted(([a], [b]) => a - b).map(([key, { value, index }]) => [key, value, index])), "latin1");
}

export function decodeRegisters(content: Uint8Array): Registers {
  const rows = JSON.parse(Buffer.from(content).toString("latin1")) as [number, number, number][];
  return new Map(rows.map(([key, value, index]) => [key, { value, index }]));
}

/** One operation of a client on a register, while it is under way. */
export interface RegisterCall extends Request {
  readonly key: number;
  /** What was shown before it began. */
  readonly floor: number;
  /** What a read was answered with. */
  shown: number | undefined;
}

/**
 * Linearizability of the registers, key by key, with the order of the log as witness: a write takes effect at its index, and
 * a read at the write that it shows. Every operation must stand behind all that were answered before it began. A write without an
 * answer may take effect at any time, or never. At the end the same is asked of the checker of histories, which knows no log.
 */
export class RegisterHistory {
  readonly #recorder: Recorder;
  /** By key: every write that some replica applied, in the order of the log. */
  readonly #writes = new Map<number, Register[]>();
  /** By key: the latest write that an answered operation showed or made. */
  readonly #floors = new Map<number, number>();
  readonly #clients: ClientHistory;

  constructor(recorder: Recorder, nowMs: () => number) {
    this.#recorder = recorder;
    this.#clients = new ClientHistory(nowMs);
  }

  beginWrite(node: number, key: number, value: number): RegisterCall {
    const operation = { model: "register", key: String(key), action: "write", value } as const;
    return this.#begin({
      process: `client of node ${node}`, key, floor: this.#floor(key), shown: undefined, outcome: "open", position: undefined, calls: () => [{ operation, result: {} }],
    });
  }

  beginRead(node: number, key: number): RegisterCall {
    const operation = { model: "register", key: String(key), action: "read" } as const;
    const call: RegisterCall = {
      process: `client of node ${node}`, key, floor: this.#floor(key), shown: undefined, outcome: "open", position: undefined,
      calls: () => [{ operation, result: { value: call.shown ?? null } }],
    };
    return this.#begin(call);
  }

  #begin(call: RegisterCall): RegisterCall {
    this.#clients.begin(call);
    return call;
  }

  /** The node took no write: it surely is not done. */
  refusedWrite(call: RegisterCall): void {
    this.#clients.end(call, "fail");
  }

  /** What an operation on `key` that begins now must not go back behind. */
  #floor(key: number): number {
    return this.#floors.get(key) ?? 0;
  }

  /** Some replica applied a write, for the first time. */
  applied(key: number, value: number, index: number): void {
    const writes = this.#writes.get(key);
    if (writes === undefined) this.#writes.set(key, [{ value, index }]);
    else writes.push({ value, index });
  }

  acknowledgedWrite(node: number, call: RegisterCall, index: number): void {
    const { key, floor } = call;
    this.#clients.end(call, "ok", index);
    if (index <= floor) this.#recorder.violation("linearizability", `node ${node}: a write of key ${key} took place ${index}, but began after place ${floor} was shown`);
    this.#raise(key, index);
    this.#recorder.operations++;
  }

  /** A read of a replica that had applied everything up to `applied` was answered. */
  answeredRead(node: number, call: RegisterCall, shown: Register | undefined, applied: number): void {
    const { key, floor } = call;
    call.shown = shown?.value;
    this.#clients.end(call, "ok", applied);
    const index = shown?.index ?? 0;
    if (index < floor) this.#recorder.violation("linearizability", `node ${node}: a read of key ${key} shows place ${index}, but began after place ${floor} was shown`);
    const truth = this.#at(key, applied);
    if (truth?.index !== shown?.index || truth?.value !== shown?.value) {
      this.#recorder.violation("state machine", `node ${node}: key ${key} holds ${JSON.stringify(shown)} at ${applied}, the log says ${JSON.stringify(truth)}`);
    }
    this.#raise(key, index);
    this.#recorder.operations++;
  }

  /** A replica took over a state as that at `index`. */
  checkState(node: number, registers: Registers, index: number): void {
    const keys = new Set([...registers.keys(), ...this.#writes.keys()]);
    for (const key of keys) {
      const truth = this.#at(key, index);
      const found = registers.get(key);
      if (truth?.index !== found?.index || truth?.value !== found?.value) {
        this.#recorder.violation("state machine", `node ${node}: a snapshot at ${index} holds ${JSON.stringify(found)} under key ${key}, the log says ${JSON.stringify(truth)}`);
      }
    }
  }

  /** At the end of a run: what clients saw can be true, whatever the log says. `budget`: see ClientHistory.check. */
  checkFinal(budget?: number): void {
    if (!this.#recorder.isOver) this.#clients.check(this.#recorder, budget);
  }

  #at(key: number, index: number): Register | undefined {
    return this.#writes.get(key)?.findLast((write) => write.index <= index);
  }

  #raise(key: number, index: number): void {
    if (index > this.#floor(key)) this.#floors.set(key, index);
  }
}
