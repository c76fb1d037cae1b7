// What happens to the processes of shards and to their ways to the nodes.
import type { PlainRecord } from "../tier.ts";
import type { SimShard } from "./sim-shard.ts";

/** `later` runs something so many milliseconds on, unless all was healed before. False: no such fault, or nothing to hit. */
export function injectShardFault(shards: readonly SimShard[], kind: string, args: PlainRecord, later: (delayMs: number, run: () => void) => void): boolean {
  const number = (name: string): number => Number(args[name] ?? 0);
  const shard = shards[number("shard") - 1];
  if (shard === undefined) return false;
  switch (kind) {
    case "shard killed":
      return shard.kill(number("ms"));
    case "shard paused":
      shard.pause(number("ms"));
      return true;
    case "shard cut off":
      shard.cutOff(true);
      later(number("ms"), () => shard.cutOff(false));
      return true;
    case "shard flapping":
      for (let turn = 0; turn < 2 * number("times"); turn++) later(turn * number("everyMs"), () => shard.cutOff(turn % 2 === 0));
      return true;
    default:
      return false;
  }
}
