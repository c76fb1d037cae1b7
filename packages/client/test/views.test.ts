import { MeshError, PartitionEvent, Side, ViewState, type WatchViewRequest, type WatchViewResponse } from "@statemesh/contract";
import type { ServerWritableStream } from "@grpc/grpc-js";
import { afterEach, describe, expect, test } from "vitest";
import { connect, type MeshClient } from "../src/index.ts";
import { type Answers, FakeNode, serviceError, until } from "./fake-node.ts";

let nodes: FakeNode[] = [];
let client: MeshClient | undefined;

afterEach(() => {
  client?.close();
  for (const node of nodes) node.kill();
  nodes = [];
});

async function start(...answers: Answers[]): Promise<MeshClient> {
  nodes = await Promise.all(answers.map((each) => FakeNode.start(each)));
  client = connect({ endpoints: nodes.map(({ address }) => address), serverId: 7, name: "shard-7", incarnation: 3, backoffMaxMs: 20 });
  return client;
}

function message(event: PartitionEvent, side: Side): WatchViewResponse {
  return { event, state: ViewState.fromPartial({ nodeId: 1, side }), ownRegions: [], unheardRegions: [], moreRegions: false };
}

describe("a watch of the view", () => {
  test("tells what the node tells, and asks for this server's regions", async () => {
    const asked: number[] = [];
    const mesh = await start({
      watchView: (call) => {
        asked.push(call.request.serverId);
        call.write(message(PartitionEvent.STATE, Side.WHOLE));
        call.write(message(PartitionEvent.STARTED, Side.LOSING));
      },
    });
    const watch = mesh.watchView();
    const seen: PartitionEvent[] = [];
    for await (const { event } of watch) {
      seen.push(event);
      if (seen.length === 2) break;
    }
    expect(seen).toEqual([PartitionEvent.STATE, PartitionEvent.STARTED]);
    expect(watch.side).toBe(Side.LOSING);
    expect(asked).toEqual([7]);
  });

  test("goes on at another node, and what that node says first is news only where it stands elsewhere", async () => {
    let told = 0;
    const watchView = (call: ServerWritableStream<WatchViewRequest, WatchViewResponse>): void => {
      const side = [Side.WHOLE, Side.LOSING, Side.LOSING, Side.WHOLE][told++] ?? Side.WHOLE;
      call.write(message(PartitionEvent.STATE, side), );
      call.emit("error", serviceError(new MeshError("SHUTTING_DOWN", "the node is going down")));
    };
    const mesh = await start({ watchView }, { watchView });
    const seen: PartitionEvent[] = [];
    for await (const { event } of mesh.watchView()) {
      seen.push(event);
      if (seen.length === 4) break;
    }
    expect(seen).toEqual([PartitionEvent.STATE, PartitionEvent.STARTED, PartitionEvent.CHANGED, PartitionEvent.ENDED]);
  });

  test("ends when it is closed", async () => {
    const mesh = await start({ watchView: (call) => void call.write(message(PartitionEvent.STATE, Side.WHOLE)) });
    const watch = mesh.watchView();
    for await (const _ of watch) watch.close();
    expect(watch.side).toBe(Side.WHOLE);
  });
});

describe("heartbeats", () => {
  test("go to every node from the registration on, and name the nodes that answered", async () => {
    const heard = [new Set<string>(), new Set<string>()];
    const node = (at: number): Answers => ({
      unary: {
        register: () => ({ server: { serverId: 7, name: "shard-7", address: "", priority: 0, incarnation: 3, maxRegions: 0 }, ttlMs: 10_000 }),
        reportHeartbeat: ({ heartbeat }: { heartbeat: { serverId: number; incarnation: number; hearsNodes: number[] } }) => {
          heard[at]?.add(`${heartbeat.serverId}/${heartbeat.incarnation} hears ${heartbeat.hearsNodes.join()}`);
          return { nodeId: at + 1, side: Side.WHOLE, viewEpoch: 4, heartbeatMs: 50 };
        },
      },
    });
    const mesh = await start(node(0), node(1));
    expect(heard.map(({ size }) => size)).toEqual([0, 0]);
    await mesh.authority.register();
    await until(() => heard.every((each) => each.has("7/3 hears 1,2")));
    expect(mesh.heartbeats.hearsNodes).toEqual([1, 2]);
    expect(mesh.heartbeats.side).toBe(Side.WHOLE);
    nodes[1]?.kill();
    await until(() => mesh.heartbeats.hearsNodes.join() === "1");
  });
});
