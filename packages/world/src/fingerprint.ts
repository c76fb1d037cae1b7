/**
 * Fingerprint of an operation's content: tells a retry from an operation id that is used again for something else.
 * Not cryptographic: who looks for a collision only deceives himself about his own operation.
 */
import { type Bounds, type ContainerPlace, CustomAction_Expectation, type Footprint, type Operation, type Position, type Region } from "@statemesh/contract";

// Two lanes of 32 bits, each a multiply-xor chain with its own odd multiplier, finalised together. Stored in logs:
// a change of anything here makes every retry across it look like a reused id.
let laneA = 0;
let laneB = 0;

/** Begins what an operation expects of its entity; no coordinate of a region, which may stand before it. */
const CONDITIONS = 0x7fffffff;

const float = new Float64Array(1);
const floatWords = new Uint32Array(float.buffer);

function word(value: number): void {
  laneA = Math.imul(laneA ^ value, 0x85ebca6b);
  laneA ^= laneA >>> 15;
  laneB = Math.imul(laneB ^ value, 0xc2b2ae35);
  laneB ^= laneB >>> 13;
}

function number(value: number): void {
  if ((value | 0) === value) {
    word(value | 0);
    return;
  }
  float[0] = value;
  // Marked, so that no fraction looks like a whole number.
  word(0x9e3779b9 ^ (floatWords[0] ?? 0));
  word(floatWords[1] ?? 0);
}

function text(value: string): void {
  const length = value.length;
  word(length);
  let at = 0;
  for (; at + 1 < length; at += 2) word(value.charCodeAt(at) | (value.charCodeAt(at + 1) << 16));
  if (at < length) word(value.charCodeAt(at));
}

function bytes(value: Uint8Array): void {
  const length = value.length;
  word(length);
  let at = 0;
  for (; at + 3 < length; at += 4) {
    word((value[at] ?? 0) | ((value[at + 1] ?? 0) << 8) | ((value[at + 2] ?? 0) << 16) | ((value[at + 3] ?? 0) << 24));
  }
  for (; at < length; at++) word(value[at] ?? 0);
}

function region(value: Region | undefined): void {
  if (value === undefined) {
    word(-1);
    return;
  }
  word(value.x);
  word(value.y);
  word(value.z);
}

function position(value: Position | undefined): void {
  if (value === undefined) {
    word(-1);
    return;
  }
  number(value.x);
  number(value.y);
  number(value.z);
}

function bounds(value: Bounds | undefined): void {
  if (value === undefined) {
    word(-1);
    return;
  }
  number(value.minX);
  number(value.minY);
  number(value.minZ);
  number(value.maxX);
  number(value.maxY);
  number(value.maxZ);
}

function footprint(value: Footprint | undefined): void {
  if (value === undefined) {
    word(-1);
    return;
  }
  word(value.keys.length);
  for (const key of value.keys) text(key);
  word(value.regions.length);
  for (const reached of value.regions) region(reached);
  bounds(value.bounds);
}

function containerPlace(value: ContainerPlace | undefined): void {
  const place = value?.place;
  switch (place?.$case) {
    case undefined:
      return word(-1);
    case "playerId":
      word(1);
      return text(place.value);
    case "containerId":
      word(2);
      return text(place.value);
    case "position":
      word(3);
      return position(place.value);
  }
}

/** Adds the entries one by one from the same start, so that their order does not count. */
function entries(value: ReadonlyMap<string, string>): void {
  word(value.size);
  const startA = laneA;
  const startB = laneB;
  let sumA = 0;
  let sumB = 0;
  for (const [key, content] of value) {
    laneA = startA;
    laneB = startB;
    text(key);
    text(content);
    sumA = (sumA + laneA) | 0;
    sumB = (sumB + laneB) | 0;
  }
  laneA = startA;
  laneB = startB;
  word(sumA);
  word(sumB);
}

