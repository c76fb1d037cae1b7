import { setImmediate as turn } from "node:timers/promises";
import { type MeshError, PartitionEvent, type WatchViewResponse } from "@statemesh/contract";
import { expect, it } from "vitest";
import { ViewWatchers } from "../src/view-watchers.ts";

class Caller {
  over = false;
  keepsUp = true;
  told: string[] = [];
  waiting: (() => void)[] = [];
  #ends: (() => void)[] = [];

  write({ ownRegions }: WatchViewResponse): boolean {
    this.told.push(ownRegions.map(({ x, y }) => `picture ${x} for ${y}`).join());
    return this.keepsUp;
  }

  onWritable(run: () => void): void {
    this.waiting.push(run);
  }

  fail(error: MeshError): void {
    throw error;
  }

  onEnd(run: () => void): void {
    this.#ends.push(run);
  }

  onShutdown(): void {}

  goAway(): void {
    this.over = true;
    for (const run of this.#ends) run();
  }
}

function setting(callers: number) {
  let pictures = 0;
  const watchers = new ViewWatchers<number>({
    picture: () => (pictures += 1),
    message: (picture, serverId) => ({ event: PartitionEvent.STATE, state: undefined, ownRegions: [{ x: picture, y: serverId, z: 0 }], unheardRegions: [], moreRegions: false }),
  });
  const all = Array.from({ length: callers }, () => new Caller());
  all.forEach((caller, at) => watchers.watch(at, caller, caller));
  return { watchers, all, pictures: () => pictures, told: () => all.filter(({ told }) => told.length > 0).length };
}

it("works out once what all watchers are told of a change, and tells some at a time", async () => {
  const { watchers, all, pictures, told } = setting(1_000);
  expect(told()).toBe(0);
  await turn();
  await turn();
  expect(told()).toBeGreaterThan(0);
  expect(told()).toBeLessThan(1_000);
  while (told() < 1_000) await turn();
  expect(pictures()).toBe(1);
  for (const caller of all) caller.told = [];
  watchers.changed();
  watchers.changed();
  while (told() < 1_000) await turn();
  expect(pictures()).toBe(2);
  expect(all[999]?.told).toEqual(["picture 2 for 999"]);
});

it("tells all again what changed while some were told", async () => {
  const { watchers, all, told } = setting(200);
  while (told() === 0) await turn();
  watchers.changed();
  while (told() < 200) await turn();
  await turn();
  for (const { told: heard } of all) expect(heard.at(-1)).toMatch(/^picture 2 /);
  expect(all[0]?.told).toHaveLength(2);
  expect(all[199]?.told).toHaveLength(1);
});

it("tells one who does not read the newest once it does, and one who went away nothing", async () => {
  const { watchers, all, told } = setting(2);
  const [slow, gone] = all;
  if (slow === undefined || gone === undefined) throw new Error("two callers");
  slow.keepsUp = false;
  while (told() < 2) await turn();
  for (let changes = 0; changes < 10; changes += 1) {
    watchers.changed();
    await turn();
  }
  expect(slow.told).toHaveLength(1);
  expect(slow.waiting).toHaveLength(1);
  gone.goAway();
  const before = gone.told.length;
  slow.waiting.forEach((run) => run());
  watchers.changed();
  await turn();
  await turn();
  expect(slow.told).toHaveLength(2);
  expect(gone.told).toHaveLength(before);
});

it("names the limit to one watcher more than may be", () => {
  const { watchers } = setting(10_000);
  const one = new Caller();
  expect(() => watchers.watch(1, one, one)).toThrow("10000 streams watch already");
});
