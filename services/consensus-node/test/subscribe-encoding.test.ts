import { EntityChange, EventualValue, DeliveredEvent, SubscribeResponse, SubscribeStreamResponse } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { SubscriptionEncoder } from "../src/subscribe-encoding.ts";

const region = { x: -5, y: 0, z: 1_000 };
const value = (key: string, bytes: number): EventualValue => ({ ...EventualValue.fromPartial({ key, region, type: "creature_position", serverId: 7, stamp: { physicalMs: 1_700_000_000_000, logical: 3 } }), value: Buffer.alloc(bytes, 7) });
const change: EntityChange = EntityChange.fromPartial({ entity: { entityId: "wall-7", kind: "structure", region, version: 9, attributes: new Map([["colour", "röd"]]) }, position: { groupId: 1, term: 2, index: 9 } });
const event: DeliveredEvent = DeliveredEvent.fromPartial({ event: { type: "event_sequence", key: "quest", region }, id: { origin: 4_294_967_297, sequence: 3 } });

function changes(entities: EntityChange[], values: EventualValue[], events: DeliveredEvent[], resumeToken: string): SubscribeResponse {
  return { event: { $case: "changes", value: { entities, values, events } }, resumeToken };
}

describe("what a subscriber gets in bytes", () => {
  const messages: [string, SubscribeResponse][] = [
    ["changes of all classes", changes([change], [value("a", 3), value("b", 300), value("c", 40_000)], [event, event], "token")],
    ["no changes and no token", changes([], [], [], "")],
    ["a long token", changes([], [value("a", 0)], [], "t".repeat(20_000))],
    ["a snapshot", { event: { $case: "snapshot", value: { entities: [], values: [value("a", 3)], complete: true, regions: [region] } }, resumeToken: "s" }],
    ["a move", { event: { $case: "moved", value: { entered: [region], left: [], entities: [], values: [value("a", 3)], complete: true } }, resumeToken: "m" }],
    ["that it lagged", { event: { $case: "lagged", value: { dropped: 4_096 } }, resumeToken: "l" }],
  ];

  it.each(messages)("is the message: %s", (_, message) => {
    const encoder = new SubscriptionEncoder();
    for (const round of [1, 2]) {
      expect(encoder.encode(message), `time ${round}`).toEqual(Buffer.from(SubscribeResponse.encode(message).finish()));
      expect(encoder.encodeWrapped(message), `time ${round}`).toEqual(Buffer.from(SubscribeStreamResponse.encode({ response: message }).finish()));
      if (round === 1) encoder.forget();
    }
  });

  it("is each reader's own, where messages begin with the same change", () => {
    const encoder = new SubscriptionEncoder();
    const [a, b, c] = [value("a", 3), value("b", 5), value("c", 7)];
    const others = Array.from({ length: 20 }, (_, at) => changes([], [a, value(`d${at}`, 3)], [], "token"));
    for (const message of [changes([], [a, b], [], "1"), changes([], [a, c], [], "1"), changes([], [a], [], "1"), changes([], [a, b], [], "2"), changes([], [a, b], [event], "2"), changes([], [a, b], [], "1"), ...others, ...others]) {
      expect(encoder.encode(message)).toEqual(Buffer.from(SubscribeResponse.encode(message).finish()));
      expect(encoder.encodeWrapped(message)).toEqual(Buffer.from(SubscribeStreamResponse.encode({ response: message }).finish()));
    }
  });

  it("is the same bytes for readers of the same who stand at the same place", () => {
    const encoder = new SubscriptionEncoder();
    const [a, b] = [value("a", 3), value("b", 5)];
    expect(encoder.encode(changes([], [a, b], [], "1"))).toBe(encoder.encode(changes([], [a, b], [], "1")));
  });
});
