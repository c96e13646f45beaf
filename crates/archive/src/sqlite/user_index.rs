//! Where the orders of each user are: an index of sorted runs, a log-structured merge tree.
//!
//! Users come in no order, so an index that is a B-tree would have another page changed by each order: several times the cost
//! of keeping the order, and more with each million. Here each batch writes one sorted run, and as soon as there are
//! [`FANOUT`] runs of about the same length they are merged into one, so that an order is written again once for each power of
//! [`FANOUT`] that lies above its batch, in sequence. A read looks into each run once.
//!
//! Source: P. O'Neil, E. Cheng, D. Gawlick, E. O'Neil, "The Log-Structured Merge-Tree", 1996; with tiers, as in "Dostoevsky"
//! (N. Dayan, S. Idreos, 2018), section 2.

use std::cmp::Reverse;

use rusqlite::{Connection, params};
use stampede_domain::{LogId, Position, Shard, UserDigest, UserId};

use super::columns::sql_limit;

/// How many runs of a tier are merged into one of the next.
const FANOUT: usize = 8;

/// Tiers whose runs are merged. The runs of the last one have at least 8⁵ entries (0.6 MB) and at most eight times as many:
/// merging them takes some ten milliseconds. Longer ones would hold up the batch that completes them.
const MERGED_TIERS: u32 = 5;

/// Entries of a block: as many as fit a page of 4,096 bytes.
const BLOCK_ENTRIES: usize = 200;

const DIGEST_BYTES: usize = 8;

/// Where an order is, under the head of its user's digest. Sorts by user, then as the ids of orders do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry([u8; Entry::BYTES]);

impl Entry {
    const BYTES: usize = 20;

    /// Of an order of `user_id`.
    pub(super) fn new(user_id: &UserId, shard: Shard, position: Position) -> Self {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&head(user_id));
        bytes[8..14].copy_from_slice(&position.log_id.ms.to_be_bytes()[2..]);
        bytes[14..16].copy_from_slice(&shard.number().to_be_bytes());
        bytes[16..18].copy_from_slice(&position.log_id.sequence.to_be_bytes());
        bytes[18..].copy_from_slice(&position.index.to_be_bytes());
        Self(bytes)
    }

    /// The bytes as numbers, which are compared at once; comparing bytes is a call for each.
    const fn key(&self) -> (u64, u64, u32) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, rest @ ..] = self.0;
        let (user, place) = ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]);
        (u64::from_be_bytes(user), u64::from_be_bytes(place), u32::from_be_bytes(rest))
    }

    /// Shard and position; none if no shard has that number.
    fn place(self) -> Option<(Shard, Position)> {
        let [_, _, _, _, _, _, _, _, a, b, c, d, e, f, s, t, q, r, i, j] = self.0;
        let ms = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        let log_id = LogId { ms, sequence: u16::from_be_bytes([q, r]) };
        Some((Shard::new(u16::from_be_bytes([s, t]))?, Position { log_id, index: u16::from_be_bytes([i, j]) }))
    }
}

fn head(user_id: &UserId) -> [u8; DIGEST_BYTES] {
    let [a, b, c, d, e, f, g, h, ..] = UserDigest::of(user_id).0;
    [a, b, c, d, e, f, g, h]
}

/// Where orders of the user may be, newest first. Another user's may be among them, as only the head of the digest is kept.
pub(super) fn places(db: &Connection, user_id: &UserId) -> rusqlite::Result<Vec<(Shard, Position)>> {
    // Of a run's blocks that begin below the user, only the last can have entries of the user.
    let mut select = db.prepare_cached(
        "SELECT entries FROM user_runs JOIN user_blocks USING (run) WHERE first <= ?1 AND first >=
         coalesce((SELECT max(first) FROM user_blocks AS below WHERE below.run = user_runs.run AND below.first < ?1), ?1)",
    )?;
    let head = head(user_id);
    let mut found = Vec::new();
    let mut rows = select.query([&head[..]])?;
    while let Some(row) = rows.next()? {
        found.extend(entries_of(row.get_ref(0)?.as_blob()?).filter(|entry| entry.0.starts_with(&head)));
    }
    found.sort_unstable_by_key(|entry| Reverse(entry.key()));
    found.dedup();
    Ok(found.into_iter().filter_map(Entry::place).collect())
}

/// Adds entries, in the caller's transaction.
pub(super) fn add(db: &Connection, mut entries: Vec<Entry>) -> rusqlite::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    entries.sort_unstable_by_key(Entry::key);
    write_run(db, &entries)?;
    while let Some(runs) = mergeable(db)? {
        let mut merged = Vec::new();
        for run in &runs {
            let mut select = db.prepare_cached("SELECT entries FROM user_blocks WHERE run = ?1 ORDER BY block")?;
            let mut rows = select.query([run])?;
            while let Some(row) = rows.next()? {
                merged.extend(entries_of(row.get_ref(0)?.as_blob()?));
            }
            db.prepare_cached("DELETE FROM user_blocks WHERE run = ?1")?.execute([run])?;
            db.prepare_cached("DELETE FROM user_runs WHERE run = ?1")?.execute([run])?;
        }
        // The stable sort finds what is sorted already, and merges it.
        merged.sort_by_key(Entry::key);
        write_run(db, &merged)?;
    }
    Ok(())
}

