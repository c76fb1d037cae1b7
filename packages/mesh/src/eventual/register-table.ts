import type { EventualValue, HybridTimestamp, Region } from "@statemesh/contract";
import { compareWrites, hashOfName, RegionDigestSum } from "./last-write-wins.ts";
import { RegionMap } from "./region-map.ts";

/** A last-write-wins register: one (type, region, key). The object stands for the key as long as it is held. */
export interface Register {
  /** The winning write. Replaced, never changed. */
  value: EventualValue;
  /** Hash of type and key. */
  readonly name: number;
  readonly home: RegionRegisters;
  /** Next register of the region with the same key and another type. */
  next: Register | undefined;
  /** Waits in the list of this tick's changes. */
  fresh: boolean;
  /** Is in the list of tombstones; it may live again meanwhile. */
  listed: boolean;
}

/** The registers of one region. */
export interface RegionRegisters {
  readonly region: Region;
  /** Chains by key; types that share a key are few. */
  readonly byKey: Map<string, Register>;
  readonly digest: RegionDigestSum;
  /** Registers held, tombstones included. */
  held: number;
  /** Place in the table's list of regions. */
  place: number;
  /** When a register changed last, in milliseconds of elapsed time. */
  changedMs: number;
}

/** What a write did to its register. */
export type WriteResult = "applied" | "stale" | "full";

/** Rough memory of a register beside its key and value. */
const REGISTER_OVERHEAD_BYTES = 400;

/** All registers of a node, by region; keeps digests, tombstones and totals. */
export class RegisterTable {
  readonly regions: RegionRegisters[] = [];
  /** The register that the last `write` applied to. */
  lastRegister: Register | undefined;
  #registers = 0;
  #tombstoneCount = 0;
  #bytes = 0;
  readonly #byRegion = new RegionMap<RegionRegisters>();
  // In order of arrival, each register at most once; those from `#firstTombstone` on wait for their horizon.
  #tombstones: { register: Register; stampedMs: number }[] = [];
  #firstTombstone = 0;
  #last: RegionRegisters | undefined;
  readonly #maxRegisters: number;
  readonly #maxBytes: number;

  constructor(maxRegisters: number, maxBytes: number) {
    this.#maxRegisters = maxRegisters;
    this.#maxBytes = maxBytes;
  }

  /** Registers held, tombstones included. */
  get registers(): number {
    return this.#registers;
  }

  get tombstones(): number {
    return this.#tombstoneCount;
  }

  /** About. */
  get bytes(): number {
    return this.#bytes;
  }

  regionOf(region: Region): RegionRegisters | undefined {
    const last = this.#last;
    if (last !== undefined && last.region.x === region.x && last.region.y === region.y && last.region.z === region.z) return last;
    const found = this.#byRegion.get(region);
    if (found !== undefined) this.#last = found;
    return found;
  }

  /** The region's registers, made where there are none yet. */
  openRegion(region: Region): RegionRegisters {
    const known = this.regionOf(region);
    if (known !== undefined) return known;
    const created: RegionRegisters = {
      region: { x: region.x, y: region.y, z: region.z },
      byKey: new Map(),
      digest: new RegionDigestSum(),
      held: 0,
      place: this.regions.length,
      changedMs: 0,
    };
    this.regions.push(created);
    this.#byRegion.set(region, created);
    this.#last = created;
    return created;
  }

  find(type: string, region: Region, key: string): Register | undefined {
    return this.#find(this.regionOf(region), type, key);
  }

