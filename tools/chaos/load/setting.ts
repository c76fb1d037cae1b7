/** Where the load plays. */
import type { Region } from "@statemesh/contract";
import { groupOf } from "@statemesh/world";
import { GROUPS } from "../chaos-mesh.ts";
import type { GameServer } from "./game-server.ts";

/** A type of our own (see the run's policy file): a write replaces the value, so that it is a register. */
export const REGISTER_TYPE = "chaos_register";

/** A region that nobody owns. */
export interface Ground {
  readonly region: Region;
  readonly group: number;
  readonly registers: readonly string[];
  readonly resources: readonly string[];
}

/** Everything that work needs to know. */
export interface Setting {
  readonly grounds: readonly Ground[];
  /** A region that servers take leases of, in turn. */
  readonly leased: { readonly region: Region; readonly group: number; readonly registers: readonly string[] };
  readonly servers: readonly GameServer[];
}

const REGISTERS = 5;

/** One ground a group, and a region to be leased in the last one. */
export function settingFor(servers: readonly GameServer[]): Setting {
  const grounds: Ground[] = [];
  for (let group = 1; group <= GROUPS; group++) {
    grounds.push({
      region: regionOf(group, 0),
      group,
      registers: Array.from({ length: REGISTERS }, (_, at) => `register-${group}-${at + 1}`),
      resources: Array.from({ length: 3 }, (_, at) => `vein-${group}-${at + 1}`),
    });
  }
  return { grounds, leased: { region: regionOf(GROUPS, 1), group: GROUPS, registers: ["owned-1", "owned-2"] }, servers };
}

/** The nth region of a group, each in a sector of its own. */
function regionOf(group: number, nth: number): Region {
  let left = nth;
  for (let x = 0; ; x += 8) {
    const region = { x, y: 0, z: 0 };
    if (groupOf(region, GROUPS) === group && left-- === 0) return region;
  }
}
