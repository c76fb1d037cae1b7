import type { EventualDelta, EventualValue, Region } from "@statemesh/contract";
import type { EventualLimits } from "./limits.ts";
import { RegionMap } from "./region-map.ts";
import type { Register, RegionRegisters } from "./register-table.ts";

/** Rough bytes of a value in an encoded delta. */
export function encodedSize(value: EventualValue): number {
  return value.value.length + value.key.length + value.type.length + 40;
}

/** A whole region on its way to a peer, in parts: the iterator stands where the last part ended. */
interface RepairJob {
  readonly home: RegionRegisters;
  readonly registers: Iterator<Register>;
}

/** What one peer still has to get: changed keys (the latest value each), whole regions, requests. */
export class PeerOutbox {
  /** Where the round of digests stands in the list of regions. */
  digestCursor = 0;
  /** Since when the peer's digest of a region differs, milliseconds. */
  readonly differsSinceMs = new RegionMap<number>();
  /** Keys left to digest repair because the backlog was full. */
  overflowed = 0;
  readonly #backlog = new Set<Register>();
  #jobs: RepairJob[] = [];
  #wanted: Region[] = [];
  readonly #limits: EventualLimits;

  constructor(limits: EventualLimits) {
    this.#limits = limits;
  }

  /** Keys that wait. */
  get backlog(): number {
    return this.#backlog.size;
  }

  /** Puts keys behind those that wait already; a key that waits is sent once, with its latest value. */
  push(registers: readonly Register[]): void {
    for (const register of registers) {
      if (this.#backlog.size < this.#limits.maxBacklogKeys || this.#backlog.has(register)) this.#backlog.add(register);
      else this.overflowed += 1;
    }
  }

  /** The peer asks for a whole region. False where too many wait. */
  repair(home: RegionRegisters): boolean {
    for (const job of this.#jobs) if (job.home === home) return true;
    if (this.#jobs.length >= this.#limits.maxRepairRegions) return false;
    this.#jobs.push({ home, registers: registersOf(home) });
    return true;
  }

  /** The next delta asks the peer for a whole region. */
  want(region: Region): boolean {
    if (this.#wanted.length >= this.#limits.maxDigests) return false;
    this.#wanted.push(region);
    return true;
  }

  /** Moves waiting keys, regions and requests into the delta, within the limits of a tick. */
  drain(delta: EventualDelta): void {
    let values = 0;
    let bytes = 0;
    for (const register of this.#backlog) {
      if (values >= this.#limits.maxValuesPerTick || bytes >= this.#limits.maxBytesPerTick) break;
      this.#backlog.delete(register);
      delta.values.push(register.value);
      values += 1;
      bytes += encodedSize(register.value);
    }
    this.#drainRepairs(delta);
    if (this.#wanted.length > 0) {
      delta.wanted = this.#wanted;
      this.#wanted = [];
    }
  }

  #drainRepairs(delta: EventualDelta): void {
    let values = 0;
    let bytes = 0;
    let done = 0;
    for (const job of this.#jobs) {
      while (values < this.#limits.maxRepairValuesPerTick && bytes < this.#limits.maxRepairBytesPerTick) {
        const next = job.registers.next();
        if (next.done === true) {
          done += 1;
          break;
        }
        delta.values.push(next.value.value);
        values += 1;
        bytes += encodedSize(next.value.value);
      }
      if (values >= this.#limits.maxRepairValuesPerTick || bytes >= this.#limits.maxRepairBytesPerTick) break;
    }
    if (done > 0) this.#jobs = this.#jobs.slice(done);
  }
}

/** Every register of a region, tombstones included. Goes on over changes made meanwhile. */
export function* registersOf(home: RegionRegisters): Generator<Register, void> {
  for (const first of home.byKey.values()) {
    for (let register: Register | undefined = first; register !== undefined; register = register.next) yield register;
  }
}