/// The runs of the lowest tier that has enough of them.
fn mergeable(db: &Connection) -> rusqlite::Result<Option<Vec<i64>>> {
    let mut tiers: [Vec<i64>; MERGED_TIERS as usize] = Default::default();
    let mut select = db.prepare_cached("SELECT run, count FROM user_runs ORDER BY run")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let entries: i64 = row.get(1)?;
        if let Some(tier) = tiers.get_mut(tier_of(entries) as usize) {
            tier.push(row.get(0)?);
        }
    }
    Ok(tiers.into_iter().find(|runs| runs.len() >= FANOUT))
}

/// Runs of 8ⁿ entries and more, up to the next power, are of tier n.
const fn tier_of(entries: i64) -> u32 {
    if entries < 1 { 0 } else { entries.ilog(FANOUT as i64) }
}

fn write_run(db: &Connection, entries: &[Entry]) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO user_runs (count) VALUES (?1)")?.execute([sql_limit(entries.len())])?;
    let run = db.last_insert_rowid();
    let mut insert = db.prepare_cached("INSERT INTO user_blocks (run, first, entries) VALUES (?1, ?2, ?3)")?;
    let mut bytes = Vec::with_capacity(BLOCK_ENTRIES * Entry::BYTES);
    for block in entries.chunks(BLOCK_ENTRIES) {
        bytes.clear();
        block.iter().for_each(|entry| bytes.extend_from_slice(&entry.0));
        insert.execute(params![run, &bytes[..DIGEST_BYTES], &bytes[..]])?;
    }
    Ok(())
}

fn entries_of(block: &[u8]) -> impl Iterator<Item = Entry> {
    block.as_chunks().0.iter().map(|bytes| Entry(*bytes))
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    fn index() -> Connection {
        let db = Connection::open_in_memory().expect("a database");
        schema::migrate(&db).expect("the schema");
        db
    }

    fn user(number: u64) -> UserId {
        format!("user-{number}").parse().expect("valid")
    }

    fn place(number: u64) -> (Shard, Position) {
        let log_id = LogId { ms: 1_764_234_000_000 + number / 7, sequence: (number % 7) as u16 };
        (Shard::new((number % 3) as u16).expect("in range"), Position { log_id, index: (number % 1_024) as u16 })
    }

    fn entry(number: u64, users: u64) -> Entry {
        let (shard, position) = place(number);
        Entry::new(&user(number % users), shard, position)
    }

    fn runs(db: &Connection) -> Vec<i64> {
        let mut select = db.prepare("SELECT count FROM user_runs ORDER BY run").expect("a statement");
        let runs = select.query_map([], |row| row.get(0)).expect("runs");
        runs.collect::<Result<_, _>>().expect("readable")
    }

    /// What the index says of a user whose orders are those of every `users`th number.
    fn assert_found(db: &Connection, of: u64, users: u64, count: u64) {
        let mut expected: Vec<Entry> = (of..count).step_by(users as usize).map(|number| entry(number, users)).collect();
        expected.sort_unstable_by_key(|entry| Reverse(entry.0));
        let expected: Vec<_> = expected.into_iter().filter_map(Entry::place).collect();
        assert_eq!(places(db, &user(of)).expect("read"), expected, "user {of} of {users}");
    }

    #[test]
    fn orders_are_found_however_runs_were_merged() {
        let db = index();
        let users = 97;
        let (mut count, mut sizes) =
            (0, [1, 1, 1, 700, 3, 1, 1, 1, 1, 1, 64, 199, 200, 201, 5_000].into_iter().cycle());
        while count < 60_000 {
            let more = sizes.next().expect("endless");
            add(&db, (count..count + more).map(|number| entry(number, users)).collect()).expect("added");
            count += more;
        }
        let runs = runs(&db);
        assert_eq!(runs.iter().sum::<i64>(), count as i64, "none is lost and none is twice there");
        assert!(runs.len() <= (FANOUT - 1) * (MERGED_TIERS as usize + 1), "{runs:?}");
        for of in [0, 1, 50, 96] {
            assert_found(&db, of, users, count);
        }
        assert_eq!(places(&db, &user(users)).expect("read"), [], "one who ordered nothing");
    }

    #[test]
    fn a_user_may_have_more_orders_than_a_block_has_room_for() {
        let db = index();
        add(&db, (0..2_000).map(|number| entry(number, 3)).collect()).expect("added");
        for of in 0..3 {
            assert_found(&db, of, 3, 2_000);
        }
    }

    #[test]
    fn the_longest_runs_are_left_alone() {
        let db = index();
        let longest = (FANOUT as i64).pow(MERGED_TIERS);
        db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20) INSERT INTO user_runs (count) SELECT ?1 FROM n", [longest])
            .expect("inserted");
        for number in 0..9 {
            add(&db, vec![entry(number, 9)]).expect("added");
        }
        assert_eq!(runs(&db), [vec![longest; 20], vec![8, 1]].concat());
    }
}
