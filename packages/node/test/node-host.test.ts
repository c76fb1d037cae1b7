import { expect, test } from "vitest";
import { NodeHost } from "../src/node-host.ts";
import type { HostParts } from "../src/node-host.ts";

type Watermarks = ReadonlyMap<number, number> | undefined;

test("a thousand groups that want to know where the store stands ask it once", () => {
  const asked: ((watermarks: Watermarks) => void)[] = [];
  const parts = { ports: { store: { watermarks: (done: (watermarks: Watermarks) => void) => asked.push(done) } } };
  const host = new NodeHost(parts as unknown as HostParts);
  const heard: Watermarks[] = [];
  for (let group = 0; group < 1_000; group++) host.watermarks((watermarks) => heard.push(watermarks));
  expect(asked).toHaveLength(1);
  // Whoever asks again because of the answer asks anew.
  host.watermarks(() => host.watermarks((watermarks) => heard.push(watermarks)));
  asked[0]?.(new Map([[1, 7]]));
  expect([heard.length, asked.length]).toEqual([1_000, 2]);
  asked[1]?.(undefined);
  expect(heard.at(-1)).toBeUndefined();
});
