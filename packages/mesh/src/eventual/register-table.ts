import type { EventualValue, HybridTimestamp, Region } from "@statemesh/contract";
import { compareWrites, type Fingerprint, fingerprint, hashOfName, RegionDigestSum } from "./last-write-wins.ts";
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
  /** Hash of name and write. */
  readonly print: Fingerprint;
  /** When the write came, in milliseconds of elapsed time. */
  arrivedMs: number;
  /** The round in which it was published at this node last; 0: never. Kept when another node's write wins over it: that one stands for it then. */
  round: number;
  /** The request to a peer for the region whose answer named it last. */
  named: number;
  /**
   * When it was found to be deleted elsewhere, and the tombstone gone, milliseconds of the wall clock; 0: it was not. Such a register is a
   * tombstone that only keeps other nodes' copies out: it counts in no digest, and is not sent.
   */
  buriedMs: number;
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
  /** The request for the region that is open: the peer and its start, the number, and when both had last held the same before it, in elapsed time. */
  asked: { readonly peer: number; readonly incarnation: number; readonly request: number; readonly matchedMs: number | undefined } | undefined;
}

/** What a write did to its register. */
export type WriteResult = "applied" | "stale" | "full";

/** Rough memory of a register beside its key and value. */
const REGISTER_OVERHEAD_BYTES = 440;

/** All registers of a node, by region; keeps digests, tombstones and totals. */
export class RegisterTable {
  readonly regions: RegionRegisters[] = [];
  /** The register that the last `write` met, whether it won or not; undefined where it found no room. */
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
      asked: undefined,
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
      if (this.#registers >= this.#maxRegisters || this.#bytes + bytes > this.#maxBytes) {
        this.lastRegister = undefined;
        return "full";
      }
      this.#create(home ?? this.openRegion(value.region as Region), value, bytes, elapsedMs);
      return "applied";
    }
    const held = known.value;
    this.lastRegister = known;
    if (compareWrites(value, held) <= 0) return "stale";
    if (held.deleted) this.#tombstoneCount -= 1;
    if (known.buriedMs === 0) known.home.digest.remove(known.print);
    known.buriedMs = 0;
    this.#bytes += value.value.length - held.value.length;
    // One copy of type and region for all writes of the key: the decoded ones may go.
    value.type = held.type;
    value.region = held.region;
    value.key = held.key;
    known.value = value;
    this.#enter(known, elapsedMs);
    return "applied";
  }

  /**
   * Makes a tombstone of a value that was deleted elsewhere so long ago that nobody there knows of it any more. It is kept from `nowMs`
   * on for as long as other tombstones, so that the value is not taken again from a node that has not heard of it either.
   */
  bury(register: Register, deletion: EventualValue, nowMs: number, elapsedMs: number): void {
    const { home, value } = register;
    home.digest.remove(register.print);
    home.changedMs = elapsedMs;
    this.#bytes -= value.value.length;
    register.value = deletion;
    register.buriedMs = Math.max(1, nowMs);
    this.#tombstoneCount += 1;
    if (!register.listed) this.#list(register);
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
      if (sinceMs(register) >= beforeMs) {
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
      print: { low: 0, high: 0 },
      arrivedMs: elapsedMs,
      round: 0,
      named: 0,
      buriedMs: 0,
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
    register.arrivedMs = elapsedMs;
    // A decoded value is a view of its whole message, which would stay in memory with it.
    value.value = new Uint8Array(value.value);
    fingerprint(register.name, value, register.print);
    home.digest.add(register.print);
    if (!value.deleted) return;
    this.#tombstoneCount += 1;
    if (!register.listed) this.#list(register);
  }

  #list(register: Register): void {
    register.listed = true;
    this.#tombstones.push({ register, stampedMs: sinceMs(register) });
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
    if (register.buriedMs === 0) home.digest.remove(register.print);
    home.held -= 1;
    this.#registers -= 1;
    this.#bytes -= REGISTER_OVERHEAD_BYTES + value.key.length + value.value.length;
  }
}

/** From when on a tombstone is kept for the horizon. */
function sinceMs({ buriedMs, value }: Register): number {
  return buriedMs === 0 ? (value.stamp as HybridTimestamp).physicalMs : buriedMs;
}
