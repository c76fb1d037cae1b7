-- QueryEntities: ranges of Morton keys, in page order.
CREATE INDEX IF NOT EXISTS entities_by_place ON entities (spatial_key, kind, entity_id, group_id)
