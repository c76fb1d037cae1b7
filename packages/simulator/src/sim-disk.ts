import { checkName, checkWithin, DiskError } from "@statemesh/ports";
import type { Disk, DiskFile } from "@statemesh/ports";
import type { SimRandom } from "./sim-random.ts";
import type { Simulation } from "./simulation.ts";

/** How often a disk that hangs looks whether it does so still. */
const HELD_LOOK_MS = 50;
/** What reaches the platter at once. */
const SECTOR_BYTES = 512;

export type DiskOperation = "list" | "read" | "open" | "append" | "rewrite" | "sync" | "truncate" | "rename" | "remove" | "syncDirectory" | "close";

export interface DiskBehaviour {
  /** Shortest and longest time of an operation, milliseconds. */
  minLatencyMs: number;
  maxLatencyMs: number;
  /** Of a sync. */
  minSyncMs: number;
  maxSyncMs: number;
  /** Bytes that fit; an append past it writes what fits and fails with `ENOSPC`. */
  capacityBytes: number;
  /** Asked before each operation: a code to fail with. A failed sync leaves it open what is durable. */
  fault: (operation: DiskOperation, name: string) => string | undefined;
  /** Hands a completion to the process: a process that is paused takes it later. */
  deliver: (settle: () => void) => void;
}

const HEALTHY: DiskBehaviour = {
  minLatencyMs: 0.01, maxLatencyMs: 0.05, minSyncMs: 0.2, maxSyncMs: 1, capacityBytes: Infinity, fault: () => undefined,
  deliver: (settle) => {
    settle();
  },
};

type Change = { kind: "write"; at: number; bytes: Uint8Array } | { kind: "truncate"; size: number };

/** A buffer and how much of it counts. */
interface Content {
  buffer: Uint8Array;
  length: number;
}

/** A file apart from its name. Its own content is what a reader sees. */
interface Node extends Content {
  /** What a power cut cannot take. */
  readonly durable: Content;
  /** Changes since, in order. */
  pending: Change[];
}

type NameChange = { kind: "link"; name: string; node: Node } | { kind: "unlink"; name: string };

/**
 * A disk on virtual time that loses what was not synced when the power is cut: of the names, everything behind a random point; of each
 * file, everything behind a random change, and of that change any of its sectors.
 */
export class SimDisk {
  readonly #simulation: Simulation;
  readonly #random: SimRandom;
  #durableNames = new Map<string, Node>();
  #names = new Map<string, Node>();
  #pendingNames: NameChange[] = [];
  /** Handles of an earlier life never answer. */
  #life = 0;
  /** Nothing comes to its end before this: the disk hangs, or its process stands still. Milliseconds of virtual time. */
  heldUntilMs = 0;
  readonly behaviour: DiskBehaviour;

  constructor(simulation: Simulation, behaviour: Partial<DiskBehaviour> = {}) {
    this.#simulation = simulation;
    this.#random = simulation.random.fork();
    this.behaviour = { ...HEALTHY, ...behaviour };
  }

