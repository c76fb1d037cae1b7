// Items that are set apart, each for one game server to spend through one node. The items are in the account `escrow:ID`; what stands here
// is whose they are, and how far the node's spendings have taken effect.
import type { Region } from "@statemesh/contract";
import type { EscrowRecord } from "@statemesh/contract/log";
import type { StateHash } from "./state-hash.ts";

/** Escrows that may be open at a time in a group, for one game server, of one player's items, and with one node. */
export const ESCROWS_OF_GROUP = 16_384;
export const ESCROWS_OF_SERVER = 1_024;
export const ESCROWS_OF_PLAYER = 16;
export const ESCROWS_OF_NODE = 4_096;
/** Closed ones that are remembered; the oldest go first. */
const CLOSED_KEPT = 1_024;

/** Replaced, never changed. */
export interface EscrowRow {
  readonly escrowId: string;
  readonly region: Region;
  readonly playerId: string;
  readonly itemKind: string;
  readonly quantity: number;
  readonly spenderServerId: number;
  readonly nodeId: number;
  readonly expiresMs: number;
  /** Tells escrows of one id apart. */
  readonly openedIndex: number;
  /** Number of the last spending that took effect, and the sum of all. */
  readonly lastNumber: number;
  readonly spent: number;
  /** 0: open. */
  readonly closedIndex: number;
  readonly returned: number;
  readonly nodeRemoved: boolean;
}

export function escrowAccount(escrowId: string): string {
  return `escrow:${escrowId}`;
}

export function isEscrowAccount(account: string): boolean {
  return account.startsWith("escrow:");
}

type Counted = "server" | "player" | "node";

export class EscrowTable {
  readonly #hash: StateHash;
  readonly #open = new Map<string, EscrowRow>();
  /** In the order in which they were closed. */
  readonly #closed = new Map<string, EscrowRow>();
  /** Open ones, by whom they are counted for. */
  readonly #counts = new Map<string, number>();
  /** Changes with every change. */
  version = 0;

  constructor(hash: StateHash) {
    this.#hash = hash;
  }

  get size(): number {
    return this.#open.size;
  }

  open(escrowId: string): EscrowRow | undefined {
    return this.#open.get(escrowId);
  }

  /** Open, or closed and remembered. */
  find(escrowId: string): EscrowRow | undefined {
    return this.#open.get(escrowId) ?? this.#closed.get(escrowId);
  }

  openRows(): IterableIterator<EscrowRow> {
    return this.#open.values();
  }

  closedRows(): IterableIterator<EscrowRow> {
    return this.#closed.values();
  }

  /** How many are open for a server, of a player, with a node. */
  count(of: Counted, id: number | string): number {
    return this.#counts.get(`${of} ${id}`) ?? 0;
  }

  put(row: EscrowRow): void {
    const before = this.#open.get(row.escrowId);
    if (before === undefined) this.#addCounts(row, 1);
    else this.#hash.remove(...hashed(before));
    this.#open.set(row.escrowId, row);
    this.#hash.add(...hashed(row));
    this.version++;
  }

  close(row: EscrowRow): void {
    const before = this.#open.get(row.escrowId);
    if (before !== undefined) {
      this.#open.delete(row.escrowId);
      this.#hash.remove(...hashed(before));
      this.#addCounts(before, -1);
    }
    this.restoreClosed(row);
    this.version++;
  }

  restoreClosed(row: EscrowRow): void {
    this.#forgetClosed(row.escrowId);
    this.#closed.set(row.escrowId, row);
    this.#hash.add(...hashed(row));
    for (const escrowId of this.#closed.keys()) {
      if (this.#closed.size <= CLOSED_KEPT) return;
      this.#forgetClosed(escrowId);
    }
  }

  #forgetClosed(escrowId: string): void {
    const row = this.#closed.get(escrowId);
    if (row === undefined) return;
    this.#closed.delete(escrowId);
    this.#hash.remove(...hashed(row));
  }

  #addCounts({ spenderServerId, playerId, nodeId }: EscrowRow, delta: 1 | -1): void {
    for (const key of [`server ${spenderServerId}`, `player ${playerId}`, `node ${nodeId}`]) {
      const count = (this.#counts.get(key) ?? 0) + delta;
      if (count === 0) this.#counts.delete(key);
      else this.#counts.set(key, count);
    }
  }
}

/** What is in the record and not in the digest is written once, with `openedIndex`. */
function hashed({ escrowId, openedIndex, lastNumber, spent, closedIndex, returned, nodeId }: EscrowRow): [string, string, number, number] {
  return [`escrow ${escrowId} ${openedIndex} ${closedIndex} ${nodeId}`, `${returned}`, lastNumber, spent];
}

export function escrowRow(record: EscrowRecord): EscrowRow {
  const { region } = record;
  if (region === undefined) throw new Error("an escrow without a region");
  return { ...record, region };
}
