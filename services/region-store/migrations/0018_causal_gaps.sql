-- Where events are missing in a group's history, and how many at most: no node had them any more when the store came back.
CREATE TABLE IF NOT EXISTS causal_gaps (
  group_id INT8 NOT NULL,
  position INT8 NOT NULL,
  missing INT8 NOT NULL,
  PRIMARY KEY (group_id, position)
)
