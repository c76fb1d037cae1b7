-- Minted and burned items of each Raft group: minted less burned is what its balances and items hold.
CREATE TABLE IF NOT EXISTS item_totals (
  group_id INT8 NOT NULL,
  item_kind TEXT NOT NULL,
  minted INT8 NOT NULL,
  burned INT8 NOT NULL,
  copy_id INT8 NOT NULL,
  PRIMARY KEY (group_id, item_kind)
)
