import { type EventualUpdate, MeshError, type PublishRequest, PublishResponse, type Region } from "@statemesh/contract";
import { afterEach, describe, expect, it, vi } from "vitest";
import { connect, creaturePositions, type PublisherOptions, UpdatePublisher } from "../src/index.ts";
import { FakeNode, until } from "./fake-node.ts";

const region: Region = { x: 0, y: 0, z: 0 };
const positions = creaturePositions<number>();
const publishers: UpdatePublisher[] = [];

/** A publisher to a mesh that answers as it is told to. Ticks far apart: tests say when. */
function publisherTo(answer: (updates: readonly EventualUpdate[]) => Promise<void>, options: PublisherOptions = {}): { publisher: UpdatePublisher; calls: EventualUpdate[][] } {
  const calls: EventualUpdate[][] = [];
  const publisher = new UpdatePublisher(async (updates) => {
    calls.push([...updates]);
    await answer(updates);
    return PublishResponse.fromPartial({ updates: updates.length });
  }, { intervalMs: 60_000, ...options });
  publishers.push(publisher);
  return { publisher, calls };
}

async function takesAll(): Promise<void> {
  await Promise.resolve();
}

function valuesOf(updates: readonly EventualUpdate[]): unknown[] {
  return updates.map(({ value }) => JSON.parse(new TextDecoder().decode(value)) as unknown);
}

afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(publishers.splice(0).map(async (each) => each.close()));
});

