-- Answers to requests that carried a request id: a repeat gets the first answer.
CREATE TABLE IF NOT EXISTS requests (
  request_id TEXT NOT NULL PRIMARY KEY,
  fingerprint BYTEA NOT NULL,
  response BYTEA NOT NULL,
  expires_at_ms INT8 NOT NULL
)
