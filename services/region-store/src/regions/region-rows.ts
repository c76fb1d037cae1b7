import type { Region, RegionLayer } from "@statemesh/contract";
import { formatRegion, mortonKey } from "@statemesh/world";
import { WorkConflict } from "@statemesh/store";
import { int8Array, textArray } from "../sql/array-literal.ts";
import { type SqlSession, type Statement } from "../sql/database.ts";
import { NO_ROW, RegionState } from "./region-state.ts";

const LOCK: Statement = {
  name: "regions_lock",
  text: `SELECT x, y, z, version, stored, epoch, fence_epoch, owner_server_id, attributes
    FROM regions WHERE region_key = ANY($1::INT8[]) ORDER BY region_key FOR UPDATE`,
};
const LAYER_SIZES: Statement = {
  name: "region_layer_sizes",
  text: `SELECT r.x, r.y, r.z, l.name, octet_length(l.data)::INT8 AS bytes
    FROM region_layers l JOIN regions r ON r.region_key = l.region_key WHERE l.region_key = ANY($1::INT8[])`,
};
// The row itself compares version and epoch: whoever got in between, and whatever FOR UPDATE is worth there, changes nothing.
const WRITE: Statement = {
  name: "regions_write",
  text: `INSERT INTO regions (region_key, x, y, z, version, stored, epoch, fence_epoch, owner_server_id, attributes, updated_at_ms)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $7, 0, $8, $9)
    ON CONFLICT (region_key) DO UPDATE SET version = excluded.version, stored = excluded.stored, epoch = excluded.epoch,
      fence_epoch = excluded.fence_epoch, attributes = excluded.attributes, updated_at_ms = excluded.updated_at_ms
    WHERE regions.version = $10 AND regions.fence_epoch <= excluded.fence_epoch`,
};
const DELETE_LAYERS: Statement = { name: "region_layers_delete", text: "DELETE FROM region_layers WHERE region_key = $1" };
const DELETE_NAMED_LAYERS: Statement = { name: "region_layers_delete_named", text: "DELETE FROM region_layers WHERE region_key = $1 AND name = ANY($2::TEXT[])" };
const UPSERT_LAYER: Statement = {
  name: "region_layers_upsert",
  text: `INSERT INTO region_layers (region_key, name, content_type, data) VALUES ($1, $2, $3, $4)
    ON CONFLICT (region_key, name) DO UPDATE SET content_type = excluded.content_type, data = excluded.data`,
};

interface LockedRow extends Region {
  readonly version: number;
  readonly stored: boolean;
  readonly epoch: number;
  readonly fence_epoch: number;
  readonly owner_server_id: number;
  readonly attributes: Record<string, string>;
}

/** Attributes as they stand in a JSONB column. */
export function attributesOf(json: Readonly<Record<string, string>>): Map<string, string> {
  return new Map(Object.entries(json));
}

/**
 * Reads and locks the rows of regions, in the order of their keys so that transactions never wait for each
 * other in a circle. `withLayers`: also the layers' sizes. By canonical text.
 */
export async function lockRegions(session: SqlSession, regions: readonly Region[], withLayers: boolean): Promise<Map<string, RegionState>> {
  const byText = new Map(regions.map((region) => [formatRegion(region), region]));
  const keys = int8Array([...byText.values()].map(mortonKey));
  const { rows } = await session.run<LockedRow>(LOCK, [keys]);
  const sizes = new Map<string, Map<string, number>>();
  if (withLayers) {
    for (const row of (await session.run<Region & { name: string; bytes: number }>(LAYER_SIZES, [keys])).rows) {
      const text = formatRegion(row);
      const ofRegion = sizes.get(text) ?? new Map<string, number>();
      ofRegion.set(row.name, row.bytes);
      sizes.set(text, ofRegion);
    }
  }
  const locked = new Map(rows.map((row) => [formatRegion(row), row]));
  const states = new Map<string, RegionState>();
  for (const [text, region] of byText) {
    const row = locked.get(text);
    const read =
      row === undefined
        ? NO_ROW
        : { version: row.version, stored: row.stored, epoch: row.epoch, fenceEpoch: row.fence_epoch, ownerServerId: row.owner_server_id, attributes: attributesOf(row.attributes) };
    states.set(text, new RegionState(region, read, sizes.get(text) ?? new Map()));
  }
  return states;
}

/** Writes the regions that changed, in the order of their keys. Throws WorkConflict where a row is no longer as it was read. */
export async function writeRegions(session: SqlSession, states: Iterable<RegionState>, nowMs: number): Promise<void> {
  const changed = [...states].filter((state) => state.changed).sort((a, b) => (a.key < b.key ? -1 : 1));
  for (const state of changed) {
    const { region } = state;
    const attributes = JSON.stringify(Object.fromEntries(state.attributes));
    const values = [state.key, region.x, region.y, region.z, state.version, state.stored, state.fenceEpoch, attributes, nowMs, state.read.version];
    const { count } = await session.run(WRITE, values);
    if (count !== 1) throw new WorkConflict(`${formatRegion(region)} changed meanwhile`);
    await writeLayers(session, state);
  }
}

async function writeLayers(session: SqlSession, state: RegionState): Promise<void> {
  const { replacesAll, set, removed } = state.layers;
  if (replacesAll) await session.run(DELETE_LAYERS, [state.key]);
  else if (removed.length > 0) await session.run(DELETE_NAMED_LAYERS, [state.key, textArray(removed)]);
  for (const layer of set) await session.run(UPSERT_LAYER, [state.key, layer.name, layer.contentType, bytesOf(layer)]);
}

function bytesOf(layer: RegionLayer): Buffer {
  return Buffer.from(layer.data.buffer, layer.data.byteOffset, layer.data.byteLength);
}
