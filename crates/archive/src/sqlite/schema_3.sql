-- The shards in which striped drops have stripes; a drop that is not striped lives in the shard that `drops` says.
CREATE TABLE stripes (
    shard INTEGER NOT NULL,
    drop_id TEXT NOT NULL REFERENCES drops (id),
    PRIMARY KEY (shard, drop_id)
) WITHOUT ROWID;

-- Each stripe has a stock of its own.
CREATE TABLE stripe_stocks (
    drop_id TEXT NOT NULL,
    shard INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    number INTEGER NOT NULL,
    stock TEXT NOT NULL, -- JSON
    PRIMARY KEY (drop_id, shard)
) WITHOUT ROWID;
INSERT INTO stripe_stocks (drop_id, shard, epoch, number, stock)
    SELECT stocks.drop_id, drops.shard, stocks.epoch, stocks.number, stocks.stock
    FROM stocks JOIN drops ON drops.id = stocks.drop_id;
DROP TABLE stocks;
ALTER TABLE stripe_stocks RENAME TO stocks;
