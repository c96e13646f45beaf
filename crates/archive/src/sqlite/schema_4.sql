-- Orders are most of what is written, so they are kept as the log has them: those of one entry that have drop, product and
-- price in common share a row, and what each has of its own is JSON: its index in the entry, user id, units, the digest of its
-- key and its fingerprint (hex). The view `orders` shows them one by one.
CREATE TABLE grants (
    row INTEGER PRIMARY KEY,
    shard INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    number INTEGER NOT NULL,
    idx INTEGER NOT NULL, -- of the first order
    log_ms INTEGER NOT NULL,
    log_sequence INTEGER NOT NULL,
    entry_facts INTEGER NOT NULL,
    drop_id TEXT NOT NULL,
    sku TEXT NOT NULL,
    price_minor INTEGER NOT NULL,
    currency TEXT NOT NULL,
    count INTEGER NOT NULL,
    orders TEXT NOT NULL
);
CREATE UNIQUE INDEX grants_by_entry ON grants (shard, epoch, number, idx);
CREATE INDEX grants_by_time ON grants (log_ms, shard, log_sequence);
CREATE INDEX grants_by_drop ON grants (drop_id, log_ms, shard, log_sequence);
CREATE VIEW orders AS
    SELECT drop_id, json_extract(value, '$[1]') AS user_id, json_extract(value, '$[2]') AS units, sku, price_minor, currency,
        log_ms AS placed_at_ms, shard, epoch, number, json_extract(value, '$[0]') AS idx
    FROM grants, json_each(orders);

-- All other facts, one by one. The id says the log id: a zero byte, the log id's ms (6) and sequence (2), shard (2), index (2)
-- and epoch (4).
CREATE TABLE events (
    id BLOB PRIMARY KEY NOT NULL,
    shard INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    number INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    entry_facts INTEGER NOT NULL,
    kind TEXT NOT NULL,
    drop_id TEXT NOT NULL,
    body TEXT NOT NULL, -- JSON, as in the log
    order_id BLOB -- if it takes an order back
) WITHOUT ROWID;
CREATE UNIQUE INDEX events_by_entry ON events (shard, epoch, number, idx);
CREATE INDEX events_by_order ON events (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX events_compensations_by_user ON events (json_extract(body, '$.grant.user_id'), order_id)
    WHERE kind = 'compensated';
CREATE INDEX events_compensations_by_drop ON events (drop_id, order_id) WHERE kind = 'compensated';
INSERT INTO events (id, shard, epoch, number, idx, entry_facts, kind, drop_id, body, order_id)
    SELECT id, shard, epoch, number, idx, entry_facts, kind, drop_id, body, order_id FROM facts WHERE user_id IS NULL;

-- Where the orders of each user are: sorted runs, in blocks of at most a page. Runs of about the same length are merged.
CREATE TABLE user_runs (
    run INTEGER PRIMARY KEY,
    count INTEGER NOT NULL -- of its entries
);
CREATE TABLE user_blocks (
    block INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    first BLOB NOT NULL, -- the first entry's digest
    entries BLOB NOT NULL -- of 20 bytes: the head of the user's digest (8), log ms (6), shard (2), log sequence (2), index (2)
);
CREATE INDEX user_blocks_by_run ON user_blocks (run, first);
DROP TRIGGER user_orders_wait;
DROP TABLE user_orders;
DROP TABLE user_orders_waiting;
-- Its orders are moved by a program, which drops it then.
ALTER TABLE facts RENAME TO facts_of_version_3;
