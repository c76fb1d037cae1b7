-- Eventual values as the nodes wrote them behind: the write that wins of each key. Keys are bytes, for they may hold what TEXT cannot.
CREATE TABLE IF NOT EXISTS eventual_values (
  region_key INT8 NOT NULL,
  type TEXT NOT NULL,
  key BYTEA NOT NULL,
  stamp_ms INT8 NOT NULL,
  stamp_logical INT8 NOT NULL,
  server_id INT8 NOT NULL,
  deleted BOOL NOT NULL,
  value BYTEA NOT NULL,
  PRIMARY KEY (region_key, type, key)
)
