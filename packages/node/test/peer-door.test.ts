// Of a peer's streams one speaks, and whoever does not is told.
import { PeerHello, StreamRequest } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { PeerDoor } from "../src/peer-door.ts";

const COMMON = { clusterId: "c", groups: 1, decisionWindow: 8, leaseReads: false };

function door(): { door: PeerDoor; heard: number[] } {
  const heard: number[] = [];
  const events = { clusterVersion: () => 1, refuses: () => undefined, hello: () => undefined, frame: (peer: number) => heard.push(peer) };
  return { door: new PeerDoor({ ...COMMON, nodeId: 2, versions: { min: 1, max: 3 } }, events), heard };
}

const HELLO = StreamRequest.fromPartial({ hello: PeerHello.fromPartial({ ...COMMON, nodeId: 1, protocolMin: 1, protocolMax: 3, founded: true }) });
const FRAME = StreamRequest.fromPartial({});

describe("two streams of one peer", () => {
  it("the one that said hello last is heard", () => {
    const { door: own, heard } = door();
    const first = own.stream();
    expect(first(HELLO)).toBe(1);
    first(FRAME);
    const second = own.stream();
    second(HELLO);
    second(FRAME);
    expect(heard).toEqual([1, 1]);
  });

  it("the other is ended, so that a live one which a late hello pushed aside comes again", () => {
    const { door: own, heard } = door();
    const late = own.stream();
    const live = own.stream();
    live(HELLO);
    live(FRAME);
    late(HELLO);
    expect(() => live(FRAME)).toThrow("a later stream of node 1 took the place of this one");
    const again = own.stream();
    again(HELLO);
    again(FRAME);
    expect(heard).toEqual([1, 1]);
  });
});
