-- What accounts hold, as each Raft group has it.
CREATE TABLE IF NOT EXISTS balances (
  group_id INT8 NOT NULL,
  account_id TEXT NOT NULL,
  item_kind TEXT NOT NULL,
  quantity INT8 NOT NULL,
  version INT8 NOT NULL,
  copy_id INT8 NOT NULL,
  PRIMARY KEY (group_id, account_id, item_kind)
)
