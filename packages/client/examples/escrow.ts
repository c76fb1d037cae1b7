// A shop that goes on paying while its node is cut off: what it may spend is set apart before, and each payment counts for ever.
// Talks to one node alone. Cut off the other nodes (kill -STOP) once it says so, and let them go on later.
// node escrow.js HOST:PORT [SECONDS]
import { connect, EscrowState, type Region } from "@statemesh/client";

const endpoint = process.argv[2]?.split(",")[0] ?? "127.0.0.1:7401";
const limitMs = Number(process.argv[3] ?? 5) * 1_000;
const region: Region = { x: 110, y: 0, z: 0 };

const client = connect({ endpoints: [endpoint], serverId: 9107, name: "escrow" });
await client.authority.register();

const run = client.nextId();
const shop = `shop-${run}`;
const ann = `ann-${run}`;
const here = { region, epoch: 0 };
await client.execute(client.operations.mint(here, { playerId: shop, itemKind: "gold", quantity: 100 }));

// Through the log, while the mesh is whole: 50 of it are for this server to spend, through the node that it talks to.
const { decision, escrow } = await client.escrows.open(here, { playerId: shop, itemKind: "gold", quantity: 50 });
if (escrow === undefined) throw new Error(`not opened: ${decision.reason}`);
// From the first payment on the node has it on its disk, and goes on with it also after a restart.
let { left } = await escrow.spend({ quantity: 10, toPlayerId: ann });
console.log("set apart; pays now, cut off or not");

// On this node's disk when it is answered, and therefore true.
let paidAside = 0;
const endMs = performance.now() + limitMs;
while (left > 10 && performance.now() < endMs) {
  ({ left } = await escrow.spend({ quantity: 10, toPlayerId: ann }));
  const state = await escrow.state();
  paidAside = Math.max(paidAside, state?.spendingsAside ?? 0);
  console.log(`paid 10, ${left} left, ${state?.spentAside ?? 0} not in the log yet`);
  await new Promise((resolve) => setTimeout(resolve, limitMs / 6));
}
console.log(`${paidAside} payments waited for the log at a time: ${paidAside === 0 ? "the node was not cut off" : "the node was cut off"}`);

// What is left comes back; from a node that is cut off, as soon as it is heard.
const closed = await escrow.close();
console.log(closed.state === EscrowState.CLOSED ? `closed: ${closed.returned} came back to the shop` : "closing: what is left comes back later");
if (closed.state === EscrowState.CLOSED) {
  const { balances } = await client.read({ region, accounts: [shop, ann] });
  console.log(balances.map(({ accountId, quantity }) => `${accountId === ann ? "ann" : "the shop"} has ${quantity} gold`).toSorted().join(", "));
}
await client.shutdown();
