-- Causal events, in the order of their group's history: causes first. Keys are bytes, for they may hold what TEXT cannot.
CREATE TABLE IF NOT EXISTS causal_events (
  group_id INT8 NOT NULL,
  position INT8 NOT NULL,
  region_key INT8 NOT NULL,
  origin INT8 NOT NULL,
  sequence INT8 NOT NULL,
  server_id INT8 NOT NULL,
  type TEXT NOT NULL,
  key BYTEA NOT NULL,
  payload BYTEA NOT NULL,
  dependencies BYTEA NOT NULL,
  stored_at_ms INT8 NOT NULL,
  PRIMARY KEY (group_id, position)
)
