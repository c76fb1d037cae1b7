// Puts what subscribers get into bytes. A change that goes to many of them is put into bytes once: that is most of the work, and what
// differs between readers (which changes a message holds, and the resume token) is little.
import { DeliveredEvent, EntityChange, EventualValue, SubscribeResponse, SubscriptionChanges } from "@statemesh/contract";

/** Bytes that are kept for the readers of one turn. Beyond, what follows is put into bytes for each. */
const KEPT_BYTES_MAX = 16 * 1024 * 1024;

/** Wire tags of length-delimited fields: number * 8 + 2. */
const CHANGES_TAG = 0x12;
const TOKEN_TAG = 0x22;
const ENTITIES_TAG = 0x0a;
const VALUES_TAG = 0x12;
const EVENTS_TAG = 0x1a;
const RESPONSE_TAG = 0x0a;

/** Messages with the same first change that are kept: readers with other wishes, or who stood elsewhere, get other ones. */
const BODIES_OF_A_CHANGE_MAX = 8;

/** Where the bytes of a change are, with its tag. */
interface Piece {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

/** The changes of a message in bytes, and the last whole message with them. */
interface Body {
  readonly changes: SubscriptionChanges;
  readonly bytes: Uint8Array;
  whole: { readonly resumeToken: string; readonly isWrapped: boolean; readonly bytes: Buffer } | undefined;
}

export class SubscriptionEncoder {
  readonly #kept = new Map<object, Piece>();
  /** By their first change. */
  readonly #bodies = new Map<object, Body[]>();
  #keptBytes = 0;

  /** A SubscribeResponse. */
  encode(response: SubscribeResponse): Buffer {
    return this.#encode(response, false);
  }

  /** A SubscribeStreamResponse. */
  encodeWrapped(response: SubscribeResponse): Buffer {
    return this.#encode(response, true);
  }

  /** The turn is over: what follows are other changes. */
  forget(): void {
    if (this.#keptBytes === 0) return;
    this.#kept.clear();
    this.#bodies.clear();
    this.#keptBytes = 0;
  }

  #encode({ event, resumeToken }: SubscribeResponse, isWrapped: boolean): Buffer {
    if (event?.$case !== "changes") {
      const whole = SubscribeResponse.encode({ event, resumeToken }).finish();
      if (!isWrapped) return Buffer.from(whole.buffer, whole.byteOffset, whole.length);
      const bytes = Buffer.allocUnsafe(1 + varintLength(whole.length) + whole.length);
      bytes.set(whole, putHead(bytes, 0, RESPONSE_TAG, whole.length));
      return bytes;
    }
    const body = this.#bodyOf(event.value);
    const { whole } = body;
    if (whole !== undefined && whole.resumeToken === resumeToken && whole.isWrapped === isWrapped) return whole.bytes;
    const { length } = body.bytes;
    // A token is of one byte a character.
    const tokenLength = resumeToken.length === 0 ? 0 : 1 + varintLength(resumeToken.length) + resumeToken.length;
    const inner = 1 + varintLength(length) + length + tokenLength;
    const bytes = Buffer.allocUnsafe(isWrapped ? 1 + varintLength(inner) + inner : inner);
    let at = isWrapped ? putHead(bytes, 0, RESPONSE_TAG, inner) : 0;
    at = putHead(bytes, at, CHANGES_TAG, length);
    bytes.set(body.bytes, at);
    if (tokenLength > 0) bytes.write(resumeToken, putHead(bytes, at + length, TOKEN_TAG, resumeToken.length), "latin1");
    body.whole = { resumeToken, isWrapped, bytes };
    return bytes;
  }

  /** The same changes in the same order have the same bytes. */
  #bodyOf(changes: SubscriptionChanges): Body {
    const first = changes.entities[0] ?? changes.values[0] ?? changes.events[0];
    const known = first === undefined ? undefined : this.#bodies.get(first);
    const same = known?.find((each) => isSame(each.changes, changes));
    if (same !== undefined) return same;
    const body: Body = { changes, bytes: this.#bytesOf(changes), whole: undefined };
    if (first === undefined || this.#keptBytes >= KEPT_BYTES_MAX) return body;
    this.#keptBytes += body.bytes.length;
    if (known === undefined) this.#bodies.set(first, [body]);
    else if (known.length < BODIES_OF_A_CHANGE_MAX) known.push(body);
    return body;
  }

  #bytesOf({ entities, values, events }: SubscriptionChanges): Buffer {
    const items = [...entities, ...values, ...events];
    const known = items.map((item) => this.#kept.get(item));
    // What is not known goes into one buffer.
    const writer = SubscriptionChanges.encode(NO_CHANGES);
    const ends: number[] = [];
    for (let at = 0; at < items.length; at += 1) {
      if (known[at] !== undefined) continue;
      if (at < entities.length) EntityChange.encode(entities[at] as EntityChange, writer.uint32(ENTITIES_TAG).fork()).join();
      else if (at < entities.length + values.length) EventualValue.encode(values[at - entities.length] as EventualValue, writer.uint32(VALUES_TAG).fork()).join();
      else DeliveredEvent.encode(events[at - entities.length - values.length] as DeliveredEvent, writer.uint32(EVENTS_TAG).fork()).join();
      ends.push(writer.length);
    }
    const isNew = ends.length === items.length;
    const bytes = writer.finish();
    let length = 0;
    let start = 0;
    const keeps = this.#keptBytes + bytes.length < KEPT_BYTES_MAX;
    for (let at = 0, fresh = 0; at < items.length; at += 1) {
      let piece = known[at];
      if (piece === undefined) {
        piece = { bytes, start, end: ends[fresh++] as number };
        start = piece.end;
        if (keeps) this.#kept.set(items[at] as object, piece);
        known[at] = piece;
      }
      length += piece.end - piece.start;
    }
    if (keeps) this.#keptBytes += bytes.length;
    if (isNew) return bytes;
    const whole = Buffer.allocUnsafe(length);
    let at = 0;
    for (const piece of known as Piece[]) at += piece.bytes.copy(whole, at, piece.start, piece.end);
    return whole;
  }
}

const NO_CHANGES: SubscriptionChanges = { entities: [], values: [], events: [] };

/** The same changes, each by identity. */
function isSame(one: SubscriptionChanges, other: SubscriptionChanges): boolean {
  return isSameList(one.values, other.values) && isSameList(one.entities, other.entities) && isSameList(one.events, other.events);
}

function isSameList(one: readonly object[], other: readonly object[]): boolean {
  if (one === other) return true;
  if (one.length !== other.length) return false;
  for (let at = 0; at < one.length; at += 1) if (one[at] !== other[at]) return false;
  return true;
}

/** Writes a tag of one byte and a length; returns where the content begins. */
function putHead(bytes: Uint8Array, start: number, tag: number, length: number): number {
  bytes[start] = tag;
  let at = start + 1;
  let rest = length;
  while (rest >= 0x80) {
    bytes[at] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
    at += 1;
  }
  bytes[at] = rest;
  return at + 1;
}

function varintLength(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5;
}
