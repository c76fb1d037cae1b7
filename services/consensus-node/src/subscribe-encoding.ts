// Puts what subscribers get into bytes. A change that goes to many of them is put into bytes once: that is most of the work, and what
// differs between readers (which changes a message holds, and the resume token) is little.
import { DeliveredEvent, EntityChange, EventualValue, SubscribeResponse, type SubscriptionChanges } from "@statemesh/contract";

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

/** The changes of a message in bytes, and the last whole message with them. */
interface Body {
  readonly changes: SubscriptionChanges;
  readonly bytes: Uint8Array;
  whole: { readonly resumeToken: string; readonly isWrapped: boolean; readonly bytes: Buffer } | undefined;
}

export class SubscriptionEncoder {
  readonly #kept = new Map<object, Uint8Array>();
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
    const parts = this.#partsOf(changes);
    const body: Body = { changes, bytes: parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts), whole: undefined };
    if (first === undefined || this.#keptBytes >= KEPT_BYTES_MAX) return body;
    this.#keptBytes += body.bytes.length;
    if (known === undefined) this.#bodies.set(first, [body]);
    else if (known.length < BODIES_OF_A_CHANGE_MAX) known.push(body);
    return body;
  }

  #partsOf({ entities, values, events }: SubscriptionChanges): Uint8Array[] {
    const parts: Uint8Array[] = [];
    for (const change of entities) parts.push(this.#once(change, ENTITIES_TAG, EntityChange));
    for (const value of values) parts.push(this.#once(value, VALUES_TAG, EventualValue));
    for (const event of events) parts.push(this.#once(event, EVENTS_TAG, DeliveredEvent));
    return parts;
  }

  #once<T extends object>(message: T, tag: number, type: { encode(message: T): { finish(): Uint8Array } }): Uint8Array {
    const known = this.#kept.get(message);
    if (known !== undefined) return known;
    const body = type.encode(message).finish();
    const bytes = new Uint8Array(1 + varintLength(body.length) + body.length);
    bytes.set(body, putHead(bytes, 0, tag, body.length));
    if (this.#keptBytes < KEPT_BYTES_MAX) {
      this.#kept.set(message, bytes);
      this.#keptBytes += bytes.length;
    }
    return bytes;
  }
}

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
