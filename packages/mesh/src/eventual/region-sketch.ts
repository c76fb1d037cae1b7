import type { RegionSketch } from "@statemesh/contract";
import { mix } from "./last-write-wins.ts";
import type { Register, RegionRegisters } from "./register-table.ts";

/** Parts of a region at most, as a power of two. */
export const SKETCH_BITS_MAX = 12;
/** About how many registers a part shall hold: what differs is sent with those that share its part. */
const REGISTERS_A_PART = 4;
/** Regions up to this size are sent whole. */
const WHOLE_REGISTERS = 16;

/** Into how many parts, as a power of two, a region of so many registers is cut; 0: it is not. */
export function bitsFor(registers: number): number {
  if (registers <= WHOLE_REGISTERS) return 0;
  return Math.min(SKETCH_BITS_MAX, Math.max(1, Math.ceil(Math.log2(registers / REGISTERS_A_PART))));
}

/** The part that a register belongs to, by the hash of its name. `bits`: 1..12. */
export function partOf(name: number, bits: number): number {
  return mix(name) >>> (32 - bits);
}

/** Every register of a region that counts, tombstones included. Goes on over changes made meanwhile. */
export function* registersOf(home: RegionRegisters): Generator<Register, void> {
  for (const first of home.byKey.values()) {
    for (let register: Register | undefined = first; register !== undefined; register = register.next) if (register.buriedMs === 0) yield register;
  }
}

/** The digests of a region's parts. `bits`: 1..12. */
export function digestsOf(home: RegionRegisters | undefined, bits: number, salt: number): number[] {
  const digests = new Uint32Array(2 ** bits);
  if (home !== undefined) {
    for (const register of registersOf(home)) {
      const part = partOf(register.name, bits);
      digests[part] = (digests[part] as number) ^ mix(register.print.low ^ mix(register.print.high ^ salt));
    }
  }
  return [...digests];
}

/** The parts in which a region differs from a peer's sketch, in order. */
export function differingParts(home: RegionRegisters | undefined, { bits, salt, digests }: RegionSketch): number[] {
  const parts: number[] = [];
  const own = digestsOf(home, bits, salt);
  for (let part = 0; part < own.length; part += 1) if (own[part] !== (digests[part] ?? 0) >>> 0) parts.push(part);
  return parts;
}

/** Whether a peer's sketch has the form of one. */
export function isSketch({ bits, digests }: RegionSketch): boolean {
  return bits === 0 || (bits <= SKETCH_BITS_MAX && digests.length === 2 ** bits);
}
