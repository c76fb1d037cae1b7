-- The cluster whose state is here: one row, with the first that was heard. Watermarks of one cluster say nothing about
-- the log of another.
CREATE TABLE IF NOT EXISTS owning_cluster (
  id INT8 NOT NULL PRIMARY KEY,
  cluster_id TEXT NOT NULL
)