describe("a publisher", () => {
  it("sends the latest value of each key, a call for all of them", async () => {
    const { publisher, calls } = publisherTo(takesAll);
    for (let x = 0; x < 5; x++) publisher.set(positions.write(region, "wolf", x));
    publisher.set(positions.write(region, "bear", 9));
    publisher.set(positions.write({ x: 1, y: 0, z: 0 }, "wolf", 7));
    await publisher.flush();
    expect(calls.map(valuesOf)).toEqual([[4, 9, 7]]);
    expect(publisher.counts).toEqual({ taken: 7, replaced: 4, sent: 3, refused: 0, failures: 0 });
  });

  it("has one call under way, of at most 1,024 updates", async () => {
    let underWay = 0;
    let most = 0;
    const { publisher, calls } = publisherTo(async () => {
      most = Math.max(most, ++underWay);
      await new Promise((resolve) => setImmediate(resolve));
      underWay -= 1;
    });
    for (let i = 0; i < 2_500; i++) publisher.set(positions.write(region, `c${i}`, i));
    await Promise.all([publisher.flush(), publisher.flush()]);
    expect(calls.map((each) => each.length)).toEqual([1_024, 1_024, 452]);
    expect(most).toBe(1);
  });

  it("keeps what could not be sent for now, but not over what came later", async () => {
    let fails = true;
    const { publisher, calls } = publisherTo(async () => {
      if (!fails) return takesAll();
      publisher.set(positions.write(region, "wolf", 2));
      throw new MeshError("UNREACHABLE", "nobody there");
    });
    publisher.set(positions.write(region, "wolf", 1));
    publisher.set(positions.write(region, "bear", 5));
    await expect(publisher.flush()).rejects.toMatchObject({ reason: "UNREACHABLE" });
    expect([publisher.waiting, publisher.counts.failures]).toEqual([2, 1]);
    fails = false;
    await publisher.flush();
    expect(calls.map(valuesOf)).toEqual([[1, 5], [2, 5]]);
  });

  it("says when it is closed how many updates it could not send", async () => {
    const { publisher } = publisherTo(async () => {
      await Promise.resolve();
      throw new MeshError("UNREACHABLE", "nobody there");
    });
    for (const key of ["wolf", "bear"]) publisher.set(positions.write(region, key, 1));
    const refused = { reason: "UNREACHABLE", message: "2 updates were not sent: nobody there", metadata: { unsent: "2" } };
    await expect(publisher.close()).rejects.toMatchObject(refused);
    await expect(publisher.close()).rejects.toMatchObject(refused);
    expect(publisher.waiting).toBe(0);
    publishers.splice(publishers.indexOf(publisher), 1);
  });

  it("is closed in time by its caller's signal, whatever its last call does", async () => {
    const { publisher } = publisherTo(async () => new Promise(() => undefined));
    const hanging = new UpdatePublisher(async (_updates, signal) => new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new MeshError("OUTCOME_UNKNOWN", "cancelled")))), { intervalMs: 60_000 });
    hanging.set(positions.write(region, "wolf", 1));
    await expect(hanging.close({ signal: AbortSignal.timeout(20) })).rejects.toMatchObject({ metadata: { unsent: "1" } });
    await publisher.close();
  });

  it("takes no update that is none, and says what is wrong with it", () => {
    const { publisher } = publisherTo(takesAll);
    expect(() => publisher.set({ ...positions.write(region, "wolf", 1), value: "x" as never })).toThrow("update.value: must be bytes");
    expect(() => publisher.set({ ...positions.write(region, "wolf", 1), key: 7 as never })).toThrow("update.key: must be a text");
  });

  it("drops what is refused for good, and says so", async () => {
    const told: string[] = [];
    const { publisher } = publisherTo(async () => {
      await takesAll();
      throw new MeshError("UNKNOWN_TYPE", "no such type");
    }, { refused: (error, updates) => told.push(`${error.reason} ${updates.length}`) });
    publisher.set(positions.write(region, "wolf", 1));
    await publisher.flush();
    expect([told, publisher.waiting, publisher.counts.refused]).toEqual([["UNKNOWN_TYPE 1"], 0, 1]);
  });

  it("drops of many only what is refused by name, and sends the others at once", async () => {
    const told: string[] = [];
    const { publisher, calls } = publisherTo(async (updates) => {
      await takesAll();
      const at = updates.findIndex(({ key }) => key.startsWith("bad"));
      if (at >= 0) throw MeshError.field(`updates[${at}].value`, "at most 4096 bytes");
    }, { refused: (_, updates) => told.push(...updates.map(({ key }) => key)) });
    for (const [at, key] of ["wolf", "bad 1", "bear", "bad 2", "fox"].entries()) publisher.set(positions.write(region, key, at));
    await publisher.flush();
    expect([told, calls.at(-1)?.map(({ key }) => key).sort(), publisher.waiting]).toEqual([["bad 1", "bad 2"], ["bear", "fox", "wolf"], 0]);
    expect(publisher.counts).toMatchObject({ sent: 3, refused: 2, failures: 0 });
  });

  it("takes no more keys than it may keep, and later values of those that it has", () => {
    const { publisher } = publisherTo(takesAll, { keysMax: 2 });
    expect([publisher.set(positions.write(region, "a", 1)), publisher.set(positions.write(region, "b", 1)), publisher.set(positions.write(region, "c", 1))]).toEqual([true, true, false]);
    expect(publisher.set(positions.write(region, "a", 2))).toBe(true);
    expect(() => publisherTo(takesAll, { keysMax: 0 })).toThrow("keysMax");
  });

  it("sends at once after a pause, all of a turn together, and then once an interval", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "setImmediate", "performance"] });
    const { publisher, calls } = publisherTo(takesAll, { intervalMs: 50 });
    const set = (x: number): boolean => publisher.set(positions.write(region, "wolf", x)) && publisher.set(positions.write(region, "bear", x));
    set(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(calls.map(valuesOf)).toEqual([[1, 1]]);
    for (let x = 2; x < 12; x++) {
      set(x);
      await vi.advanceTimersByTimeAsync(4);
    }
    expect(calls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(12);
    expect(calls.slice(1).map(valuesOf)).toEqual([[11, 11]]);
    // A loop of the same rhythm waits for nothing.
    for (let beat = 0; beat < 5; beat++) {
      await vi.advanceTimersByTimeAsync(50);
      set(beat);
      await vi.advanceTimersByTimeAsync(0);
      expect(calls.at(-1)?.map(({ value }) => value.length)).toEqual([1, 1]);
      expect(calls).toHaveLength(3 + beat);
    }
  });

  it("tries again an interval later what could not be sent for now", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "setImmediate", "performance"] });
    let fails = true;
    const { publisher, calls } = publisherTo(async () => {
      await takesAll();
      if (fails) throw new MeshError("UNREACHABLE", "nobody there");
    }, { intervalMs: 50 });
    publisher.set(positions.write(region, "wolf", 1));
    await vi.advanceTimersByTimeAsync(120);
    fails = false;
    expect(calls).toHaveLength(3);
    await vi.advanceTimersByTimeAsync(200);
    expect([calls.length, publisher.waiting, publisher.counts.sent]).toEqual([4, 0, 1]);
  });

  it("of a client sends by itself, and what is left when the client's owner closes it", async () => {
    const got: string[] = [];
    const node = await FakeNode.start({
      unary: {
        publish: ({ updates }: PublishRequest) => {
          got.push(...updates.map(({ key }) => key));
          return PublishResponse.fromPartial({ updates: updates.length });
        },
      },
    });
    const client = connect({ endpoints: [node.address], serverId: 7, name: "seven" });
    const publisher = client.publisher({ intervalMs: 5 });
    publisher.set(positions.write(region, "wolf", 1));
    await until(() => got.length === 1);
    publisher.set(positions.write(region, "bear", 1));
    await publisher.close();
    expect(got).toEqual(["wolf", "bear"]);
    expect(() => publisher.set(positions.write(region, "wolf", 2))).toThrow("closed");
    client.close();
    node.kill();
  });
});
