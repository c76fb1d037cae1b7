// Types of a studio's own: values instead of bytes, a cart that crosses a border, and updates that merge. The mesh needs policy.yaml.
// node custom-type.js [HOST:PORT,...]
import {
  connect, counterMerging, eventualType, fieldsMerging, formatRegion, jsonCodec, lastWriteMerging, MeshError, mergingType, Outcome, type Region, setMerging, strongType,
} from "@statemesh/client";

const endpoints = (process.argv[2] ?? "127.0.0.1:7401,127.0.0.1:7402,127.0.0.1:7403").split(",");
const region: Region = { x: 90, y: 0, z: 0 };
const toRegion: Region = { x: 91, y: 0, z: 0 };

interface Cart {
  readonly driver: string;
  readonly goods: Readonly<Record<string, number>>;
}

/** What comes from other servers is checked before it is believed. */
function asCart(value: unknown): Cart {
  if (typeof value !== "object" || value === null || !("driver" in value) || !("goods" in value)) throw new Error("not a cart");
  return value as Cart;
}

// One definition each, beside the policy file's.
const carts = strongType<Cart>("cart", { codec: jsonCodec(asCart) });
const towns = mergingType("town", fieldsMerging({ treasury: counterMerging, citizens: setMerging, motto: lastWriteMerging<string>() }));
const weather = eventualType<{ rain: number }>("weather");

const client = connect({ endpoints, serverId: 9105, name: "custom-type" });
await client.authority.register();
const lease = await client.authority.acquire(region);
const run = client.nextId();

try {
  const entityId = `cart-${run}`;
  await client.execute(client.operations.create(carts, lease, { entityId, state: { driver: "ann", goods: { ore: 4 } } }));
  // One operation takes it over the border: in each moment it is in exactly one of the two regions.
  const moved = await client.execute(client.operations.move(carts, lease, { entityId, state: { driver: "ann", goods: { ore: 3 } }, toRegion }));
  const [cart] = (await client.read({ region: toRegion, entities: [{ kind: carts.name, entityId }] })).entities;
  if (cart?.region === undefined) throw new Error("no cart");
  // The timer that saves it here every few seconds does not know that it left: a save creates nothing.
  const late = await client.execute(client.operations.save(carts, lease, { entityId, state: { driver: "ann", goods: { ore: 4 } } }));
  console.log(`a late save: ${late.reason}`);
  console.log(`the cart: ${moved.outcome === Outcome.ACCEPTED ? "over the border" : moved.reason}, in ${formatRegion(cart.region)} with ${carts.read(cart)?.goods["ore"]} ore`);
  await client.execute(client.operations.remove(carts, { region: toRegion, epoch: 0 }, { entityId }));
} catch (error) {
  if (MeshError.from(error).reason !== "UNKNOWN_TYPE") throw error;
  console.log("this mesh does not know the type: start its nodes and arbiters with --policy-file policy.yaml");
  process.exit(1);
}

// Three updates at once: none excludes another, and all count.
const town = `town-${run}`;
await Promise.all([
  client.execute(client.operations.update(towns, lease, { entityId: town, update: { treasury: { add: 100 }, citizens: { add: ["ann", "ben"] } } })),
  client.execute(client.operations.update(towns, lease, { entityId: town, update: { treasury: { add: -30 }, citizens: { add: ["eve"] } } })),
  client.execute(client.operations.update(towns, lease, { entityId: town, update: { motto: { value: "by the sea" } } })),
]);
const read = async (): Promise<ReturnType<typeof towns.read>> => {
  const { entities } = await client.read({ region, entities: [{ kind: towns.name, entityId: town }] });
  return entities[0] === undefined ? undefined : towns.read(entities[0]);
};
const before = await read();
console.log(`the town: ${before?.treasury} in the treasury, ${before?.citizens?.members.join(", ")}, ${before?.motto}`);
await client.execute(client.operations.update(towns, lease, { entityId: town, update: { citizens: before?.citizens?.removal("ben") ?? {} } }));
console.log(`ben moved away: ${(await read())?.citizens?.members.join(", ")}`);

// Late is good enough for the weather.
const session = client.session();
await session.publish({ updates: [weather.write(region, "now", { rain: 3 })] });
const { values } = await session.read({ region, includeEventual: true });
console.log(`the weather: rain ${values.map((value) => weather.read(value)).find((each) => each !== undefined)?.rain}`);

await client.execute(client.operations.remove(towns, lease, { entityId: town }));
await client.authority.release(lease);
await client.shutdown();
