-- Strong entities as each Raft group holds them. The group is part of the key: versions are log indices of one
-- group, so rows of two groups never compare. Boxes are in whole centimetres, half open: a flat side is 1 cm
-- thick. `reach` says how far the box goes: 0 stays inside its region, 1 reaches neighbours, 2 further.
-- `from_region_key` is the region before the last write. `payload` is the whole statemesh.v1.Entity. `copy_id` is the
-- full copy that last named the row.
CREATE TABLE IF NOT EXISTS entities (
  group_id INT8 NOT NULL,
  kind TEXT NOT NULL,
  entity_id TEXT NOT NULL,
  region_key INT8 NOT NULL,
  from_region_key INT8 NOT NULL,
  reach INT8 NOT NULL,
  version INT8 NOT NULL,
  epoch INT8 NOT NULL,
  server_id INT8 NOT NULL,
  player_id TEXT NOT NULL,
  label TEXT NOT NULL,
  quantity INT8 NOT NULL,
  min_x INT8 NOT NULL,
  min_y INT8 NOT NULL,
  min_z INT8 NOT NULL,
  max_x INT8 NOT NULL,
  max_y INT8 NOT NULL,
  max_z INT8 NOT NULL,
  payload BYTEA NOT NULL,
  copy_id INT8 NOT NULL,
  PRIMARY KEY (group_id, kind, entity_id)
)
