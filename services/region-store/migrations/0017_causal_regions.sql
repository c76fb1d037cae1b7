-- The group of each region that ever had a causal event, and how far its events are kept no more.
CREATE TABLE IF NOT EXISTS causal_regions (
  region_key INT8 NOT NULL PRIMARY KEY,
  group_id INT8 NOT NULL,
  trimmed_through INT8 NOT NULL
)
