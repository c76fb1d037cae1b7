-- One row a region that was ever stored or leased. A deleted region keeps its row, so that versions and
-- epochs never go back. `fence_epoch` is the highest epoch that was granted or that has written: the write
-- itself compares with it.
CREATE TABLE IF NOT EXISTS regions (
  region_key INT8 NOT NULL PRIMARY KEY,
  x INT8 NOT NULL,
  y INT8 NOT NULL,
  z INT8 NOT NULL,
  version INT8 NOT NULL,
  stored BOOL NOT NULL,
  epoch INT8 NOT NULL,
  fence_epoch INT8 NOT NULL,
  owner_server_id INT8 NOT NULL,
  attributes JSONB NOT NULL,
  updated_at_ms INT8 NOT NULL
)
