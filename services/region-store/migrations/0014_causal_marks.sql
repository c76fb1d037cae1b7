-- Through which sequence of an origin (a start of a node) the events of a group are in its history.
CREATE TABLE IF NOT EXISTS causal_marks (
  group_id INT8 NOT NULL,
  origin INT8 NOT NULL,
  sequence INT8 NOT NULL,
  PRIMARY KEY (group_id, origin)
)
