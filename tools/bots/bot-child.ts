// A shard of bots in a process of its own: what one is late with, no other is late with.
import { MeshError } from "@statemesh/contract";
import type { BotNews, BotOrder, BotShardReport } from "./bot-orders.ts";
import { BotShard } from "./bot-shard.ts";

const BOOKS_EVERY_MS = 1_000;

const say = (news: BotNews): void => {
  process.send?.(news);
};
let shard: BotShard | undefined;

async function obey(order: BotOrder): Promise<BotShardReport | undefined> {
  if (order.order === "prepare") {
    shard = new BotShard(order.spec);
    await shard.prepare();
    return undefined;
  }
  if (shard === undefined) throw new Error("prepare first");
  switch (order.order) {
    case "play":
      shard.play(order.beganMs, order.measureMs);
      return undefined;
    case "rest":
      await shard.rest();
      return undefined;
    case "tell books":
      return undefined;
    case "report":
      return shard.report();
    case "leave":
      await shard.leave(order.tidy);
      return undefined;
  }
}

process.on("message", ({ to, order }: { readonly to: number; readonly order: BotOrder }) => {
  obey(order).then(
    (report) => {
      // What was counted until now comes before the answer.
      if (shard !== undefined) say({ news: "books", part: shard.takeBooks() });
      say({ news: "answer", to, error: "", ...(report === undefined ? {} : { report }) });
    },
    (thrown: unknown) => say({ news: "answer", to, error: MeshError.from(thrown).message }),
  );
});
setInterval(() => {
  if (shard !== undefined) say({ news: "books", part: shard.takeBooks() });
}, BOOKS_EVERY_MS).unref();
// Ctrl-C reaches the whole terminal: who started this one says how it ends.
process.on("SIGINT", () => undefined);
// Whoever started it is gone.
process.on("disconnect", () => process.exit(0));
