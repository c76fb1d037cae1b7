import { Entity } from "@statemesh/contract";
import { GroupState } from "@statemesh/replica";
import { describe, expect, it } from "vitest";

describe("an entity", () => {
  it("does not keep the message alive that it came in", () => {
    const state = new GroupState({ groupId: 1, decisionWindow: 8, touchCapacity: 8 });
    const message = Buffer.alloc(1 << 20, 7);
    state.entities.put({ ...Entity.fromPartial({ kind: "spell", entityId: "fog", region: { x: 0, y: 0, z: 0 } }), state: message.subarray(100, 110) });
    state.entities.put({ ...Entity.fromPartial({ kind: "spell", entityId: "mist", region: { x: 0, y: 0, z: 0 } }), state: message.subarray(100, 100) });
    const kept = [...state.entities.values()].map((entity) => entity.state);
    expect(kept.map((bytes) => [bytes.length, bytes.buffer.byteLength])).toEqual([[10, 10], [0, 0]]);
    expect([...(kept[0] ?? [])]).toEqual(Array.from({ length: 10 }, () => 7));
  });
});