  /** Applies a write where it wins. `full`: it needs a new register and the limit is reached. */
  write(value: EventualValue, elapsedMs: number): WriteResult {
    const home = this.regionOf(value.region as Region);
    const known = this.#find(home, value.type, value.key);
    if (known === undefined) {
      const bytes = REGISTER_OVERHEAD_BYTES + value.key.length + value.value.length;
      if (this.#registers >= this.#maxRegisters || this.#bytes + bytes > this.#maxBytes) return "full";
      this.#create(home ?? this.openRegion(value.region as Region), value, bytes, elapsedMs);
      return "applied";
    }
    const held = known.value;
    if (compareWrites(value, held) <= 0) return "stale";
    if (held.deleted) this.#tombstoneCount -= 1;
    known.home.digest.remove(known.name, held);
    this.#bytes += value.value.length - held.value.length;
    // One copy of type and region for all writes of the key: the decoded ones may go.
    value.type = held.type;
    value.region = held.region;
    value.key = held.key;
    known.value = value;
    this.#enter(known, elapsedMs);
    this.lastRegister = known;
    return "applied";
  }

  /** Forgets tombstones stamped before `beforeMs`, at most `limit`; says which registers went. */
  collect(beforeMs: number, limit: number, gone: (register: Register) => void): void {
    for (let visited = 0; visited < limit; visited += 1) {
      const head = this.#tombstones[this.#firstTombstone];
      if (head === undefined || head.stampedMs >= beforeMs) break;
      this.#firstTombstone += 1;
      const { register } = head;
      register.listed = false;
      if (!register.value.deleted) continue;
      if ((register.value.stamp as HybridTimestamp).physicalMs >= beforeMs) {
        // It lived and was deleted again since.
        this.#list(register);
        continue;
      }
      this.#tombstoneCount -= 1;
      this.#remove(register);
      gone(register);
    }
    if (this.#firstTombstone > 1024 && this.#firstTombstone * 2 > this.#tombstones.length) {
      this.#tombstones = this.#tombstones.slice(this.#firstTombstone);
      this.#firstTombstone = 0;
    }
  }

  /** Drops a region that holds nothing. */
  closeIfEmpty(home: RegionRegisters): void {
    if (home.held > 0 || this.regions[home.place] !== home) return;
    const moved = this.regions.pop() as RegionRegisters;
    if (moved !== home) {
      moved.place = home.place;
      this.regions[home.place] = moved;
    }
    this.#byRegion.delete(home.region);
    if (this.#last === home) this.#last = undefined;
  }

  #find(home: RegionRegisters | undefined, type: string, key: string): Register | undefined {
    let register = home?.byKey.get(key);
    while (register !== undefined && register.value.type !== type) register = register.next;
    return register;
  }

  #create(home: RegionRegisters, value: EventualValue, bytes: number, elapsedMs: number): void {
    value.region = home.region;
    const register: Register = {
      value,
      name: hashOfName(value.type, value.key),
      home,
      next: home.byKey.get(value.key),
      fresh: false,
      listed: false,
    };
    home.byKey.set(value.key, register);
    home.held += 1;
    this.#registers += 1;
    this.#bytes += bytes;
    this.#enter(register, elapsedMs);
    this.lastRegister = register;
  }

  #enter(register: Register, elapsedMs: number): void {
    const { home, value } = register;
    home.changedMs = elapsedMs;
    // A decoded value is a view of its whole message, which would stay in memory with it.
    value.value = new Uint8Array(value.value);
    home.digest.add(register.name, value);
    if (!value.deleted) return;
    this.#tombstoneCount += 1;
    if (!register.listed) this.#list(register);
  }

  #list(register: Register): void {
    register.listed = true;
    this.#tombstones.push({ register, stampedMs: (register.value.stamp as HybridTimestamp).physicalMs });
  }

  #remove(register: Register): void {
    const { home, value } = register;
    const first = home.byKey.get(value.key);
    if (first === register) {
      if (register.next === undefined) home.byKey.delete(value.key);
      else home.byKey.set(value.key, register.next);
    } else {
      let before = first;
      while (before !== undefined && before.next !== register) before = before.next;
      if (before !== undefined) before.next = register.next;
    }
    home.digest.remove(register.name, value);
    home.held -= 1;
    this.#registers -= 1;
    this.#bytes -= REGISTER_OVERHEAD_BYTES + value.key.length + value.value.length;
  }
}
