import { MeshError, type SubscribeRequest, type SubscribeResponse, type SubscriptionArea } from "@statemesh/contract";
import { afterEach, describe, expect, it } from "vitest";
import { connect, type MeshClient } from "../src/index.ts";
import { FakeNode, serviceError, until } from "./fake-node.ts";

const closing: (() => void)[] = [];
const regions = [{ x: 0, y: 0, z: 0 }];

function changes(token: string): SubscribeResponse {
  return { event: { $case: "changes", value: { entities: [], values: [], events: [] } }, resumeToken: token };
}

async function node(tokens: string[], seen: SubscribeRequest[], end?: MeshError): Promise<FakeNode> {
  const started = await FakeNode.start({
    subscribe: (call) => {
      seen.push(call.request);
      for (const token of tokens) call.write(changes(token));
      if (end !== undefined) call.emit("error", serviceError(end));
    },
  });
  closing.push(() => started.kill());
  return started;
}

function clientOf(...nodes: FakeNode[]): MeshClient {
  const client = connect({ endpoints: nodes.map((each) => each.address), serverId: 7, name: "seven", backoffMinMs: 1, backoffMaxMs: 5 });
  closing.push(() => client.close());
  return client;
}

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

describe("a subscription", () => {
  it("continues at another node after the last event that was taken", async () => {
    const seenByFirst: SubscribeRequest[] = [];
    const seenBySecond: SubscribeRequest[] = [];
    const first = await node(["a", "b"], seenByFirst, new MeshError("SHUTTING_DOWN", "bye"));
    const second = await node(["c"], seenBySecond);
    const subscription = clientOf(first, second).subscribe({ regions, eventual: true });
    const tokens: string[] = [];
    for await (const message of subscription) {
      tokens.push(message.resumeToken);
      if (message.resumeToken === "c") break;
    }
    expect(tokens).toEqual(["a", "b", "c"]);
    expect(seenByFirst[0]).toMatchObject({ resumeToken: "", eventual: true, strong: false });
    expect(seenBySecond[0]).toMatchObject({ resumeToken: "b" });
    expect(subscription.resumeToken).toBe("c");
  });

  it("starts over with a snapshot where its token is not known", async () => {
    const seen: SubscribeRequest[] = [];
    const only = await FakeNode.start({
      subscribe: (call) => {
        seen.push(call.request);
        if (call.request.resumeToken === "") call.write(changes("new"));
        else call.emit("error", serviceError(new MeshError("INVALID_RESUME_TOKEN", "whose?")));
      },
    });
    closing.push(() => only.kill());
    for await (const message of clientOf(only).subscribe({ regions, resumeToken: "old" })) {
      expect(message.resumeToken).toBe("new");
      break;
    }
    expect(seen.map((each) => each.resumeToken)).toEqual(["old", ""]);
  });

  it("is made again however long there was no news before its connection broke", async () => {
    const breaking: (() => void)[] = [];
    let opened = 0;
    const only = await FakeNode.start({
      subscribe: (call) => {
        opened += 1;
        call.write(changes(`opened ${opened}`));
        breaking.push(() => call.emit("error", serviceError(new MeshError("SHUTTING_DOWN", "bye"))));
      },
    });
    closing.push(() => only.kill());
    const tokens: string[] = [];
    for await (const { resumeToken } of clientOf(only).subscribe({ regions, giveUpAfterMs: 100 })) {
      tokens.push(resumeToken);
      if (tokens.length === 2) break;
      setTimeout(() => breaking.shift()?.(), 200);
    }
    expect(tokens).toEqual(["opened 1", "opened 2"]);
  });

  it("ends with the error that asking again can't mend", async () => {
    const only = await node([], [], MeshError.field("regions", "is required"));
    const reading = (async () => {
      for await (const message of clientOf(only).subscribe({ regions: [] })) expect(message).toBeUndefined();
    })();
    await expect(reading).rejects.toMatchObject({ reason: "INVALID_FIELD" });
  });

  it("ends quietly when it is closed", async () => {
    const only = await node(["a"], []);
    const subscription = clientOf(only).subscribe({ regions });
    let taken = 0;
    for await (const message of subscription) {
      expect(message.resumeToken).toBe("a");
      taken += 1;
      subscription.close();
    }
    expect(taken).toBe(1);
  });
});

describe("a subscription with an area", () => {
  const center = (x: number): { x: number; y: number; z: number } => ({ x, y: 0, z: 0 });

  /** A node that keeps what it is told, sends tokens at once, and breaks the stream when it is moved to `breaksAt`. */
  async function moving(tokens: readonly string[], breaksAt = Number.NaN) {
    const starts: SubscribeRequest[] = [];
    const moves: SubscriptionArea[] = [];
    const started = await FakeNode.start({
      subscribeStream: (call) => {
        call.on("data", ({ request }) => {
          if (request?.$case === "move") {
            moves.push(request.value);
            if (request.value.center?.x === breaksAt) call.emit("error", serviceError(new MeshError("SHUTTING_DOWN", "bye")));
          } else if (request !== undefined) {
            starts.push(request.value);
            for (const token of tokens) call.write({ response: changes(token) });
          }
        });
      },
    });
    closing.push(() => started.kill());
    return { started, starts, moves };
  }

  it("tells the node where it is moved to, and begins at another where it was by then", async () => {
    const [first, second] = [await moving(["a"], 20), await moving(["b"])];
    const subscription = clientOf(first.started, second.started).subscribe({ area: { center: center(0), radius: 500 }, eventualIntervalMs: 100, entityKinds: ["creature"], types: ["creature_position"], omitPayloads: true });
    const tokens: string[] = [];
    for await (const { resumeToken } of subscription) {
      tokens.push(resumeToken);
      if (resumeToken === "b") break;
      subscription.moveTo(center(10));
      subscription.moveTo(center(20), 700);
    }
    expect(tokens).toEqual(["a", "b"]);
    expect(first.starts).toMatchObject([{ area: { center: center(0), radius: 500 }, resumeToken: "", eventualIntervalMs: 100, entityKinds: ["creature"], types: ["creature_position"], omitPayloads: true }]);
    expect(first.moves).toEqual([{ center: center(10), radius: 500 }, { center: center(20), radius: 700 }]);
    expect(second.starts).toMatchObject([{ area: { center: center(20), radius: 700 }, resumeToken: "a" }]);
  });

  it("is told the last of many moves, however many there were", async () => {
    const { started, moves } = await moving(["a"]);
    const subscription = clientOf(started).subscribe({ area: { center: center(0), radius: 500 } });
    for await (const { resumeToken } of subscription) {
      expect(resumeToken).toBe("a");
      for (let x = 1; x <= 5_000; x += 1) subscription.moveTo(center(x));
      await until(() => moves.at(-1)?.center?.x === 5_000);
      break;
    }
    expect(moves.map((each) => each.center?.x)).toEqual([...new Set(moves.map((each) => each.center?.x))].sort((a = 0, b = 0) => a - b));
  });

  it("moves only where it began with one", async () => {
    const only = await node([], []);
    expect(() => clientOf(only).subscribe({ regions }).moveTo(center(1))).toThrow("area");
  });
});
