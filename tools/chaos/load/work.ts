/** What the players do: each kind of work is a loop of one game server until the load ends. */
import type { Place } from "@statemesh/client";
import { MeshError, type Operation, type Region } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import type { GameServer } from "./game-server.ts";
import { REGISTER_TYPE, type Setting } from "./setting.ts";

/** Does one thing, and says when it is done. */
export type Work = (server: GameServer, setting: Setting) => Promise<void>;

const PLAYERS = 12;
const READ_LIMIT_MS = 5_000;
/** Of what may be kept by a node that is cut off, how much allows it. */
const MAY_BE_KEPT = 0.6;
const MATERIALS = ["clay", "sand"];
const encoder = new TextEncoder();
const decoder = new TextDecoder();

function placeOf(region: Region): Place {
  return { region, epoch: 0 };
}

function writeRegister(server: GameServer, region: Region, register: string): Operation {
  const operationId = server.all.nextId();
  return server.all.operations.custom(REGISTER_TYPE, placeOf(region), { entityId: register, state: encoder.encode(operationId) }, { operationId });
}

/** Writes one register, its own id as the value. */
export const write: Work = async (server, setting) => {
  const { region, registers } = server.random.pick(setting.grounds);
  await server.execute(writeRegister(server, region, server.random.pick(registers)));
};

/** Writes two or three registers together. */
export const writeSeveral: Work = async (server, setting) => {
  const { region, registers, group } = server.random.pick(setting.grounds);
  const first = server.random.between(0, registers.length - 1);
  const count = server.random.between(2, 3);
  const chosen = Array.from({ length: count }, (_, at) => registers[(first + at) % registers.length] ?? "");
  await server.transact(chosen.map((register) => writeRegister(server, region, register)), group);
};

/** Reads some registers of a group in one linearizable read, through any node. */
export const read: Work = async (server, setting) => {
  const { region, registers, group } = server.random.pick(setting.grounds);
  const first = server.random.between(0, registers.length - 1);
  const chosen = Array.from({ length: server.random.between(1, registers.length) }, (_, at) => registers[(first + at) % registers.length] ?? "");
  const invokedMs = server.record.nowMs();
  try {
    const { entities, position } = await server.anyNode().read({ region, entities: chosen.map((entityId) => ({ kind: REGISTER_TYPE, entityId })) }, { deadlineMs: READ_LIMIT_MS });
    const values = new Map(chosen.map((register) => [register, ""]));
    const versions = new Map(chosen.map((register) => [register, 0]));
    for (const entity of entities) {
      values.set(entity.entityId, decoder.decode(entity.state));
      versions.set(entity.entityId, entity.version);
    }
    server.record.reads.push({ group, invokedMs, returnedMs: server.record.nowMs(), values, versions, index: position?.index ?? 0 });
    server.record.acknowledged(group, 1);
  } catch (thrown) {
    // A read that fails says nothing.
    if (MeshError.from(thrown).reason === "INTERNAL") throw thrown;
  }
};

/** Mints, burns, hands over and trades among a few players. */
export const ledger: Work = async (server, setting) => {
  const { region } = server.random.pick(setting.grounds);
  const { operations } = server.all;
  const place = placeOf(region);
  const player = (): string => `${formatRegion(region)}-p${server.random.between(1, PLAYERS)}`;
  const playerId = player();
  let counterpartyId = player();
  while (counterpartyId === playerId) counterpartyId = player();
  const kind = server.random.next();
  const quantity = server.random.between(1, 9);
  const itemKind = server.random.chance(0.5) ? "ore" : "wood";
  if (kind < 0.35) await server.execute(operations.mint(place, { playerId, itemKind, quantity }));
  else if (kind < 0.5) await server.execute(operations.burn(place, { playerId, itemKind, quantity }));
  else if (kind < 0.85) await server.execute(operations.transfer(place, { playerId, counterpartyId, itemKind, quantity }));
  else await server.execute(operations.trade(place, { firstPlayerId: playerId, secondPlayerId: counterpartyId, firstGives: [{ itemKind: "ore", quantity }], secondGives: [{ itemKind: "wood", quantity: 1 }] }));
};

/** An item on the ground that three servers are after at the same moment. */
export const pickup: Work = async (server, setting) => {
  const { region } = server.random.pick(setting.grounds);
  const place = placeOf(region);
  const itemId = `item-${server.all.nextId()}`;
  const position = { x: region.x * 2_000 + 5, y: region.y * 2_000 + 5, z: region.z * 2_000 + 5 };
  const spawned = await server.execute(server.all.operations.spawn(place, { itemKind: "sword", quantity: 1, itemId, position }));
  if (spawned.end === "refused") return;
  const rivals = [server, ...setting.servers.filter((other) => other !== server).slice(0, 2)];
  await Promise.all(rivals.map((rival) => rival.execute(rival.all.operations.itemPickup(place, { itemId, playerId: `${formatRegion(region)}-p${rival.random.between(1, PLAYERS)}` }))));
};

