-- For the history of a region.
CREATE INDEX IF NOT EXISTS causal_events_by_region ON causal_events (region_key, position)
