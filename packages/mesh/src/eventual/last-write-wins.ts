import type { EventualValue, HybridTimestamp } from "@statemesh/contract";

/**
 * The total order of writes to one key: the later stamp wins; of equal stamps the lower server id; of those a
 * deletion; of those the greater value, byte by byte. Negative where `a` loses, 0 only for the same write.
 */
export function compareWrites(a: EventualValue, b: EventualValue): number {
  const left = a.stamp as HybridTimestamp;
  const right = b.stamp as HybridTimestamp;
  if (left.physicalMs !== right.physicalMs) return left.physicalMs - right.physicalMs;
  if (left.logical !== right.logical) return left.logical - right.logical;
  if (a.serverId !== b.serverId) return b.serverId - a.serverId;
  if (a.deleted !== b.deleted) return a.deleted ? 1 : -1;
  return Buffer.compare(a.value, b.value);
}

/** Hash of what names a register, once a register. */
export function hashOfName(type: string, key: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < type.length; i += 1) hash = Math.imul(hash ^ type.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ 0x1f, 0x01000193);
  for (let i = 0; i < key.length; i += 1) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return hash;
}

/** Two halves of the hash of a register's name and write, kept beside it. */
export interface Fingerprint {
  low: number;
  high: number;
}

/** Hashes a write into `print`. `name`: the hash of type and key. */
export function fingerprint(name: number, value: EventualValue, print: Fingerprint): void {
  const stamp = value.stamp as HybridTimestamp;
  let low = mix(name ^ Math.imul(stamp.physicalMs | 0, 0x85ebca6b) ^ (value.deleted ? 0x27d4eb2f : 0));
  const high = mix(Math.imul(name, 0xc2b2ae35) ^ Math.floor(stamp.physicalMs / 0x1_0000_0000) ^ Math.imul(value.serverId, 0x9e3779b1));
  low = mix(low ^ stamp.logical);
  const bytes = value.value;
  for (let i = 0; i < bytes.length; i += 1) low = Math.imul(low ^ (bytes[i] as number), 0x01000193);
  print.high = mix(high ^ low);
  print.low = mix(low ^ print.high);
}

/**
 * Digest of the registers of a region, tombstones included (a reader may come with a key that only another node
 * still had): the exclusive or of a 53-bit hash a register, so it does not depend on order and is kept up to date by
 * adding and removing one at a time.
 */
export class RegionDigestSum {
  #low = 0;
  #high = 0;
  #count = 0;

  /** Registers. */
  get count(): number {
    return this.#count;
  }

  /** 53 bits; 0 where there are none. */
  get digest(): number {
    return (this.#high & 0x1f_ffff) * 0x1_0000_0000 + (this.#low >>> 0);
  }

  add(print: Fingerprint): void {
    this.#toggle(print);
    this.#count += 1;
  }

  remove(print: Fingerprint): void {
    this.#toggle(print);
    this.#count -= 1;
  }

  #toggle({ low, high }: Fingerprint): void {
    this.#low ^= low;
    this.#high ^= high;
  }
}

/** The finaliser of MurmurHash3. */
export function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
