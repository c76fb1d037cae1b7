import type { Balance, ItemTotal, RegionEpoch } from "@statemesh/contract";
import { mortonKey } from "@statemesh/world";
import { int8Array, textArray } from "../sql/array-literal.ts";
import type { SqlSession, Statement } from "../sql/database.ts";

const INSERT_BALANCES = `INSERT INTO balances (group_id, copy_id, account_id, item_kind, quantity, version)
  SELECT $1::INT8, $2::INT8, n.* FROM unnest($3::TEXT[], $4::TEXT[], $5::INT8[], $6::INT8[]) AS n(account_id, item_kind, quantity, version)
  ON CONFLICT (group_id, account_id, item_kind) DO UPDATE SET quantity = excluded.quantity, version = excluded.version`;
const UPSERT_BALANCES: Statement = { name: "balances_upsert", text: `${INSERT_BALANCES} WHERE balances.version < excluded.version` };
const COPY_BALANCES: Statement = { name: "balances_copy", text: `${INSERT_BALANCES}, copy_id = excluded.copy_id` };
const REMOVE_BALANCES: Statement = {
  name: "balances_remove",
  text: `DELETE FROM balances b USING unnest($2::TEXT[], $3::TEXT[], $4::INT8[]) AS n(account_id, item_kind, version)
    WHERE b.group_id = $1 AND b.account_id = n.account_id AND b.item_kind = n.item_kind AND b.version <= n.version`,
};
const SWEEP_BALANCES: Statement = { name: "balances_sweep", text: "DELETE FROM balances WHERE group_id = $1 AND copy_id <> $2" };

const UPSERT_TOTALS: Statement = {
  name: "item_totals_upsert",
  text: `INSERT INTO item_totals (group_id, copy_id, item_kind, minted, burned)
    SELECT $1::INT8, $2::INT8, n.* FROM unnest($3::TEXT[], $4::INT8[], $5::INT8[]) AS n(item_kind, minted, burned)
    ON CONFLICT (group_id, item_kind) DO UPDATE SET minted = excluded.minted, burned = excluded.burned, copy_id = excluded.copy_id`,
};
const SWEEP_TOTALS: Statement = { name: "item_totals_sweep", text: "DELETE FROM item_totals WHERE group_id = $1 AND copy_id <> $2" };

// Epochs only grow, whoever brings them; the row is the one that writes of the region compare with.
const RAISE_EPOCHS: Statement = {
  name: "regions_raise_epochs",
  text: `INSERT INTO regions (region_key, x, y, z, version, stored, epoch, fence_epoch, owner_server_id, attributes, updated_at_ms)
    SELECT n.region_key, n.x, n.y, n.z, 0, false, 0, n.epoch, n.owner, '{}'::JSONB, 0
    FROM unnest($1::INT8[], $2::INT8[], $3::INT8[], $4::INT8[], $5::INT8[], $6::INT8[]) AS n(region_key, x, y, z, epoch, owner) ORDER BY n.region_key
    ON CONFLICT (region_key) DO UPDATE SET fence_epoch = excluded.fence_epoch, owner_server_id = excluded.owner_server_id
    WHERE regions.fence_epoch <= excluded.fence_epoch`,
};

/** See MaterializationRows.writeBalances. */
export async function writeBalances(session: SqlSession, groupId: number, copyId: number, balances: readonly Balance[]): Promise<void> {
  if (balances.length === 0) return;
  const values = [textArray(balances.map((row) => row.accountId)), textArray(balances.map((row) => row.itemKind)), int8Array(balances.map((row) => row.quantity)), int8Array(balances.map((row) => row.version))];
  await session.run(copyId === 0 ? UPSERT_BALANCES : COPY_BALANCES, [groupId, copyId, ...values]);
}

/** See MaterializationRows.removeBalances. */
export async function removeBalances(session: SqlSession, groupId: number, balances: readonly Balance[]): Promise<void> {
  if (balances.length === 0) return;
  await session.run(REMOVE_BALANCES, [groupId, textArray(balances.map((row) => row.accountId)), textArray(balances.map((row) => row.itemKind)), int8Array(balances.map((row) => row.version))]);
}

export async function writeTotals(session: SqlSession, groupId: number, copyId: number, totals: readonly ItemTotal[]): Promise<void> {
  if (totals.length === 0) return;
  await session.run(UPSERT_TOTALS, [groupId, copyId, textArray(totals.map((row) => row.itemKind)), int8Array(totals.map((row) => row.minted)), int8Array(totals.map((row) => row.burned))]);
}

/** Raises the epochs that writes of regions are fenced by. */
export async function raiseEpochs(session: SqlSession, epochs: readonly RegionEpoch[]): Promise<void> {
  const rows = epochs.flatMap(({ region, epoch, ownerServerId }) => (region === undefined ? [] : [{ region, epoch, ownerServerId, key: mortonKey(region) }]));
  if (rows.length === 0) return;
  await session.run(RAISE_EPOCHS, [
    int8Array(rows.map((row) => row.key)),
    int8Array(rows.map((row) => row.region.x)), int8Array(rows.map((row) => row.region.y)), int8Array(rows.map((row) => row.region.z)),
    int8Array(rows.map((row) => row.epoch)), int8Array(rows.map((row) => row.ownerServerId)),
  ]);
}

/** Removes what the full copy did not name. */
export async function sweepLedger(session: SqlSession, groupId: number, copyId: number): Promise<void> {
  await session.run(SWEEP_BALANCES, [groupId, copyId]);
  await session.run(SWEEP_TOTALS, [groupId, copyId]);
}
