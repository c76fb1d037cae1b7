-- The entities of a region, and those that may reach a place, in page order. One index for both: each costs a third
-- of the rate at which state comes in.
CREATE INDEX IF NOT EXISTS entities_by_place ON entities (reach, region_key, kind, entity_id, group_id)
