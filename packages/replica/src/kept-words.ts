// What is kept for long is kept small.
import type { Entity } from "@statemesh/contract";

/** Words that recur in every record (kinds, rules, reasons): kept once. The game's own kinds may be many, so there is a limit. */
const WORDS_MAX = 4_096;
const words = new Map<string, string>();

export function shared(word: string): string {
  if (word === "") return "";
  const known = words.get(word);
  if (known !== undefined) return known;
  if (words.size < WORDS_MAX) words.set(word, word);
  return word;
}

const NO_ATTRIBUTES: Map<string, string> = new Map();
const NO_BYTES = new Uint8Array(0);

/** An entity is kept for long: what is empty or recurs is shared, and bytes are freed from the frame they came in. */
export function slim(entity: Entity): Entity {
  entity.kind = shared(entity.kind);
  entity.label = shared(entity.label);
  if (entity.attributes.size === 0) entity.attributes = NO_ATTRIBUTES;
  entity.state = entity.state.length === 0 ? NO_BYTES : new Uint8Array(entity.state);
  return entity;
}
