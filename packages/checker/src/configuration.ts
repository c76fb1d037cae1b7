import type { CallKind, KeyCall } from "./key-history.ts";

/** Where the bits of a configuration are, in words of 32. */
export interface Layout {
  readonly open: number;
  readonly idle: number;
  readonly update: number;
  /** Updates that overwrite everything and were in flight when another did so too: they may have come just before it, unseen. */
  readonly unseen: number;
  readonly words: number;
}

export function layoutOf(slots: Readonly<Record<CallKind, number>>): Layout {
  const open = 0;
  const idle = open + wordsOf(slots.open);
  const update = idle + wordsOf(slots.idle);
  const unseen = update + wordsOf(slots.update);
  return { open, idle, update, unseen, words: unseen + wordsOf(slots.update) };
}

function wordsOf(bits: number): number {
  return Math.ceil(bits / 32);
}

export function hasTaken(layout: Layout, bits: Uint32Array, { kind, slot }: KeyCall): boolean {
  return ((bits[layout[kind] + (slot >> 5)] ?? 0) & (1 << (slot & 31))) !== 0;
}

export function isUnseen(layout: Layout, bits: Uint32Array, { kind, slot }: KeyCall): boolean {
  return kind === "update" && ((bits[layout.unseen + (slot >> 5)] ?? 0) & (1 << (slot & 31))) !== 0;
}

export function take(layout: Layout, bits: Uint32Array, { kind, slot }: KeyCall): void {
  const word = slot >> 5;
  bits[layout[kind] + word]! |= 1 << (slot & 31);
  if (kind === "update") bits[layout.unseen + word]! &= ~(1 << (slot & 31));
}

export function markUnseen(layout: Layout, bits: Uint32Array, { slot }: KeyCall): void {
  bits[layout.unseen + (slot >> 5)]! |= 1 << (slot & 31);
}

/** The call ended: its slot goes to another. */
export function forget(layout: Layout, bits: Uint32Array, { kind, slot }: KeyCall): void {
  const word = slot >> 5;
  const mask = ~(1 << (slot & 31));
  bits[layout[kind] + word]! &= mask;
  if (kind === "update") bits[layout.unseen + word]! &= mask;
}

/**
 * True where from `a` everything can follow that can follow from `b`, in the same state after the same events: `a` has used no
 * open call that `b` has not, has taken every idle one that `b` has, and has the same updates behind it or the choice.
 */
export function dominates(layout: Layout, a: Uint32Array, b: Uint32Array): boolean {
  for (let word = layout.open; word < layout.idle; word++) if ((a[word]! & ~b[word]!) !== 0) return false;
  for (let word = layout.idle; word < layout.update; word++) if ((b[word]! & ~a[word]!) !== 0) return false;
  const updates = layout.unseen - layout.update;
  for (let word = 0; word < updates; word++) {
    const choiceOfB = b[layout.unseen + word]!;
    const differs = (a[layout.update + word]! ^ b[layout.update + word]!) | choiceOfB;
    if ((differs & ~a[layout.unseen + word]!) !== 0) return false;
  }
  return true;
}

/** Configurations of one state after the same events. */
export class Seen {
  readonly #list: Uint32Array[] = [];
  #texts: Set<string> | undefined;

  /** Compared with one by one; beyond, only equal ones are found. */
  static readonly COMPARED_MAX = 64;

  /** False where a known one dominates these bits. */
  add(layout: Layout, bits: Uint32Array): boolean {
    for (const known of this.#list) if (dominates(layout, known, bits)) return false;
    if (this.#list.length < Seen.COMPARED_MAX) {
      this.#list.push(bits);
      return true;
    }
    const text = bits.join();
    this.#texts ??= new Set();
    if (this.#texts.has(text)) return false;
    this.#texts.add(text);
    return true;
  }
}
