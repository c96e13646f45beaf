-- Notes of facts that are refused for good. They are inserted and never changed, and nothing but the id restricts them.
CREATE TABLE dead_letters (
    id BLOB PRIMARY KEY NOT NULL, -- of the fact, as in facts
    shard INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    number INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    letter TEXT NOT NULL -- JSON: the fact and why it was refused first
) WITHOUT ROWID;
CREATE INDEX dead_letters_by_entry ON dead_letters (shard, epoch, number, idx);

-- Orders that were given back because the archive could not keep them: nothing else tells of them.
CREATE INDEX compensations_by_user ON facts (json_extract(body, '$.grant.user_id'), order_id) WHERE kind = 'compensated';
CREATE INDEX compensations_by_drop ON facts (drop_id, order_id) WHERE kind = 'compensated';

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
