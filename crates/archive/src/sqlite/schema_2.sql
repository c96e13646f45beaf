-- What a reconciliation leaves: the stock of each drop, folded from the facts up to an entry of its shard's log.
CREATE TABLE stocks (
    drop_id TEXT PRIMARY KEY NOT NULL,
    epoch INTEGER NOT NULL,
    number INTEGER NOT NULL,
    stock TEXT NOT NULL -- JSON
) WITHOUT ROWID;

-- And what it found, the last few of each drop.
CREATE TABLE reconciliations (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    drop_id TEXT NOT NULL,
    record TEXT NOT NULL -- JSON
);
CREATE INDEX reconciliations_by_drop ON reconciliations (drop_id, place);
