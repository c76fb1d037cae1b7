// Two players trade over a border: their regions lie in different sectors, whose accounts may be kept by different groups.
// node trade.js [HOST:PORT,...]
import { connect, type MeshClient, Outcome, type Region } from "@statemesh/client";

const endpoints = (process.argv[2] ?? "127.0.0.1:7401,127.0.0.1:7402,127.0.0.1:7403").split(",");
const west: Region = { x: 60, y: 0, z: 0 };
const east: Region = { x: 70, y: 0, z: 0 };

const client = connect({ endpoints, serverId: 9102, name: "trade" });
await client.authority.register();
// Both regions are this game server's here. The accounts are kept by the regions' groups, whoever owns them.
const [here, there] = await Promise.all([client.authority.acquire(west), client.authority.acquire(east)]);

const run = client.nextId();
const ann = `ann-${run}`;
const ben = `ben-${run}`;
await client.execute(client.operations.mint(here, { playerId: ann, itemKind: "iron_ore", quantity: 10 }));
await client.execute(client.operations.mint(there, { playerId: ben, itemKind: "gold", quantity: 3 }));
console.log("before:", await holdings(client));

// One operation, decided in both groups: both sides or neither.
const offer = { firstPlayerId: ann, secondPlayerId: ben, firstGives: [{ itemKind: "iron_ore", quantity: 10 }], secondGives: [{ itemKind: "gold", quantity: 2 }], secondRegion: east };
const traded = await client.execute(client.operations.trade(here, offer));
console.log(`the trade: ${traded.outcome === Outcome.ACCEPTED ? "done" : `refused, ${traded.reason}`}`);
console.log("after: ", await holdings(client));

// The ore is gone: the same offer once more is refused, and moves nothing.
const again = await client.execute(client.operations.trade(here, offer));
console.log(`once more: ${again.outcome === Outcome.REJECTED ? `refused, ${again.reason}` : "done"}`);

await Promise.all([client.authority.release(here), client.authority.release(there)]);
await client.shutdown();

/** What the two hold, in both groups. */
async function holdings(mesh: MeshClient): Promise<string> {
  const found: string[] = [];
  for (const [player, region] of [[ann, west], [ben, east]] as const) {
    const { balances } = await mesh.read({ region, accounts: [player] });
    const items = balances.filter(({ quantity }) => quantity > 0).map(({ itemKind, quantity }) => `${quantity} ${itemKind}`);
    found.push(`${player.slice(0, 3)} holds ${items.toSorted().join(" and ") || "nothing"}`);
  }
  return found.join(", ");
}