  /** The disk as a process sees it, until the next crash. */
  mount(): Disk {
    return new MountedDisk(this, this.#life);
  }

  /** The power is cut. */
  crash(): void {
    this.#life++;
    const names = new Map(this.#durableNames);
    const kept = this.#random.between(0, this.#pendingNames.length);
    for (const change of this.#pendingNames.slice(0, kept)) applyName(names, change);
    this.#names = names;
    this.#durableNames = new Map(names);
    this.#pendingNames = [];
    for (const node of new Set(names.values())) this.#crashFile(node);
  }

  /** The process ends, the machine stays: everything that was written is still there. */
  kill(): void {
    this.#life++;
  }

  /** Turns over one bit of a file for good. */
  flipBit(name: string, byte: number, bit: number): void {
    const node = this.#nodeOf(name);
    const mask = 1 << bit;
    node.buffer[byte] = node.buffer[byte]! ^ mask;
    if (byte < node.durable.length) node.durable.buffer[byte] = node.durable.buffer[byte]! ^ mask;
  }

  /** What was written at one place of a file stands at another too, for good, over what was there. */
  misdirect(name: string, from: number, to: number, bytes: number): void {
    const node = this.#nodeOf(name);
    node.buffer.copyWithin(to, from, Math.min(from + bytes, node.length - Math.max(0, to - from)));
    node.durable.buffer.set(node.buffer.subarray(to, Math.min(to + bytes, node.durable.length)), to);
  }

  /** What a reader sees of a file now. */
  peek(name: string): Uint8Array {
    const node = this.#nodeOf(name);
    return node.buffer.slice(0, node.length);
  }

  /** Bytes of a file that a power cut cannot take. */
  durableBytes(name: string): number {
    return this.#durableNames.get(name)?.durable.length ?? 0;
  }

  get names(): string[] {
    return [...this.#names.keys()].sort();
  }

  get usedBytes(): number {
    let bytes = 0;
    for (const node of this.#names.values()) bytes += node.length;
    return bytes;
  }

  // --- For handles ---

  /** Runs an operation; its promise resolves by an event, never where the life is over. */
  perform<T>(life: number, operation: DiskOperation, name: string, body: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (life !== this.#life) return;
      let settle: () => void;
      try {
        const code = this.behaviour.fault(operation, name);
        if (code !== undefined) {
          if (operation === "sync") this.#failSync(name);
          throw new DiskError(code, `${operation} of ${name}: injected`);
        }
        const result = body();
        settle = () => {
          resolve(result);
        };
      } catch (error) {
        settle = () => {
          reject(error instanceof Error ? error : new Error(String(error)));
        };
      }
      const { minLatencyMs, maxLatencyMs, minSyncMs, maxSyncMs } = this.behaviour;
      const isSync = operation === "sync" || operation === "syncDirectory";
      const minMs = isSync ? minSyncMs : minLatencyMs;
      const delayMs = minMs + this.#random.next() * ((isSync ? maxSyncMs : maxLatencyMs) - minMs);
      const end = (): void => {
        if (life !== this.#life) return;
        const heldMs = this.heldUntilMs - this.#simulation.nowMs;
        if (heldMs > 0) this.#simulation.after(Math.min(heldMs, HELD_LOOK_MS), end);
        else {
          this.behaviour.deliver(() => {
            if (life === this.#life) settle();
          });
        }
      };
      this.#simulation.after(delayMs, end);
    });
  }

  /** Like `perform`, for an effect that counts only once the operation has come to its end. */
  performLate(life: number, operation: DiskOperation, name: string, effect: () => void): Promise<void> {
    return this.perform(life, operation, name, () => undefined).then(effect);
  }

  lookUp(name: string): Node {
    const node = this.#names.get(name);
    if (node === undefined) throw new DiskError("ENOENT", `no file ${name}`);
    return node;
  }

  openNode(name: string): Node {
    let node = this.#names.get(name);
    if (node === undefined) {
      node = { durable: emptyContent(), pending: [], ...emptyContent() };
      this.changeNames({ kind: "link", name, node });
    }
    return node;
  }

  changeNames(change: NameChange): void {
    applyName(this.#names, change);
    this.#pendingNames.push(change);
  }

  /** How many name changes there are; a directory sync covers those. */
  get pendingNames(): number {
    return this.#pendingNames.length;
  }

  syncNames(count: number): void {
    for (const change of this.#pendingNames.splice(0, count)) applyName(this.#durableNames, change);
  }

  append(node: Node, size: number, pieces: readonly Uint8Array[]): number {
    const { capacityBytes } = this.behaviour;
    let free = capacityBytes === Infinity ? Infinity : capacityBytes - this.usedBytes + (node.length - size);
    let at = size;
    for (const piece of pieces) {
      const bytes = piece.slice(0, Math.max(0, Math.min(piece.length, free)));
      write(node, at, bytes);
      if (bytes.length > 0) node.pending.push({ kind: "write", at, bytes });
      at += bytes.length;
      free -= bytes.length;
      if (bytes.length < piece.length) throw new DiskError("ENOSPC", "no space left");
    }
    return at;
  }

  rewrite(node: Node, at: number, bytes: Uint8Array): void {
    const change: Change = { kind: "write", at, bytes: bytes.slice() };
    applyChange(node, change);
    node.pending.push(change);
  }

  truncate(node: Node, size: number): void {
    applyChange(node, { kind: "truncate", size });
    node.pending.push({ kind: "truncate", size });
  }

  syncFile(node: Node, changes: number): void {
    for (const change of node.pending.splice(0, changes)) applyChange(node.durable, change);
  }

  #nodeOf(name: string): Node {
    return this.lookUp(name);
  }

  /** As on Linux: pages of a failed sync count as clean; whether they reached the platter is open. */
  #failSync(name: string): void {
    const node = this.#names.get(name);
    if (node === undefined) return;
    if (this.#random.chance(0.5)) this.syncFile(node, node.pending.length);
    else node.pending = [];
  }

  #crashFile(node: Node): void {
    const { pending } = node;
    node.pending = [];
    copyContent(node.durable, node);
    const kept = this.#random.between(0, pending.length);
    for (const change of pending.slice(0, kept)) applyChange(node, change);
    const torn = pending[kept];
    if (torn?.kind === "write") this.#tear(node, torn.at, torn.bytes);
    copyContent(node, node.durable);
  }

  /** Any of the sectors of a write arrive; those before the last that did hold what they held, and zeros or debris where the file is longer now. */
  #tear(node: Node, at: number, bytes: Uint8Array): void {
    let last = -1;
    const partial = bytes.slice();
    for (let start = 0; start < bytes.length; ) {
      const end = Math.min(bytes.length, start + SECTOR_BYTES - ((at + start) % SECTOR_BYTES));
      if (this.#random.chance(0.5)) last = end;
      else {
        partial.fill(this.#random.chance(0.8) ? 0 : this.#random.between(1, 255), start, end);
        partial.set(node.buffer.subarray(Math.min(at + start, node.length), Math.min(at + end, node.length)), start);
      }
      start = end;
    }
    if (last > 0) write(node, at, partial.subarray(0, last));
  }
}

class MountedDisk implements Disk {
  readonly #disk: SimDisk;
  readonly #life: number;

  constructor(disk: SimDisk, life: number) {
    this.#disk = disk;
    this.#life = life;
  }

  list(): Promise<string[]> {
    return this.#disk.perform(this.#life, "list", "", () => this.#disk.names);
  }

  read(name: string): Promise<Uint8Array> {
    return this.#named("read", name, () => this.#disk.peek(name));
  }

  readRange(name: string, offset: number, length: number): Promise<Uint8Array> {
    return this.#named("read", name, () => {
      const node = this.#disk.lookUp(name);
      return node.buffer.slice(offset, Math.min(node.length, offset + length));
    });
  }

  sizeOf(name: string): Promise<number> {
    return this.#named("read", name, () => this.#disk.lookUp(name).length);
  }

  openAppend(name: string): Promise<DiskFile> {
    return this.#named("open", name, () => new SimFile(this.#disk, this.#life, name, this.#disk.openNode(name)));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#named("rename", from, () => {
      checkName(to);
      const node = this.#disk.lookUp(from);
      this.#disk.changeNames({ kind: "link", name: to, node });
      this.#disk.changeNames({ kind: "unlink", name: from });
    });
  }

  remove(name: string): Promise<void> {
    return this.#named("remove", name, () => {
      this.#disk.changeNames({ kind: "unlink", name });
    });
  }

  syncDirectory(): Promise<void> {
    const count = this.#disk.pendingNames;
    return this.#disk.performLate(this.#life, "syncDirectory", "", () => {
      this.#disk.syncNames(count);
    });
  }

  #named<T>(operation: DiskOperation, name: string, body: () => T): Promise<T> {
    return this.#disk.perform(this.#life, operation, name, () => {
      checkName(name);
      return body();
    });
  }
}

