// Moves what waits for a reader into messages of about a wanted size. What is returned are bytes, or items; at least one item goes where there is room at all.
import { merge } from "@statemesh/clocks";
import type { Entity, EventualValue, SubscriptionChanges, VectorClockEntry } from "@statemesh/contract";
import type { PlacedChange } from "./change-ring.ts";
import { sizeOfDelivered, sizeOfEntity, sizeOfValue } from "./message-size.ts";
import { NOWHERE, type Subscriber } from "./subscriber.ts";

/** Parts of a snapshot, or of what came into reach. Returns how many items went. */
export function takeParts({ entities, values }: Subscriber, part: { readonly entities: Entity[]; readonly values: EventualValue[] }, maxBytes: number): number {
  let bytes = 0;
  for (let entity = bytes < maxBytes ? entities.shift() : undefined; entity !== undefined; entity = bytes < maxBytes ? entities.shift() : undefined) {
    part.entities.push(entity);
    bytes += sizeOfEntity(entity);
  }
  for (let value = bytes < maxBytes ? values.shift() : undefined; value !== undefined; value = bytes < maxBytes ? values.shift() : undefined) {
    part.values.push(value);
    bytes += sizeOfValue(value);
  }
  return part.entities.length + part.values.length;
}

/** Strong changes, in order; the reader's cursors follow. */
export function takeChanges(subscriber: Subscriber, message: SubscriptionChanges, maxBytes: number): number {
  let bytes = 0;
  let last: PlacedChange | undefined;
  const passed = ({ groupId, term, index, ordinal }: PlacedChange): unknown => subscriber.cursors.set(groupId, { groupId, term, index, partial: ordinal + 1 });
  while (bytes < maxBytes) {
    const placed = subscriber.changes.shift();
    if (placed === undefined) break;
    if (last !== undefined && last.groupId !== placed.groupId) passed(last);
    last = placed;
    const change = subscriber.wishes.change(placed.change);
    message.entities.push(change);
    bytes += sizeOfEntity(change.entity as Entity);
  }
  if (last !== undefined) passed(last);
  return bytes;
}

/** Causal events, in order; the reader's clock follows. */
export function takeEvents(subscriber: Subscriber, message: SubscriptionChanges, maxBytes: number): number {
  let bytes = 0;
  const sent = new Map<number, number>();
  while (bytes < maxBytes) {
    const event = subscriber.events.shift();
    if (event === undefined) break;
    const wanted = subscriber.wishes.event(event);
    message.events.push(wanted);
    bytes += sizeOfDelivered(wanted);
    const id = event.id as VectorClockEntry;
    sent.set(id.origin, id.sequence);
  }
  for (const [origin, sequence] of sent) subscriber.clock = merge(subscriber.clock, { entries: [{ origin, sequence }] });
  return bytes;
}

/** Values that a resumed reader gets again. */
export function takeAgain(subscriber: Subscriber, message: SubscriptionChanges, maxBytes: number): { readonly items: number; readonly bytes: number } {
  let bytes = 0;
  let items = 0;
  while (bytes < maxBytes) {
    const value = subscriber.values.shift();
    if (value === undefined) break;
    message.values.push(value);
    bytes += sizeOfValue(value);
    items += 1;
  }
  return { items, bytes };
}

/** The latest of each key that changed. Who wants the same, and stood at the same place, gets the same list. */
export function takeValues(subscriber: Subscriber, message: SubscriptionChanges, maxBytes: number): void {
  const { crowd, dirty, readThrough, roundThrough } = subscriber;
  const isWhole = crowd !== undefined && crowd.readers > 1 && message.values.length === 0 && !subscriber.isInRound && readThrough !== NOWHERE;
  const shared = isWhole ? crowd.values : undefined;
  const isSame = shared !== undefined && shared.from === readThrough && shared.through === roundThrough && shared.bytes < maxBytes;
  if (isSame) message.values = shared.values;
  let bytes = 0;
  subscriber.dirty = [];
  for (const member of dirty) {
    if (isSame) member.feed.pass(member, roundThrough);
    else if (bytes < maxBytes) bytes += member.feed.read(member, message.values, roundThrough, maxBytes - bytes, sizeOfValue);
    if (member.dirty) subscriber.dirty.push(member);
  }
  subscriber.isInRound = !isSame && bytes >= maxBytes;
  subscriber.readThrough = subscriber.isInRound ? NOWHERE : roundThrough;
  if (isWhole && !isSame && !subscriber.isInRound) crowd.values = { from: readThrough, through: roundThrough, values: message.values, bytes };
}