function body(value: NonNullable<Operation["body"]>): void {
  switch (value.$case) {
    case "structurePlacement": {
      const it = value.value;
      word(16);
      text(it.structureId);
      text(it.kind);
      bounds(it.bounds);
      text(it.playerId);
      if (it.attributes.size > 0) entries(it.attributes);
      return;
    }
    case "structureRemoval":
      word(17);
      text(value.value.structureId);
      text(value.value.playerId);
      return;
    case "resourceClaim":
      word(18);
      text(value.value.resourceId);
      text(value.value.playerId);
      word(value.value.release ? 1 : 0);
      return;
    case "itemPickup":
      word(19);
      text(value.value.itemId);
      text(value.value.playerId);
      return;
    case "playerInventory": {
      const it = value.value;
      word(20);
      word(it.action);
      text(it.playerId);
      text(it.itemKind);
      number(it.quantity);
      text(it.counterpartyId);
      text(it.itemId);
      position(it.position);
      // Only where it is set: fingerprints of before it was there are kept.
      if (it.counterpartyRegion !== undefined) region(it.counterpartyRegion);
      if (it.containerId !== "" || it.counterpartyContainerId !== "") {
        text(it.containerId);
        text(it.counterpartyContainerId);
      }
      return;
    }
    case "trade": {
      const it = value.value;
      word(21);
      text(it.firstPlayerId);
      text(it.secondPlayerId);
      for (const side of [it.firstGives, it.secondGives]) {
        word(side.length);
        for (const stack of side) {
          text(stack.itemKind);
          number(stack.quantity);
        }
      }
      if (it.secondRegion !== undefined) region(it.secondRegion);
      return;
    }
    case "container": {
      const it = value.value;
      word(25);
      word(it.action);
      text(it.containerId);
      text(it.kind);
      containerPlace(it.from);
      containerPlace(it.to);
      if (it.toRegion !== undefined) region(it.toRegion);
      word(it.contents.length);
      for (const each of it.contents) {
        text(each.containerId);
        text(each.inContainerId);
        text(each.kind);
        word(each.items.length);
        for (const stack of each.items) {
          text(stack.itemKind);
          number(stack.quantity);
        }
      }
      return;
    }
    case "escrowOpening": {
      const it = value.value;
      word(26);
      text(it.escrowId);
      text(it.playerId);
      text(it.itemKind);
      number(it.quantity);
      number(it.spenderServerId);
      number(it.nodeId);
      number(it.expiresMs);
      return;
    }
    case "terrainModification": {
      const it = value.value;
      word(22);
      word(it.mode);
      bounds(it.bounds);
      text(it.material);
      text(it.playerId);
      number(it.observedVersion);
      bytes(it.brush);
      return;
    }
    case "creatureOwnership":
      word(23);
      text(value.value.creatureId);
      number(value.value.ownerServerId);
      if (value.value.toRegion !== undefined) region(value.value.toRegion);
      return;
    case "custom":
      word(24);
      text(value.value.entityId);
      bytes(value.value.state);
      if (value.value.toRegion !== undefined) region(value.value.toRegion);
      if (value.value.expectation !== CustomAction_Expectation.UNSPECIFIED || value.value.observedVersion !== 0) {
        word(CONDITIONS);
        word(value.value.expectation);
        number(value.value.observedVersion);
      }
      return;
  }
}

function finalise(h: number): number {
  let mixed = h;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x7feb352d);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x846ca68b);
  return mixed ^ (mixed >>> 16);
}

/**
 * 53 bits over all of an operation's content except its priority (which the operator's table decides) and the permission to be kept. The order of
 * map entries does not count; the order of lists does. The operation must be valid.
 *
 * @returns 0..2^53-1
 */
export function fingerprintOf(op: Operation): number {
  laneA = 0x243f6a88;
  laneB = 0x13198a2e;
  text(op.operationId);
  text(op.type);
  number(op.serverId);
  region(op.homeRegion);
  number(op.authorityEpoch);
  number(op.timestampMs);
  footprint(op.footprint);
  if (op.body !== undefined) body(op.body);
  const high = finalise(laneA ^ Math.imul(laneB, 0x9e3779b1)) & 0x1fffff;
  const low = finalise(laneB + Math.imul(laneA, 0x85ebca77)) >>> 0;
  return high * 0x100000000 + low;
}
