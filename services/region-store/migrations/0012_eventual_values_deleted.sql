-- For removing deletions that are no longer kept.
CREATE INDEX IF NOT EXISTS eventual_values_deleted ON eventual_values (stamp_ms) WHERE deleted
