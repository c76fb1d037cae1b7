-- Where the history of a group's causal events stands: the highest term of a leader that wrote, and the last position.
CREATE TABLE IF NOT EXISTS causal_groups (
  group_id INT8 NOT NULL PRIMARY KEY,
  term INT8 NOT NULL,
  position INT8 NOT NULL,
  trimmed_through INT8 NOT NULL
)