class SimFile implements DiskFile {
  readonly #disk: SimDisk;
  readonly #life: number;
  readonly #name: string;
  readonly #node: Node;
  #size: number;
  #busy = false;

  constructor(disk: SimDisk, life: number, name: string, node: Node) {
    this.#disk = disk;
    this.#life = life;
    this.#name = name;
    this.#node = node;
    this.#size = node.length;
  }

  get size(): number {
    return this.#size;
  }

  append(pieces: readonly Uint8Array[]): Promise<void> {
    return this.#alone(
      this.#disk.perform(this.#life, "append", this.#name, () => {
        this.#size = this.#disk.append(this.#node, this.#size, pieces);
      }),
    );
  }

  rewrite(at: number, bytes: Uint8Array): Promise<void> {
    return this.#alone(
      this.#disk.perform(this.#life, "rewrite", this.#name, () => {
        checkWithin(this.#name, this.#size, at, bytes.length);
        this.#disk.rewrite(this.#node, at, bytes);
      }),
    );
  }

  sync(): Promise<void> {
    const changes = this.#node.pending.length;
    return this.#alone(
      this.#disk.performLate(this.#life, "sync", this.#name, () => {
        this.#disk.syncFile(this.#node, changes);
      }),
    );
  }

  truncate(size: number): Promise<void> {
    return this.#alone(
      this.#disk.perform(this.#life, "truncate", this.#name, () => {
        this.#disk.truncate(this.#node, size);
        this.#size = size;
      }),
    );
  }

  close(): Promise<void> {
    return this.#alone(this.#disk.perform(this.#life, "close", this.#name, () => undefined));
  }

  /** The port allows one call at a time; a caller that breaks that has a defect. */
  async #alone(work: Promise<void>): Promise<void> {
    if (this.#busy) throw new Error(`two calls at once on ${this.#name}`);
    this.#busy = true;
    try {
      await work;
    } finally {
      this.#busy = false;
    }
  }
}

function applyName(names: Map<string, Node>, change: NameChange): void {
  if (change.kind === "link") names.set(change.name, change.node);
  else names.delete(change.name);
}

function emptyContent(): Content {
  return { buffer: new Uint8Array(SECTOR_BYTES), length: 0 };
}

function copyContent(from: Content, to: Content): void {
  to.buffer = from.buffer.slice(0, Math.max(from.length, SECTOR_BYTES));
  to.length = from.length;
}

function applyChange(node: Content, change: Change): void {
  if (change.kind === "write") {
    write(node, change.at, change.bytes);
    return;
  }
  if (change.size > node.length) {
    write(node, node.length, new Uint8Array(change.size - node.length));
  }
  node.length = change.size;
}

/** Writes at `at`; the file grows where it must, with zeros in a hole. */
function write(node: Content, at: number, bytes: Uint8Array): void {
  const end = at + bytes.length;
  if (end > node.buffer.length) {
    const grown = new Uint8Array(Math.max(end, node.buffer.length * 2));
    grown.set(node.buffer.subarray(0, node.length));
    node.buffer = grown;
  }
  if (at > node.length) node.buffer.fill(0, node.length, at);
  node.buffer.set(bytes, at);
  node.length = Math.max(node.length, end);
}
