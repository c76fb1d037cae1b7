-- For removing the answers that are no longer kept.
CREATE INDEX IF NOT EXISTS requests_by_expiry ON requests (expires_at_ms)
