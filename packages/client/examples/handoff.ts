// A wolf crosses the border between two game servers, and then a whole region goes from one to the other.
// node handoff.js [HOST:PORT,...]
import { connect, creaturePositions, type HeldLease, type MeshClient, MeshError, type Region, type RegionFollower } from "@statemesh/client";

const endpoints = (process.argv[2] ?? "127.0.0.1:7401,127.0.0.1:7402,127.0.0.1:7403").split(",");
const west: Region = { x: 80, y: 0, z: 0 };
const east: Region = { x: 81, y: 0, z: 0 };
const positions = creaturePositions<{ x: number; z: number }>();

/** A game server: in a real game a process of its own. */
async function gameServer(serverId: number, name: string): Promise<{ client: MeshClient; follower: RegionFollower<string>; begun: Promise<HeldLease> }> {
  const client = connect({ endpoints, serverId, name, address: `${name}.example:7000`, maxRegions: 4 });
  await client.authority.register();
  let begin: (lease: HeldLease) => void = () => undefined;
  const begun = new Promise<HeldLease>((resolve) => (begin = resolve));
  const follower = client.follow<string>({
    load: async () => console.log(`${name}: loads the region before it owns it`),
    begin: (lease) => {
      console.log(`${name}: owns the region under epoch ${lease.epoch}`);
      begin(lease);
    },
    drain: async () => console.log(`${name}: lets what is under way be decided, and keeps back what is new`),
    handedOver: (_region, owner, held) => console.log(`${name}: sends ${held.length} kept actions to ${owner?.address}`),
    resume: () => console.log(`${name}: nothing came of it, and goes on`),
    failed: (_region, error) => console.log(`${name}: ${error.message}`),
  });
  return { client, follower, begun };
}

const north = await gameServer(9103, "north");
const south = await gameServer(9104, "south");
const westLease = await north.client.authority.acquire(west);
const eastLease = await south.client.authority.acquire(east);
const wolf = `wolf-${north.client.nextId()}`;

// North simulates the wolf; south follows its own region and sees what comes in.
await north.client.execute(north.client.operations.creatureOwnership(westLease, { creatureId: wolf }));
await north.client.publish({ updates: [positions.write(west, wolf, { x: 161_990, z: 40 })] });
const subscription = south.client.subscribe({ regions: [east], strong: true });
const events = subscription[Symbol.asyncIterator]();
for (let complete = false; !complete; ) {
  const { event } = (await events.next()).value ?? {};
  complete = event?.$case === "snapshot" && event.value.complete;
}

// One operation takes it over the border. North stops simulating when it sends it; south begins when it sees the wolf.
await north.client.execute(north.client.operations.creatureHandoff(westLease, { creatureId: wolf, toServerId: 9104, toRegion: east }));
for (let arrived = false; !arrived; ) {
  const { event } = (await events.next()).value ?? {};
  arrived = event?.$case === "changes" && event.value.entities.some(({ entity, removed }) => entity?.entityId === wolf && !removed);
}
subscription.close();
await south.client.publish({ updates: [positions.remove(west, wolf), positions.write(east, wolf, { x: 162_003, z: 41 })] });
const { entities } = await south.client.read({ region: east, entities: [{ kind: "creature", entityId: wolf }] });
console.log(`the wolf is in region_${east.x}_${east.y}_${east.z}, simulated by server ${entities[0]?.serverId}`);

// North can do nothing with it any more.
const late = await north.client.execute(north.client.operations.creatureOwnership(westLease, { creatureId: wolf, ownerServerId: 0 }));
console.log(`north's late order: refused, ${late.reason}`);

// Now the whole region in the west goes to south: prepared, accepted, committed. At each step exactly one server owns it.
const giving = north.follower.handOver(westLease, 9104);
const taken = await south.begun;
console.log(`north still holds it: ${westLease.held}; south: ${taken.held}`);
await giving;

// What the old owner sends under its old epoch is fenced.
const stale = north.client.operations.structurePlacement(westLease, {
  structureId: `hut-${wolf}`, kind: "hut", bounds: { minX: 160_100, minY: 0, minZ: 100, maxX: 160_104, maxY: 3, maxZ: 104 },
});
const reason = await north.client.execute(stale).then(() => "accepted", (error: unknown) => MeshError.from(error).reason);
console.log(`north under its old epoch: ${reason}`);

await south.client.execute(south.client.operations.creatureOwnership(eastLease, { creatureId: wolf, ownerServerId: 0 }));
await Promise.all([south.client.authority.release(eastLease), south.client.authority.release(taken)]);
await Promise.all([north.client.shutdown(), south.client.shutdown()]);
