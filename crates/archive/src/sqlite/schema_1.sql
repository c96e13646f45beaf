-- Times are milliseconds since the Unix epoch.

CREATE TABLE deployment (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    id TEXT NOT NULL,
    shards INTEGER NOT NULL
);

CREATE TABLE products (
    sku TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    image_url TEXT,
    price_minor INTEGER NOT NULL,
    currency TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX products_by_time ON products (created_at_ms, sku);

CREATE TABLE drops (
    id TEXT PRIMARY KEY NOT NULL,
    sku TEXT NOT NULL REFERENCES products (sku),
    shard INTEGER NOT NULL,
    stage TEXT NOT NULL,
    starts_at_ms INTEGER NOT NULL,
    ends_at_ms INTEGER,
    created_at_ms INTEGER NOT NULL,
    definition TEXT NOT NULL -- JSON, as it was defined; the window above is the one in force
) WITHOUT ROWID;
CREATE INDEX drops_by_time ON drops (created_at_ms, id);
CREATE INDEX drops_by_sku ON drops (sku, created_at_ms, id);
CREATE INDEX drops_by_start ON drops (sku, starts_at_ms, id);
CREATE INDEX drops_by_shard ON drops (shard, id);
CREATE INDEX drops_unopened ON drops (created_at_ms, id) WHERE stage <> 'opened';

-- The windows that are kept for a sku's drops until they are over: no two of them overlap.
CREATE TABLE windows (
    drop_id TEXT PRIMARY KEY NOT NULL REFERENCES drops (id),
    sku TEXT NOT NULL,
    starts_at_ms INTEGER NOT NULL,
    ends_at_ms INTEGER
) WITHOUT ROWID;
CREATE INDEX windows_by_sku ON windows (sku, starts_at_ms);

-- Facts are inserted and never changed. The id says the log id: for a granted order it is the order's UUID (16 bytes); for
-- anything else a zero byte, the log id's ms (6) and sequence (2), shard (2), index (2) and epoch (4).
CREATE TABLE facts (
    id BLOB PRIMARY KEY NOT NULL,
    shard INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    number INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    entry_facts INTEGER NOT NULL,
    kind TEXT NOT NULL,
    drop_id TEXT NOT NULL,
    -- of granted orders only
    sku TEXT,
    user_id TEXT,
    units INTEGER,
    price_minor INTEGER,
    currency TEXT,
    key_digest BLOB,
    fingerprint BLOB,
    -- of anything else: JSON, as in the log; and the order, if it takes one back
    body TEXT,
    order_id BLOB
) WITHOUT ROWID;
-- Unique: an entry of an epoch has one fact at each index, so a second one is a fault that must not go unseen.
CREATE UNIQUE INDEX facts_by_entry ON facts (shard, epoch, number, idx);
CREATE INDEX facts_by_order ON facts (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX orders_by_drop ON facts (drop_id, id) WHERE user_id IS NOT NULL;

-- The orders of each user. Users come in no order, so adding orders one batch after another would touch a page of the index
-- for each; they wait in a list until they are many enough to be added sorted. Both are read.
CREATE TABLE user_orders (
    user_id TEXT NOT NULL,
    id BLOB NOT NULL,
    PRIMARY KEY (user_id, id)
) WITHOUT ROWID;
CREATE TABLE user_orders_waiting (
    place INTEGER PRIMARY KEY,
    user_id TEXT NOT NULL,
    id BLOB NOT NULL
);
CREATE TRIGGER user_orders_wait AFTER INSERT ON facts WHEN NEW.user_id IS NOT NULL BEGIN
    INSERT INTO user_orders_waiting (user_id, id) VALUES (NEW.user_id, NEW.id);
END;

CREATE TABLE epochs (
    shard INTEGER PRIMARY KEY NOT NULL,
    epoch INTEGER NOT NULL
);

CREATE TABLE closings (
    shard INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    base INTEGER NOT NULL,
    through INTEGER NOT NULL,
    holes TEXT NOT NULL, -- JSON: the ranges of numbers
    void INTEGER NOT NULL,
    PRIMARY KEY (shard, epoch)
) WITHOUT ROWID;
