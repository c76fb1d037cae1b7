-- Bulk data of regions, apart from them so that attributes can be read and written without it.
CREATE TABLE IF NOT EXISTS region_layers (
  region_key INT8 NOT NULL,
  name TEXT NOT NULL,
  content_type TEXT NOT NULL,
  data BYTEA NOT NULL,
  PRIMARY KEY (region_key, name)
)
