-- LoadRegion: the entities of one home region.
CREATE INDEX IF NOT EXISTS entities_by_region ON entities (region_key, kind, entity_id, group_id)
