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

/**
 * Linearizability of the registers, key by key, with the order of the log as witness: a write takes effect at its index, and
 * a read at the write that it shows. Every operation must stand behind all that were answered before it began. A write without an
 * answer may take effect at any time, or never.
 */
export class RegisterHistory {
  readonly #recorder: Recorder;
  /** By key: every write that some replica applied, in the order of the log. */
  readonly #writes = new Map<number, Register[]>();
  /** By key: the latest write that an answered operation showed or made. */
  readonly #floors = new Map<number, number>();

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
  }

  /** What an operation on `key` that begins now must not go back behind. */
  floor(key: number): number {
    return this.#floors.get(key) ?? 0;
  }

  /** Some replica applied a write, for the first time. */
  applied(key: number, value: number, index: number): void {
    const writes = this.#writes.get(key);
    if (writes === undefined) this.#writes.set(key, [{ value, index }]);
    else writes.push({ value, index });
  }

  acknowledgedWrite(node: number, key: number, index: number, floor: number): void {
    if (index <= floor) this.#recorder.violation("linearizability", `node ${node}: a write of key ${key} took place ${index}, but began after place ${floor} was shown`);
    this.#raise(key, index);
    this.#recorder.operations++;
  }

  /** A read of a replica that had applied everything up to `applied` was answered. */
  answeredRead(node: number, key: number, shown: Register | undefined, applied: number, floor: number): void {
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

  #at(key: number, index: number): Register | undefined {
    return this.#writes.get(key)?.findLast((write) => write.index <= index);
  }

  #raise(key: number, index: number): void {
    if (index > this.floor(key)) this.#floors.set(key, index);
  }
}