/** Claims a resource that others want too, and gives it up again; also what was kept and became its own later. */
export const claim: Work = async (server, setting) => {
  for (const { homeRegion, body } of server.acceptedLate()) {
    if (homeRegion !== undefined && body?.$case === "resourceClaim") await server.execute(server.all.operations.resourceRelease(placeOf(homeRegion), { resourceId: body.value.resourceId, playerId: body.value.playerId }));
  }
  const { region, resources } = server.random.pick(setting.grounds);
  const resourceId = server.random.pick(resources);
  const playerId = `server-${server.serverId}`;
  const place = placeOf(region);
  const taken = await server.execute(server.all.operations.resourceClaim(place, { resourceId, playerId }, { allowTentative: server.random.chance(MAY_BE_KEPT) }));
  if (taken.end === "refused" || taken.decisions[0]?.reason !== "") return;
  await server.execute(server.all.operations.resourceRelease(place, { resourceId, playerId }));
};

/** Puts up structures where others build too, and takes some down. */
export const build: Work = async (server, setting) => {
  const { region } = server.random.pick(setting.grounds);
  const place = placeOf(region);
  const structureId = `wall-${server.all.nextId()}`;
  const x = region.x * 2_000 + server.random.between(0, 120) * 8;
  const z = region.z * 2_000 + server.random.between(0, 120) * 8;
  const minY = region.y * 2_000 + 10;
  const put = await server.execute(server.all.operations.structurePlacement(place, { structureId, kind: "wall", bounds: { minX: x, minY, minZ: z, maxX: x + 12, maxY: minY + 4, maxZ: z + 12 } }, { allowTentative: server.random.chance(MAY_BE_KEPT) }));
  if (put.end === "refused" || server.random.chance(0.4)) return;
  await server.execute(server.all.operations.structureRemoval(place, { structureId }));
};

/** Digs and fills where others dig and fill: digs merge with each other, fills with those of one material. */
export const edit: Work = async (server, setting) => {
  const { region } = server.random.pick(setting.grounds);
  const minX = region.x * 2_000 + server.random.between(0, 60) * 8;
  const minZ = region.z * 2_000 + server.random.between(0, 60) * 8;
  const minY = region.y * 2_000 + 100;
  const bounds = { minX, minY, minZ, maxX: minX + 10, maxY: minY + 4, maxZ: minZ + 10 };
  const may = { allowTentative: server.random.chance(MAY_BE_KEPT) };
  const { operations } = server.all;
  await server.execute(server.random.chance(0.6) ? operations.dig(placeOf(region), { bounds }, may) : operations.fill(placeOf(region), { bounds, material: server.random.pick(MATERIALS) }, may));
};

/** Takes the lease of a region, writes under its epoch, and gives it up or lets it run out. */
export const lease: Work = async (server, setting) => {
  const { region, registers } = setting.leased;
  const invokedMs = server.record.nowMs();
  try {
    const held = await server.all.authority.acquire(region, { deadlineMs: 4_000 });
    server.record.grants.push({ region: formatRegion(region), serverId: server.serverId, epoch: held.epoch, invokedMs, returnedMs: server.record.nowMs() });
    // The epoch is the fencing token: what is written late, after somebody else's grant, must be refused.
    const place = { region, epoch: held.epoch };
    for (let at = server.random.between(2, 6); at > 0; at--) {
      const operationId = server.all.nextId();
      await server.execute(server.all.operations.custom(REGISTER_TYPE, place, { entityId: server.random.pick(registers), state: encoder.encode(operationId) }, { operationId }));
    }
    await server.all.authority.release(held, { deadlineMs: 4_000 });
    if (!server.random.chance(0.3)) return;
    const late = server.all.nextId();
    await server.execute(server.all.operations.custom(REGISTER_TYPE, place, { entityId: server.random.pick(registers), state: encoder.encode(late) }, { operationId: late }));
  } catch (thrown) {
    // LEASE_HELD, or nobody answered in time: the next try is soon enough.
    if (MeshError.from(thrown).reason === "INTERNAL") throw thrown;
  }
};

/** Publishes where a creature is; the newest position wins. */
export const publish: Work = async (server, setting) => {
  const { region } = server.random.pick(setting.grounds);
  const key = `creature-${server.random.between(1, 20)}`;
  const update = { type: "creature_position", region, key, value: encoder.encode(server.all.nextId()), deleted: false, timestampMs: Date.now() };
  try {
    await server.anyNode().publish({ updates: [update] }, { deadlineMs: 1_000 });
  } catch (thrown) {
    if (MeshError.from(thrown).reason === "INTERNAL") throw thrown;
  }
};
