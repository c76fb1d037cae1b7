// Connect, take a region, build in it, and see it as every other game server does.
// node quickstart.js [HOST:PORT,...]
import { connect, Outcome } from "@statemesh/client";

const endpoints = (process.argv[2] ?? "127.0.0.1:7401,127.0.0.1:7402,127.0.0.1:7403").split(",");
const region = { x: 40, y: 0, z: 0 };

// One object for everything. Any node will do; with more of them the client goes on when one is gone.
const client = connect({ endpoints, serverId: 9101, name: "quickstart" });
await client.authority.register();

// The right to write in the region, as long as `lease.held`. It is renewed until it is released or lost.
const lease = await client.authority.acquire(region);
client.authority.onLost((lost, reason) => console.log(`lost the region of epoch ${lost.epoch}: ${reason}`));
console.log(`own region_${region.x}_${region.y}_${region.z} under epoch ${lease.epoch}`);

// What another game server would do to show the region: a snapshot first, then every change.
const subscription = client.subscribe({ regions: [region], strong: true });
const events = subscription[Symbol.asyncIterator]();
for (let snapshotComplete = false; !snapshotComplete; ) {
  const { event } = (await events.next()).value ?? {};
  if (event?.$case === "snapshot") snapshotComplete = event.value.complete;
}
console.log("following it");

// A strong operation: answered once it is committed, with one decision for ever.
const bounds = { minX: 80_100, minY: 0, minZ: 100, maxX: 80_112, maxY: 8, maxZ: 104 };
const structureId = `gate-${client.nextId()}`;
const gate = client.operations.structurePlacement(lease, { structureId, kind: "gate", playerId: "ann", bounds });
const decision = await client.execute(gate);
console.log(`the gate: ${decision.outcome === Outcome.ACCEPTED ? "stands" : `refused, ${decision.reason}`} (rule ${decision.rule})`);

// It comes with the subscription too.
for (let seen = false; !seen; ) {
  const { event } = (await events.next()).value ?? {};
  if (event?.$case !== "changes") continue;
  seen = event.value.entities.some(({ entity }) => entity?.entityId === structureId);
}
console.log("and the subscription has shown it");

// Asking again under the same id is always safe: the decision is the same.
const again = await client.execute(gate);
console.log(`asked again: ${again.repeated ? "the same decision" : "decided anew"}`);

await client.execute(client.operations.structureRemoval(lease, { structureId }));
subscription.close();
await client.authority.release(lease);
await client.shutdown();
