-- How far each Raft group is materialised. `after_index` is where the last batch began, so that its repeat is
-- recognised; -1 after a full copy. `copy_*` is the full copy that runs or ran last.
CREATE TABLE IF NOT EXISTS watermarks (
  group_id INT8 NOT NULL PRIMARY KEY,
  log_index INT8 NOT NULL,
  after_index INT8 NOT NULL,
  copy_id INT8 NOT NULL,
  copy_next_part INT8 NOT NULL,
  copy_through_index INT8 NOT NULL
)
